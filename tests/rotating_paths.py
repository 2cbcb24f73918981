"""Noisy paths that turn and decay, dz = A z dt + √C dβ, whose linear inverse model is known."""

from __future__ import annotations

import numpy as np
from scipy.linalg import expm, solve_continuous_lyapunov

APART = 0.02
A = np.array([[-4.0, 6.0], [-6.0, -4.0]])  # a damped rotation
C = np.diag([3.0, 1.0])


def rotating_paths(count: int, rng: np.random.Generator, trajectories: int = 1) -> np.ndarray:
    """Stationary paths (trajectory, time, 2), `APART` between snapshots."""
    stationary = solve_continuous_lyapunov(A, -C)
    step = expm(A * APART)
    root = np.linalg.cholesky(stationary - step @ stationary @ step.T)
    z = np.linalg.cholesky(stationary) @ rng.standard_normal((2, trajectories))
    out = []
    for _ in range(count):
        out.append(z.T)
        z = step @ z + root @ rng.standard_normal(z.shape)
    return np.stack(out, 1)
