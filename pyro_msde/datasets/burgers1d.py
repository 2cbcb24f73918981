"""Burgers data in one dimension: 1000 points on [0, 1), periodic; a published and a harder split.

"published": one Gaussian bump that steepens into a front, ν = 5·10⁻⁴, 10/5/5 trajectories over
[0, 1]. "hard": 2 to 5 bumps of both signs anywhere, ν of its own for each trajectory, 40
trajectories over [0, 1] to train on, 5/5 over [0, 2] to validate and test. Snapshots every 0.001
with independent noise of standard deviation 0.001; all is dimensionless.

Command line: `python -m pyro_msde.datasets.burgers1d --split published --out data/`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.datasets.burgers_equation import points_periodic, solve_periodic
from pyro_msde.datasets.problem import Problem

__all__ = ["BURGERS1D", "NU", "hard_initial", "published_initial"]

Array = NDArray[Any]

NU = 5e-4
NUM_POINTS = 1000
_NU_RANGE = (2e-4, 2e-3)


def published_initial(rng: np.random.Generator, x: Array) -> Array:
    """Bump h exp(−(x − .3)²/(2 s)), h ~ N(.25, .05²), s ~ N(.01, .0025²) drawn until positive."""
    h, s = rng.normal(0.25, 0.05), rng.normal(0.01, 0.0025)
    while s <= 0:  # four standard deviations away
        s = rng.normal(0.01, 0.0025)
    return np.asarray(h * np.exp(-((x - 0.3) ** 2) / (2 * s)))


def hard_initial(rng: np.random.Generator, x: Array) -> tuple[Array, float]:
    """Sum of 2 to 5 bumps ±h exp(−d²/(2 s)), d = x − c wrapped to [−½, ½), and a viscosity.

    h ~ U(.1, .4), c ~ U(0, 1), s ~ U(.002, .01); ν log-uniform between 2·10⁻⁴ and 2·10⁻³.
    """
    u = np.zeros_like(x)
    for _ in range(rng.integers(2, 6)):
        h = rng.uniform(0.1, 0.4) * rng.choice((-1.0, 1.0))
        c, s = rng.uniform(0.0, 1.0), rng.uniform(0.002, 0.01)
        d = (x - c + 0.5) % 1.0 - 0.5
        u += h * np.exp(-(d**2) / (2 * s))
    return u, float(np.exp(rng.uniform(*np.log(_NU_RANGE))))


def _hard(rng: np.random.Generator) -> tuple[Array, tuple[float, ...]]:
    u, nu = hard_initial(rng, points_periodic(NUM_POINTS))
    return u, (nu,)


def _solve(initial: Array, covariates: tuple[float, ...], num_steps: int, dt: float) -> Array:
    return solve_periodic(initial, covariates[0] if covariates else NU, num_steps=num_steps, dt=dt)


BURGERS1D = Problem(
    name="burgers1d",
    parts={
        "published": {"train": (10, 1.0), "validation": (5, 1.0), "test": (5, 1.0)},
        "hard": {"train": (40, 1.0), "validation": (5, 2.0), "test": (5, 2.0)},
    },
    draw={
        "published": lambda rng: (published_initial(rng, points_periodic(NUM_POINTS)), ()),
        "hard": _hard,
    },
    solve=_solve,
    coords={"x": points_periodic(NUM_POINTS)},
    dt=0.001,
    noise_sd=0.001,
    covariates={"hard": ("nu",)},
    attrs={
        "equation": "u_t = -(u^2)_x / 2 + nu u_xx, periodic on [0, 1)",
        "scheme": "(u[j+1]^2-u[j-1]^2)/(4 dx); (u[j+1]-2u[j]+u[j-1])/dx^2; ETDRK4 in time",
    },
    key=(1,),
)


if __name__ == "__main__":
    BURGERS1D.main()
