"""A mean and harmonics of a period at each point, by least squares on what was observed there.

    c(x, t) = a(x) + Σ_k b_k(x) cos 2πkt/P + c_k(x) sin 2πkt/P

(von Storch & Zwiers 1999, §11.2, for periods that records need not hold a whole number of times).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.errors import warn

__all__ = ["fitted_harmonics", "harmonics_at"]

# Of the mean square of what is told best. An even record of one period has 1/2, one of half of it
# .04 with one harmonic; at 1/100 the cycle is off by 1.2 standard deviations of the noise at most.
_LEAST = 0.01

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
    """Coefficients (term, point), NaN where nothing was ever observed.

    Combinations of terms that the times hardly tell, since they lie in a small part of the period,
    are zero: by least squares they would be large, and forecasts at other phases with them. A
    warning says so.

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
    sizes, directions = np.linalg.eigh(gram[known])
    told = sizes > _LEAST * sizes[:, -1:]
    along = np.einsum("pij,pi->pj", directions, moment[known])
    along = np.divide(along, sizes, out=np.zeros_like(along), where=told)
    coefficients[:, known] = np.einsum("pij,pj->ip", directions, along)
    if not told.all():
        vague = int((~told.all(1)).sum())
        warn(
            f"A cycle of {period:g} with {terms // 2} harmonics: {vague} of {points} values were "
            "observed in a part of the period only, or at too few times. What that does not tell "
            "is left out of their cycle. Take fewer harmonics, a longer record, or a mean."
        )
    return coefficients
