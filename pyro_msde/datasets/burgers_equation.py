"""Burgers' equation, periodic in one dimension and between walls in two.

One dimension, conservative, on a periodic interval of length 1 with n points:

    u_t = −½ (u²)_x + ν u_xx,
    (u²)_x ≈ (u²_{j+1} − u²_{j−1}) / 2Δx,   u_xx ≈ (u_{j+1} − 2u_j + u_{j−1}) / Δx²,   Δx = 1/n.

Two dimensions (Ilersich & Nair 2025, App. H), scalar, zero on the walls of the unit square, with
n × n points inside, Δx = 1/(n + 1), and central differences:

    u_t = −u (u_{x₁} + u_{x₂}) + ν ∇²u.

A solution solves the difference equations, not the partial differential equation. In time the first
is integrated by ETDRK4 on the exact symbol of the second difference, the second by scipy's DOP853.
All is dimensionless.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from pyro_msde.datasets import etdrk4

__all__ = ["points_inside", "points_periodic", "solve_periodic", "solve_square"]

Array = NDArray[Any]

_LONGEST_STEP = 0.0005  # errs by 2e-7 on the sharpest fronts of the hard split


def points_periodic(num_points: int) -> Array:
    """Points x (num_points,) on [0, 1), from 0 with the end point left out."""
    return np.arange(num_points) / num_points


def points_inside(num_points: int) -> Array:
    """Points x (num_points,) inside (0, 1), evenly spaced between the walls at both ends."""
    return np.arange(1, num_points + 1) / (num_points + 1)


def solve_periodic(
    initial: Array, nu: float, *, num_steps: int, dt: float, substeps: int | None = None
) -> Array:
    """Solve the one-dimensional difference equations.

    Args:
        initial: (..., x), u(0) on `points_periodic`; the number of points sets Δx.
        nu: Viscosity ν ≥ 0.
        num_steps: Number of stored steps.
        dt: Time between stored steps.
        substeps: Steps of the method per `dt`; by default at least one per 0.0005 of time.

    Returns:
        (..., num_steps + 1, x), float64.

    Raises:
        ValueError: If `num_steps`, `dt` or `substeps` is out of range.
        FloatingPointError: If the solution blows up.
    """
    num_points = np.shape(initial)[-1]
    angle = 2 * np.pi * np.arange(num_points // 2 + 1) / num_points
    advective = -0.5j * np.sin(angle) * num_points
    diffusive = -4 * nu * np.sin(angle / 2) ** 2 * num_points**2

    def advection(v: Array) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(advective * scipy.fft.rfft(scipy.fft.irfft(v, n=num_points) ** 2))

    return etdrk4.solve_periodic(
        initial,
        diffusive,
        advection,
        dt=dt,
        num_steps=num_steps,
        substeps=substeps,
        longest_step=_LONGEST_STEP,
    )


def solve_square(
    initial: Array, nu: float, *, num_steps: int, dt: float, tolerance: float = 1e-10
) -> Array:
    """Solve the two-dimensional difference equations.

    Args:
        initial: (x₁, x₂), u(0) on `points_inside` per axis; their numbers set Δx.
        nu: Viscosity ν > 0.
        num_steps: Number of stored steps.
        dt: Time between stored steps.
        tolerance: Of the integrator, relative and absolute.

    Returns:
        (num_steps + 1, x₁, x₂), float64.

    Raises:
        FloatingPointError: If the solution blows up.
    """
    initial = np.asarray(initial, dtype=np.float64)
    inverse = [n + 1 for n in initial.shape]

    def rate(_: float, flat: Array) -> Array:
        u = np.pad(flat.reshape(initial.shape), 1)  # zero on the walls
        centre = u[1:-1, 1:-1]
        low1, high1, low2, high2 = u[:-2, 1:-1], u[2:, 1:-1], u[1:-1, :-2], u[1:-1, 2:]
        slope = (high1 - low1) * (inverse[0] / 2) + (high2 - low2) * (inverse[1] / 2)
        bend = (high1 - 2 * centre + low1) * inverse[0] ** 2
        bend = bend + (high2 - 2 * centre + low2) * inverse[1] ** 2
        return np.asarray(nu * bend - centre * slope).ravel()

    times = np.arange(num_steps + 1) * dt
    with np.errstate(over="ignore", invalid="ignore"):
        solution = solve_ivp(
            rate,
            (0.0, float(times[-1])),
            initial.ravel(),
            method="DOP853",
            t_eval=times,
            rtol=tolerance,
            atol=tolerance,
        )
    if not solution.success or not np.isfinite(solution.y).all():
        reached = solution.t[-1] if len(solution.t) else 0.0
        raise FloatingPointError(f"the solution blows up after t={reached:.6g}: {solution.message}")
    return np.ascontiguousarray(solution.y.T).reshape(num_steps + 1, *initial.shape)
