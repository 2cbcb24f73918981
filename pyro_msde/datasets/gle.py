"""Generalised Langevin data: memory of the resolved variable, seen through a field on a line.

The equation and its polynomial memory kernel (Ilersich & Nair 2025, App. B),

    dy/dt = −a y − ∫₀ᵗ K(s) y(t − s) ds + σ dβ/dt,      K(s) = k₀ + k₁ s,

is Markovian in (y, w₀, w₁), w_j(t) = ∫₀ᵗ K⁽ʲ⁾(s) y(t − s) ds, since K'' = 0 (14):

    dy/dt = −a y − w₀ + σ dβ/dt,      dw₀/dt = k₀ y + w₁,      dw₁/dt = k₁ y,

stable where a k₀ > k₁ > 0. What is observed every 0.1 is a field on [0, 1), periodic,

    u(x, t) = y(t) + w₀(t) √2 cos 2πx + w₁(t) √2 sin 2πx + noise,

whose mean is y: the w_j are in the null space of the smoothing. "relaxation": from y(0) ~ N(0, 1)
without a past, w(0) = 0, over [0, 5]. "stationary": from the stationary law, over [0, 100]; the
same equation, for tests. All is dimensionless.

Command line: `python -m pyro_msde.datasets.gle --split relaxation --out data/`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.datasets.problem import Problem
from pyro_msde.sde import stationary_covariance, transition

__all__ = ["DIFFUSION", "DRIFT", "GLE", "drift_matrix", "modes", "points", "sample_path"]

Array = NDArray[Any]

FRICTION, KERNEL = 1.0, (2.0, 1.0)  # a and k₀, k₁
SIGMA = 0.2
NUM_POINTS = 33  # odd: an average over the whole circle is then a centred kernel


def drift_matrix(friction: float, kernel: tuple[float, ...]) -> Array:
    """A of (y, w₀, …, w_{p−1}) for K(s) = Σ_j k_j s^j / j!, (p + 1, p + 1).

    Args:
        friction: a.
        kernel: k₀, …, k_{p−1}, the kernel's derivatives at zero.
    """
    size = len(kernel) + 1
    A = np.diag(np.r_[-1.0, np.ones(size - 2)], 1)
    A[0, 0] = -friction
    A[1:, 0] = kernel
    return A


DRIFT = drift_matrix(FRICTION, KERNEL)
DIFFUSION = np.diag([SIGMA**2, 0.0, 0.0])


def points() -> Array:
    """Positions x, (33,)."""
    return np.arange(NUM_POINTS) / NUM_POINTS


def modes(x: Array) -> Array:
    """1, √2 cos 2πx, √2 sin 2πx, orthonormal under the mean over x: (3, x)."""
    angle = 2 * np.pi * x
    return np.stack([np.ones_like(x), np.sqrt(2) * np.cos(angle), np.sqrt(2) * np.sin(angle)])


def sample_path(
    start: Array,
    num_steps: int,
    dt: float,
    rng: np.random.Generator,
    *,
    drift: Array = DRIFT,
    diffusion: Array = DIFFUSION,
) -> Array:
    """Path of the linear SDE at multiples of dt, exact in law: (num_steps + 1, n)."""
    phi, noise = transition(drift, diffusion, dt)
    values, vectors = np.linalg.eigh(noise)
    root = vectors * np.sqrt(np.maximum(values, 0.0))  # smallest ones are zero up to rounding
    path = np.empty((num_steps + 1, len(start)))
    path[0] = start
    for i, xi in enumerate(rng.standard_normal((num_steps, len(start)))):
        path[i + 1] = phi @ path[i] + root @ xi
    return path


def _relaxation(rng: np.random.Generator) -> tuple[Array, tuple[float, ...]]:
    return np.array([rng.standard_normal(), 0.0, 0.0]), ()


def _stationary(rng: np.random.Generator) -> tuple[Array, tuple[float, ...]]:
    chol = np.linalg.cholesky(stationary_covariance(DRIFT, DIFFUSION))
    return chol @ rng.standard_normal(len(chol)), ()


def _solve(
    start: Array, _: tuple[float, ...], num_steps: int, dt: float, rng: np.random.Generator
) -> Array:
    return sample_path(start, num_steps, dt, rng) @ modes(points())


GLE = Problem(
    name="gle",
    parts={
        "relaxation": {"train": (120, 5.0), "validation": (40, 5.0), "test": (40, 5.0)},
        "stationary": {"train": (5, 100.0), "validation": (5, 100.0), "test": (5, 100.0)},
    },
    draw={"relaxation": _relaxation, "stationary": _stationary},
    solve=_solve,
    coords={"x": points()},
    dt=0.1,
    noise_sd=0.01,
    attrs={
        "equation": f"y' = -{FRICTION:g} y - int_0^t ({KERNEL[0]:g} + {KERNEL[1]:g} s) y(t-s) ds "
        f"+ {SIGMA:g} white noise; u = y + sqrt(2) (w0 cos 2 pi x + w1 sin 2 pi x)",
        "scheme": "exact discretisation of the linear SDE of y, w0, w1",
        "source": "Ilersich & Nair (2025), Learning Stochastic Multiscale Models, appendix B",
    },
    key=(4,),
    driven=True,
)


if __name__ == "__main__":
    GLE.main()
