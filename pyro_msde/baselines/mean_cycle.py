"""The mean of a field over time, or its mean cycle, as baselines take it from their records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.baselines.records import Records
from pyro_msde.data import fitted_harmonics, harmonics_at

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
        return cls(period, fitted_harmonics(records.blocks(), points, period, terms))

    def at(self, times: Array) -> Array:
        """Means (time, point) at times (time,)."""
        return harmonics_at(times, self.period, len(self.coefficients)) @ self.coefficients

    def over(self, t0: Array, leads: Array) -> Array:
        """Means (batch, lead, point) at so much later than times t0 (batch,)."""
        times = t0[:, None] + leads
        return self.at(times.ravel()).reshape(*times.shape, -1)

    @property
    def known(self) -> NDArray[np.bool_]:
        """(point,) whether it was ever observed."""
        return np.isfinite(self.coefficients[0])
