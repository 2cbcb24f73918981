"""Modes of a graph, and smoothing by gains along them.

With the weights w of the edges, the Laplacian (L y)_i = Σ_j w_ij (y_i − y_j) has orthonormal modes
L = U Λ Uᵀ, of which slow ones vary little along edges: they are to a graph what waves are to a grid
(Shuman et al., IEEE Signal Process. Mag. 30, 2013). Smoothing is

    S = U diag g Uᵀ,        g_m = Σ_k κ_k B_k(q_m),        q_m = affine in 1 / (1 + τ λ_m),

with Bernstein's polynomials B_k of a mode's smoothness q, 1 for constants and 0 for the fastest
mode: κ_k is about the gain at q = k / K, and the last is that of constants. κ takes the part of the
smoothing kernel of a grid: a few numbers a channel, the same for all nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import brentq, minimize
from scipy.special import comb

__all__ = ["Modes", "faithful_gains", "gaussian_gains"]

Array = NDArray[Any]

_DEGREE = 5  # of the polynomials of q
_SPECTRUM = 4  # power of 1 / (1 + τ λ) that fields are taken to have: smooth, with some noise


@dataclass(frozen=True)
class Modes:
    """Modes of a graph, slowest first.

    Attributes:
        vectors: U, (n, n), a column a mode.
        decay: (n,) 1 / (1 + τ λ). With τ the squares of these add up to the number of coarse
            points, or to half the nodes if that is less.
        shapes: (n, K) Bernstein's polynomials of the smoothness q of each mode.
    """

    vectors: Array
    decay: Array
    shapes: Array

    @classmethod
    def of(cls, adjacency: sparse.csr_array, num_parts: int, num_coarse: int) -> Modes:
        """Compute.

        Args:
            adjacency: (n, n) weights, symmetric, zero on the diagonal.
            num_parts: Connected parts of the graph.
            num_coarse: Coarse points, at least one a part.
        """
        matrix = adjacency.toarray()
        matrix /= matrix.max() or 1.0  # only ratios of rates matter
        rates, vectors = np.linalg.eigh(np.diag(matrix.sum(1)) - matrix)
        rates = np.maximum(rates, np.finfo(np.float64).eps * rates[-1])
        rates[:num_parts] = 0.0  # one for each part, where the mode is constant
        n, moving = len(rates), rates[num_parts:]
        decay = np.ones(n)
        if moving.size:
            wanted = max(0.5, min(num_coarse - num_parts, moving.size / 2))
            ends = np.log([1e-6 / moving[-1], 10 * np.sqrt(n) / moving[0]])
            log_tau = brentq(
                lambda x: np.square(1 / (1 + np.exp(x) * moving)).sum() - wanted, *ends
            )
            decay = 1 / (1 + np.exp(log_tau) * rates)
        room = 1 - decay.min()
        q = (decay - decay.min()) / room if room else decay
        k = np.arange(_DEGREE + 1)
        shapes = comb(_DEGREE, k) * q[:, None] ** k * (1 - q[:, None]) ** (_DEGREE - k)
        return cls(vectors, decay, shapes)

    def places(self, count: int) -> Array:
        """(n, count) where nodes are in the slowest modes, damped: near each other if alike."""
        return self.vectors[:, :count] * self.decay[:count]


def gaussian_gains() -> Array:
    """κ (K,) of the gains q²: positive, smooth, a coarse spacing wide."""
    k = np.arange(_DEGREE + 1)
    return np.asarray(comb(k, 2) / comb(_DEGREE, 2))


def faithful_gains(modes: Modes, labels: Array) -> Array:
    """κ (K,) with which T_p T_r changes smooth fields least; the gain of constants is one.

    The mean of ‖T_p T_r y − y‖² over fields y with independent amplitudes of the modes, of variance
    s = decay⁴, is Σ_m s_m (h_m Σ_l A_lm² h_l − 2 A_mm h_m + 1) with h = g² and A the projection
    onto fields that are constant on clusters.

    Args:
        modes: Of the graph.
        labels: (n,) cluster of each node.
    """
    n, count = len(labels), int(labels.max()) + 1
    if count == n:
        return np.ones(_DEGREE + 1)  # nothing has to be smoothed
    sums = np.zeros((count, n))
    np.add.at(sums, labels, modes.vectors)
    sums /= np.sqrt(np.bincount(labels))[:, None]
    projection = sums.T @ sums
    spectrum = modes.decay**_SPECTRUM
    pairs = (modes.shapes[:, :, None] * modes.shapes[:, None, :]).reshape(n, -1)
    quadratic = pairs.T @ (spectrum[:, None] * np.square(projection)) @ pairs
    linear = pairs.T @ (spectrum * np.diagonal(projection))

    def loss(free: Array) -> float:
        gains = np.append(free, 1.0)
        products = np.outer(gains, gains).ravel()
        return float(products @ quadratic @ products - 2 * linear @ products)

    start = np.linspace(0, 1, _DEGREE + 1)[:-1]
    return np.append(minimize(loss, start, method="BFGS").x, 1.0)
