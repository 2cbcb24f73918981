"""A mean and harmonics of a period at each point, by least squares on what was observed there.

    c(x, t) = a(x) + Σ_k b_k(x) cos 2πkt/P + c_k(x) sin 2πkt/P

(von Storch & Zwiers 1999, §11.2, for periods that records need not hold a whole number of times).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["fitted_harmonics", "harmonics_at"]

Array = NDArray[Any]


def harmonics_at(times: Any, period: float | None, terms: int) -> Array:
    """(..., term) at times (...): one, then cosine and sine of each harmonic.

    Args:
        times: In the period's unit.
        period: P; None: only the first term.
        terms: 1 + 2 harmonics.
    """
    clock = np.asarray(times, dtype=np.float64)
    ones = np.ones((*clock.shape, 1))
    if period is None:
        return ones
    # whole periods are taken off first: angles of late times stay exact
    turns = 2 * np.pi * np.arange(1, 1 + terms // 2) * (np.mod(clock, period) / period)[..., None]
    pairs = np.stack([np.cos(turns), np.sin(turns)], -1)
    return np.concatenate([ones, pairs.reshape(*clock.shape, -1)], -1)


def fitted_harmonics(
    blocks: Iterable[tuple[Array, Array]], points: int, period: float | None, terms: int
) -> Array:
    """Coefficients (term, point), of the smallest norm where observations are too few for one.

    NaN where nothing was ever observed.

    Args:
        blocks: Times (time,) and values (time, point) of some snapshots after the other, NaN where
            nothing was observed.
        points: How many.
        period: P; None: only the mean.
        terms: 1 + 2 harmonics.
    """
    gram, moment = np.zeros((points, terms, terms)), np.zeros((points, terms))
    for times, rows in blocks:
        waves = harmonics_at(times, period, terms)
        seen = np.isfinite(rows)
        products = waves[:, :, None] * waves[:, None, :]
        gram += np.tensordot(seen.astype(np.float64), products, (0, 0))
        moment += np.where(seen, rows, 0.0).T @ waves
    known = gram[:, 0, 0] > 0
    coefficients = np.full((terms, points), np.nan)
    inverse = np.linalg.pinv(gram[known], rcond=1e-10, hermitian=True)
    coefficients[:, known] = np.einsum("pij,pj->ip", inverse, moment[known])
    return coefficients
