"""The mean of a field over time, or its mean cycle: a mean and harmonics of a period at each point.

    c(x, t) = b_0(x) + Σ_h a_h(x) cos(2π h t/T) + b_h(x) sin(2π h t/T),

by least squares on what was observed (von Storch & Zwiers 1999, §11.2, for periods that records
need not hold a whole number of times).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.baselines.records import Records

__all__ = ["MeanCycle"]

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class MeanCycle:
    """A field's mean at any time.

    Attributes:
        period: T, in the data's unit of time; None: a mean that does not depend on time.
        coefficients: (1 + 2 harmonics, point), NaN where nothing was ever observed.
    """

    period: float | None
    coefficients: Array

    @classmethod
    def of(cls, records: Records, period: float | None, harmonics: int) -> MeanCycle:
        """By least squares, of the smallest norm where observations are too few for one."""
        terms = 1 if period is None else 1 + 2 * harmonics
        points = len(records.weights)
        gram, moment = np.zeros((points, terms, terms)), np.zeros((points, terms))
        for times, rows in records.blocks():
            features = _features(times, period, terms)
            seen = np.isfinite(rows)
            products = features[:, :, None] * features[:, None, :]
            gram += np.tensordot(seen.astype(np.float64), products, (0, 0))
            moment += np.where(seen, rows, 0.0).T @ features
        known = gram[:, 0, 0] > 0
        coefficients = np.full((terms, points), np.nan)
        inverse = np.linalg.pinv(gram[known], rcond=1e-10, hermitian=True)
        coefficients[:, known] = np.einsum("pij,pj->ip", inverse, moment[known])
        return cls(period, coefficients)

    def at(self, times: Array) -> Array:
        """Means (time, point) at times (time,)."""
        return _features(times, self.period, len(self.coefficients)) @ self.coefficients

    def over(self, t0: Array, leads: Array) -> Array:
        """Means (batch, lead, point) at so much later than times t0 (batch,)."""
        times = t0[:, None] + leads
        return self.at(times.ravel()).reshape(*times.shape, -1)

    @property
    def known(self) -> NDArray[np.bool_]:
        """(point,) whether it was ever observed."""
        return np.isfinite(self.coefficients[0])


def _features(times: Array, period: float | None, terms: int) -> Array:
    """(time, term): one, cosines and sines."""
    columns = [np.ones(len(times))]
    for h in range(1, 1 + terms // 2):
        angle = 2 * np.pi * h * times / (period or np.inf)
        columns += [np.cos(angle), np.sin(angle)]
    return np.stack(columns, 1)
