"""Gain of the linear SDE with given marginals, by the full Kronecker-sum system."""

from __future__ import annotations

import numpy as np


def kronecker_gain(cov: np.ndarray, cov_dot: np.ndarray, diffusion: np.ndarray) -> np.ndarray:
    """B with Σ Bᵀ + B Σ = C − Σ̇, symmetric in the coordinates x = C^{−½} z.

    There (Σ ⊕ Σ) vec B = vec(I − Σ̇), an n² × n² system.

    Args:
        cov: (n, n).
        cov_dot: (n, n).
        diffusion: (n,) the diagonal of C.
    """
    n = len(diffusion)
    scale, unscale = np.diag(diffusion**0.5), np.diag(diffusion**-0.5)
    x_cov, x_cov_dot = unscale @ cov @ unscale, unscale @ cov_dot @ unscale
    eye = np.eye(n)
    kronecker_sum = np.kron(x_cov, eye) + np.kron(eye, x_cov)
    gain = np.linalg.solve(kronecker_sum, (eye - x_cov_dot).reshape(-1)).reshape(n, n)
    return scale @ gain @ unscale
