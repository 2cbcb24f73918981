"""The Korteweg-de Vries equation u_t = −u u_x − ν u_xxx, ν = 0.02 (Ilersich & Nair 2025, App. H).

On x = 0, 0.01, …, 9.99, periodic on [0, 10), in the paper's discretisation

    u_x ≈ (u_{j+1} − u_{j−1}) / 2Δx,    u_xxx ≈ (u_{j+2} − 3 u_{j+1} + 3 u_j − u_{j−1}) / Δx³.

The third difference is centred at j + ½, which damps short waves at the rate ν Δx k⁴ / 2: a
solution solves the difference equations, not the partial differential equation. They are
integrated by ETDRK4 on the exact symbols of the circulant differences. All is dimensionless.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from pyro_msde.datasets import etdrk4

__all__ = ["LENGTH", "NU", "NUM_POINTS", "grid", "solve", "third_difference_symbol"]

Array = NDArray[Any]

NU = 0.02
LENGTH = 10.0
NUM_POINTS = 1000
_LONGEST_STEP = 0.001  # errs by 4e-8 on the published data, 1e-8 on the hard ones


def grid(num_points: int = NUM_POINTS) -> Array:
    """x: (num_points,), from 0 with the end point 10 left out."""
    return np.arange(num_points) * (LENGTH / num_points)


def third_difference_symbol(num_points: int, dx: float) -> Array:
    """Eigenvalues of the circulant third difference on the modes of rfft.

    Shape (num_points // 2 + 1,), complex, in 1/dx³.
    """
    half = np.pi * np.arange(num_points // 2 + 1) / num_points
    # E² − 3E + 3 − E⁻¹ = E^½ (E^½ − E^−½)³, without the cancellation at long waves
    return np.asarray(np.exp(1j * half) * (2j * np.sin(half)) ** 3 / dx**3)


def solve(
    initial: Array, *, num_steps: int, dt: float = 0.001, substeps: int | None = None
) -> Array:
    """Solve the difference equations.

    Args:
        initial: (..., x), u(0) on `grid(x)`; the number of points sets Δx.
        num_steps: Number of stored steps.
        dt: Time between stored steps.
        substeps: Steps of the method per `dt`; by default at least one per 0.001 of time.

    Returns:
        (..., num_steps + 1, x), float64.

    Raises:
        ValueError: If `num_steps`, `dt` or `substeps` is out of range.
        FloatingPointError: If the solution blows up.
    """
    num_points = np.shape(initial)[-1]
    dx = LENGTH / num_points

    def advection(v: Array) -> Array:
        u = scipy.fft.irfft(v, n=num_points)
        u_x = (np.roll(u, -1, axis=-1) - np.roll(u, 1, axis=-1)) / (2 * dx)
        return np.asarray(scipy.fft.rfft(-u * u_x))

    return etdrk4.solve_periodic(
        initial,
        -NU * third_difference_symbol(num_points, dx),
        advection,
        dt=dt,
        num_steps=num_steps,
        substeps=substeps,
        longest_step=_LONGEST_STEP,
    )
