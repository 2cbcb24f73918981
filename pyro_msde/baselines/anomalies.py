"""Persistence, climatology, and what lies between: anomalies that decay."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.baselines.gaussian import FittedBaseline, Law, Spread, mean_square
from pyro_msde.baselines.mean_cycle import MeanCycle
from pyro_msde.baselines.records import Records
from pyro_msde.checks import check_whole
from pyro_msde.data import TimeUnits, check_period, period_in

__all__ = [
    "Climatology",
    "DampedPersistence",
    "Period",
    "Persistence",
    "check_cycle",
    "cycle_in",
    "fitted",
    "records_for",
]

Array = NDArray[Any]
Period = float | datetime.timedelta | np.timedelta64 | str | None

HARMONICS = 2  # an annual cycle's, as usual for monthly means


@dataclass(frozen=True)
class Persistence:
    """What was observed last, for ever; the mean where nothing was."""

    name = "persistence"

    def fit(self, train: Any, validation: Any = None, *, weights: Any = None) -> FittedBaseline:
        """Measure its errors.

        Args:
            train: Trajectories, or what has their `times` and `values`; NaN: not observed.
            validation: More of them, on which the spread is measured; None: on the training data.
            weights: Areas or the like, broadcast to fields; an xarray DataArray is read by its
                names and positions; None: all equal.

        Raises:
            ValueError: Data without two snapshots in a row, or of another shape; weights that are
                no such; a period that is a duration where the data's unit of time is not known.
        """
        records, held = records_for(train, validation, weights)
        return fitted(self.name, _Persisting(MeanCycle.of(records, None, 0)), records, held)


@dataclass(frozen=True)
class Climatology:
    """The mean of the training data, or their mean cycle.

    Args:
        period: Of the cycle, as of `pyro_msde.Cycle`; None: no cycle.
        harmonics: Of the cycle.
    """

    period: Period = None
    harmonics: int = HARMONICS

    name = "climatology"

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_cycle(self.period, self.harmonics)

    def fit(self, train: Any, validation: Any = None, *, weights: Any = None) -> FittedBaseline:
        """Average over time; arguments and errors as of `Persistence.fit`."""
        records, held = records_for(train, validation, weights)
        law = _Mean(MeanCycle.of(records, cycle_in(train, self.period), self.harmonics))
        return fitted(self.name, law, records, held)


@dataclass(frozen=True)
class DampedPersistence:
    """The mean or mean cycle, plus the last anomaly times ρ^(lead/step): an AR(1) process.

    ρ, clipped to [0, 1], is that of all points together, or of each point where that errs less on
    validation data. Lead times that are no whole numbers of steps take the power as it is.

    Args:
        period: Of the cycle, as of `pyro_msde.Cycle`; None: no cycle.
        harmonics: Of the cycle.
    """

    period: Period = None
    harmonics: int = HARMONICS

    name = "damped persistence"

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_cycle(self.period, self.harmonics)

    def fit(self, train: Any, validation: Any = None, *, weights: Any = None) -> FittedBaseline:
        """Regress anomalies on those one step before; arguments and errors as of `Persistence.fit`.

        Without validation data, one ρ is taken for all points.
        """
        records, held = records_for(train, validation, weights)
        cycle = MeanCycle.of(records, cycle_in(train, self.period), self.harmonics)
        products, squares, step = _lagged(records, cycle)
        weigh = records.weights
        of_all = _ratio((weigh * products).sum(keepdims=True), (weigh * squares).sum(keepdims=True))
        law = _Damped(cycle, of_all, step)
        choice = f"ρ = {of_all[0]:.3f} in {step:.4g}"
        if held is not None:
            each = _Damped(cycle, _ratio(products, squares), step)
            if mean_square(each, held) < mean_square(law, held):
                law, choice = each, f"ρ of each point, {np.median(each.rho):.3f} at the median"
        return fitted(self.name, law, records, held, choice)


@dataclass(frozen=True, eq=False)
class _Persisting:
    """Persistence.

    Attributes:
        cycle: The mean.
    """

    cycle: MeanCycle

    def mean(self, start: Array, t0: Array, leads: Array) -> Array:
        """See `Law`."""
        filled = np.where(np.isfinite(start), start, self.cycle.at(t0))
        return np.repeat(filled[:, None], len(leads), 1)


@dataclass(frozen=True, eq=False)
class _Mean:
    """Climatology.

    Attributes:
        cycle: The mean or mean cycle.
    """

    cycle: MeanCycle

    def mean(self, start: Array, t0: Array, leads: Array) -> Array:
        """See `Law`."""
        return self.cycle.over(t0, leads)


@dataclass(frozen=True, eq=False)
class _Damped:
    """c(t) + ρ^(lead/step) (y0 − c(t0)).

    Attributes:
        cycle: c.
        rho: (point,) or (1,).
        step: Time in which an anomaly decays by ρ.
    """

    cycle: MeanCycle
    rho: Array
    step: float

    def mean(self, start: Array, t0: Array, leads: Array) -> Array:
        """See `Law`."""
        anomaly = np.nan_to_num(start - self.cycle.at(t0), nan=0.0)
        factor = self.rho ** (leads[:, None] / self.step)
        return self.cycle.over(t0, leads) + factor * anomaly[:, None]


def check_cycle(period: Period, harmonics: int) -> None:
    """Refuse a period or a number of harmonics without sense."""
    if period is not None:
        check_period("period", period)
    check_whole("harmonics", harmonics, 1, 100)


def cycle_in(train: Any, period: Period) -> float | None:
    """A period in the unit of training data's times.

    Raises:
        ValueError: It is a duration, and the unit is not known.
    """
    units = getattr(train, "time_units", TimeUnits())
    return None if period is None else period_in(units, period, "period")


def records_for(train: Any, validation: Any, weights: Any) -> tuple[Records, Records | None]:
    """What a baseline is given, checked.

    Raises:
        ValueError: Data without two snapshots in a row, validation data of another shape, weights
            that are none.
    """
    records = Records.of(train, weights)
    records.step  # noqa: B018 (it raises)
    if validation is None:
        return records, None
    held = Records.of(validation, weights, argument="validation", unit=records.unit)
    if held.field_shape != records.field_shape:
        raise ValueError(
            f"validation: fields {held.field_shape}, but those of train are {records.field_shape}."
        )
    return records, held if any(len(t) > 1 for t in held.times) else None


def fitted(
    name: str, law: Law, records: Records, held: Records | None, choice: str = ""
) -> FittedBaseline:
    """A law with its spread."""
    spread = Spread.of(law, records, held)
    return FittedBaseline(name, choice, law, spread, records.field_shape, records.unit)


def _lagged(records: Records, cycle: MeanCycle) -> tuple[Array, Array, float]:
    """Σ a_i a_{i+1} and Σ a_i² at each point, and the mean time between them."""
    products, squares = np.zeros(len(records.weights)), np.zeros(len(records.weights))
    lag, count = 0.0, 0
    for times, rows, later_times, later_rows in records.pairs():
        now, later = rows - cycle.at(times), later_rows - cycle.at(later_times)
        both = np.isfinite(now) & np.isfinite(later)
        products += np.where(both, now * later, 0.0).sum(0)
        squares += np.where(both, now * now, 0.0).sum(0)
        lag, count = lag + float((later_times - times).sum()), count + len(times)
    return products, squares, lag / count if count else records.step


def _ratio(products: Array, squares: Array) -> Array:
    return np.divide(products, squares, out=np.zeros_like(squares), where=squares > 0).clip(0, 1)
