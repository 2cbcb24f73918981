"""Exact discretisation of a linear SDE dz = A z dt + L dβ with constant C = L Lᵀ.

    z(t + τ) = Φ z(t) + w,    Φ = exp(A τ),    w ~ N(0, Q),    Q = ∫₀^τ exp(A s) C exp(Aᵀ s) ds

(Van Loan 1978: both from the exponential of one matrix of twice the size.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm, solve_continuous_lyapunov

__all__ = ["stationary_covariance", "transition"]

Array = NDArray[Any]


def transition(drift: Array, diffusion: Array, step: float) -> tuple[Array, Array]:
    """Exact transition of a linear SDE over a step, z → Φ z + N(0, Q): Φ and Q.

    Args:
        drift: (n, n) A.
        diffusion: (n, n) C, symmetric and positive semidefinite.
        step: τ.

    Returns:
        Φ and Q, each (n, n).
    """
    n = len(drift)
    block = np.zeros((2 * n, 2 * n))
    block[:n, :n], block[:n, n:], block[n:, n:] = -drift, diffusion, drift.T
    exponential = expm(block * step)
    phi = exponential[n:, n:].T
    noise = phi @ exponential[:n, n:]
    return phi, 0.5 * (noise + noise.T)


def stationary_covariance(drift: Array, diffusion: Array) -> Array:
    """P with A P + P Aᵀ + C = 0, (n, n), for arguments as in `transition`.

    Raises:
        ValueError: A has an eigenvalue whose real part is not negative.
    """
    worst = float(np.linalg.eigvals(drift).real.max())
    if worst >= 0:
        raise ValueError(
            f"drift: an eigenvalue has real part {worst:.3g}, so nothing is stationary. Choose a "
            "stable drift."
        )
    return np.asarray(solve_continuous_lyapunov(drift, -diffusion))
