"""Burgers data in two dimensions: 128 × 128 points, zero on the walls; published and harder.

"published": one bump near (.3, .3), 20/5/5 trajectories over [0, 1]. "hard": 2 to 4 bumps, 40
trajectories over [0, 1] to train on, 5/5 over [0, 1.5] to validate and test. ν = 0.005; snapshots
every 0.001 with independent noise of standard deviation 0.001; all is dimensionless.

Command line: `python -m pyro_msde.datasets.burgers2d --split published --out data/`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.datasets.burgers_equation import points_inside, solve_square
from pyro_msde.datasets.problem import Problem

__all__ = ["BURGERS2D", "NU", "hard_initial", "published_initial"]

Array = NDArray[Any]

NU = 0.005
NUM_POINTS = 128


def published_initial(rng: np.random.Generator, x: Array) -> Array:
    """Bump a exp(−((x₁ − .3)² + (x₂ − .3)²)/s²), a ~ N(1, .1²), s ~ N(.2, .01²). (x, x)."""
    a, s = rng.normal(1.0, 0.1), rng.normal(0.2, 0.01)
    bump = np.exp(-((x - 0.3) ** 2) / s**2)
    return np.asarray(a * bump[:, None] * bump)


def hard_initial(rng: np.random.Generator, x: Array) -> Array:
    """Sum of 2 to 4 bumps a exp(−‖x − c‖²/s²), c ~ U(.2, .8)², s ~ U(.08, .2), a ~ U(.5, 1.2)."""
    u = np.zeros((len(x), len(x)))
    for _ in range(rng.integers(2, 5)):
        c, s, a = rng.uniform(0.2, 0.8, 2), rng.uniform(0.08, 0.2), rng.uniform(0.5, 1.2)
        u += a * np.exp(-((x - c[0]) ** 2) / s**2)[:, None] * np.exp(-((x - c[1]) ** 2) / s**2)
    return u


BURGERS2D = Problem(
    name="burgers2d",
    parts={
        "published": {"train": (20, 1.0), "validation": (5, 1.0), "test": (5, 1.0)},
        "hard": {"train": (40, 1.0), "validation": (5, 1.5), "test": (5, 1.5)},
    },
    draw={
        "published": lambda rng: (published_initial(rng, points_inside(NUM_POINTS)), ()),
        "hard": lambda rng: (hard_initial(rng, points_inside(NUM_POINTS)), ()),
    },
    solve=lambda initial, _, num_steps, dt: solve_square(initial, NU, num_steps=num_steps, dt=dt),
    coords={"x1": points_inside(NUM_POINTS), "x2": points_inside(NUM_POINTS)},
    dt=0.001,
    noise_sd=0.001,
    attrs={
        "equation": f"u_t = -u (u_x1 + u_x2) + {NU} (u_x1x1 + u_x2x2), zero on the unit square",
        "scheme": "central differences; DOP853 in time",
        "source": "Ilersich & Nair (2025), Learning Stochastic Multiscale Models, appendix H",
    },
    key=(2,),
    keep_clean=False,  # 1.3 to 2.6 GB as it is
)


if __name__ == "__main__":
    BURGERS2D.main()
