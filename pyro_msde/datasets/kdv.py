"""Korteweg-de Vries data (Ilersich & Nair 2025, App. H): the published split and a harder one.

"published": one wave packet near x = 7.5, 10/5/5 trajectories over [0, 1]. "hard": 3 to 6 packets
anywhere, 40 trajectories over [0, 1] to train on, 5/5 over [0, 2] to validate and test. Snapshots
every 0.001 with independent noise of standard deviation 0.01; all is dimensionless. Each
trajectory has its own random stream: the k-th of a part is the same however many are drawn.

Command line: `python -m pyro_msde.datasets.kdv --split published --out data/`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.datasets.kdv_equation import LENGTH, NU, grid, solve
from pyro_msde.datasets.problem import Problem

__all__ = ["KDV", "fresh", "generate", "hard_initial", "kdv_splits", "published_initial"]

Array = NDArray[Any]

CENTRE = 7.5
NOISE_SD = 0.01
DT = 0.001


def published_initial(rng: np.random.Generator, x: Array, *, spread: float = 1.0) -> Array:
    """One packet a cos(πx) exp(−(x − 7.5)²/s), a ~ N(2, .1²), s ~ N(1, .1²). Shape of x.

    `spread` multiplies both standard deviations, for initial states that the published law hardly
    ever draws.
    """
    a, s = rng.normal(2.0, 0.1 * spread), rng.normal(1.0, 0.1 * spread)
    return np.asarray(a * np.cos(np.pi * x) * np.exp(-((x - CENTRE) ** 2) / s))


def hard_initial(rng: np.random.Generator, x: Array) -> Array:
    """A sum of 3 to 6 packets a cos(k d + φ) exp(−d²/s), d = x − c wrapped to [−5, 5). Shape of x.

    a ~ N(.8, .25²), c ~ U(0, 10), s ~ U(.5, 2), k ~ π U(.5, 1.2), φ ~ U(0, 2π).
    """
    u = np.zeros_like(x)
    for _ in range(rng.integers(3, 7)):
        a, c, s = rng.normal(0.8, 0.25), rng.uniform(0.0, LENGTH), rng.uniform(0.5, 2.0)
        k, phi = np.pi * rng.uniform(0.5, 1.2), rng.uniform(0.0, 2 * np.pi)
        d = (x - c + LENGTH / 2) % LENGTH - LENGTH / 2
        u += a * np.cos(k * d + phi) * np.exp(-(d**2) / s)
    return u


KDV = Problem(
    name="kdv",
    parts={
        "published": {"train": (10, 1.0), "validation": (5, 1.0), "test": (5, 1.0)},
        "hard": {"train": (40, 1.0), "validation": (5, 2.0), "test": (5, 2.0)},
    },
    draw={
        "published": lambda rng: (published_initial(rng, grid()), ()),
        "hard": lambda rng: (hard_initial(rng, grid()), ()),
    },
    solve=lambda initial, _, num_steps, dt: solve(initial, num_steps=num_steps, dt=dt),
    coords={"x": grid()},
    dt=DT,
    noise_sd=NOISE_SD,
    attrs={
        "equation": f"u_t = -u u_x - {NU} u_xxx, periodic on [0, {LENGTH:g})",
        "scheme": "(u[j+1]-u[j-1])/(2 dx); (u[j+2]-3u[j+1]+3u[j]-u[j-1])/dx^3; ETDRK4 in time",
        "source": "Ilersich & Nair (2025), Learning Stochastic Multiscale Models, appendix H",
    },
)

kdv_splits, fresh, generate = KDV.splits, KDV.fresh, KDV.generate


if __name__ == "__main__":
    KDV.main()
