"""What is subtracted from fields before a model sees them, and given back in every output.

    y'(t) = y(t) − r(t),    r(t) = a + Σ_k b_k cos 2πkt/P + c_k sin 2πkt/P

with b = c = 0 but for a mean cycle. A constant is no part of the dynamics: in kelvins it would be
three hundred times as large as what is to be forecast.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.checks import check_number, check_whole
from pyro_msde.data.arrays import to_numpy
from pyro_msde.data.harmonics import fitted_harmonics, harmonics_at
from pyro_msde.data.instants import TimeUnits
from pyro_msde.data.periods import check_period, period_in

__all__ = ["Cycle", "Reference", "reference_of"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Cycle:
    """A mean cycle at each point, as `fit(reference=…)` learns it from the training data alone.

    Attributes:
        period: In the units of the data's times, such as 365.25 where these count days; or a
            duration, such as np.timedelta64(8766, "h") or "10 days", where their units are known;
            or "1 year" or "12 months", a mean year of the data's calendar, where they have dates.
        harmonics: Number of waves within a period, beside the mean.
    """

    period: float | datetime.timedelta | np.timedelta64 | str
    harmonics: int = 2

    def __post_init__(self) -> None:
        """Check both.

        Raises:
            ValueError: A period that is not positive and finite, or no harmonics.
        """
        check_period("period", self.period)
        check_whole("harmonics", self.harmonics, 1)

    def in_units(self, units: TimeUnits) -> Cycle:
        """The same with a period that is a number, in the units of data.

        Raises:
            ValueError: The period is a duration, and the units are not known, or none is fixed; or
                it is in years, and times count from no date.
        """
        return Cycle(period_in(units, self.period, "reference"), self.harmonics)


@dataclass(frozen=True, eq=False)
class Reference:
    """What is subtracted from fields, in the user's units.

    Attributes:
        coefficients: (1 + 2 harmonics, channel, *space) float64: the mean, then cosine and sine of
            each harmonic. Axes of space may have length one, as those of one number a channel do.
            None: nothing is subtracted.
        period: Of the first harmonic, in the units of the data's times; None: no cycle.
    """

    coefficients: Array | None = None
    period: float | None = None

    def __bool__(self) -> bool:
        """Whether anything is subtracted."""
        return self.coefficients is not None

    def __eq__(self, other: object) -> bool:
        """Equal numbers."""
        if not isinstance(other, Reference):
            return NotImplemented
        if self.coefficients is None or other.coefficients is None:
            return self.coefficients is other.coefficients
        return self.period == other.period and np.array_equal(self.coefficients, other.coefficients)

    def __hash__(self) -> int:
        """Of the period; equal references have equal ones."""
        return hash(self.period)

    def at(self, times: Any) -> Array:
        """Values of r at times (...), (..., channel, *space), in the units of the data's times.

        Without a cycle each axis of `times` has length one in the answer, to be broadcast.

        Raises:
            ValueError: Nothing is subtracted.
        """
        if self.coefficients is None:
            raise ValueError("reference: nothing is subtracted, so that there are no values of it.")
        clock = np.asarray(times, dtype=np.float64)
        if self.period is None:
            return self.coefficients[0].reshape((1,) * clock.ndim + self.coefficients.shape[1:])
        waves = harmonics_at(clock, self.period, len(self.coefficients))
        return np.tensordot(waves, self.coefficients, 1)


def reference_of(
    given: Any,
    fields: Sequence[NDArray[Any]],
    times: Sequence[NDArray[Any]],
    admits_constant: Sequence[bool],
) -> Reference:
    """The reference that `fit` was asked for, learned from training data where it has to be.

    Args:
        given: "channel": the mean of each channel, but of those that are zero on a wall; "point":
            that of each point; a `Cycle`, its period a number; an array (*space) or
            (channel, *space) or one number a channel; None: nothing.
        fields: Per trajectory (time, channel, *space), NaN where nothing was observed.
        times: Per trajectory (time,).
        admits_constant: Whether a constant field suits the boundaries, by channel.

    Raises:
        ValueError: Something else, or an array of another shape or that is not finite.
    """
    if given is None:
        return Reference()
    if isinstance(given, Cycle):
        return _cycle(given, fields, times)
    if not isinstance(given, str):
        return Reference(_array(given, fields)[None])
    if given == "point":
        return Reference(_mean(fields, per_point=True)[None])
    if given == "channel":
        mean = _mean(fields, per_point=False)
        mean = mean * np.reshape(admits_constant, (-1, *(1,) * (mean.ndim - 1)))
        return Reference(mean[None]) if mean.any() else Reference()
    raise ValueError(
        f"reference={given!r}: choose 'channel', 'point', a pyro_msde.Cycle, an array, or None."
    )


def _mean(fields: Sequence[NDArray[Any]], *, per_point: bool) -> Array:
    """Of what was observed, (channel, *space) or (channel, 1, …)."""
    axes = (0,) if per_point else (0, *range(2, fields[0].ndim))
    # around the first value that was observed: sums of anomalies lose no digits
    base = _first_observed(fields)
    total: Any = 0.0
    count: Any = 0
    for field in fields:
        seen = np.isfinite(field)
        total = total + np.where(seen, field - base, 0.0).sum(axes, keepdims=True, dtype=np.float64)
        count = count + seen.sum(axes, keepdims=True)
    mean = (total / np.maximum(count, 1))[0]
    if per_point:  # what was never observed has the channel's
        rest = tuple(range(1, mean.ndim))
        everywhere = total[0].sum(rest, keepdims=True) / count[0].sum(rest, keepdims=True).clip(1)
        mean = np.where(count[0] > 0, mean, everywhere)
    return np.asarray(mean + base)


def _first_observed(fields: Sequence[NDArray[Any]]) -> Array:
    """(channel, 1, …) a value of each channel; zero where none was ever observed."""
    base = np.zeros((fields[0].shape[1], *(1,) * (fields[0].ndim - 2)))
    for k in range(len(base)):
        for field in fields:
            seen = np.isfinite(field[:, k])
            if seen.any():
                base[k] = field[:, k][np.unravel_index(seen.argmax(), seen.shape)]
                break
    return base


def _cycle(
    cycle: Cycle, fields: Sequence[NDArray[Any]], times: Sequence[NDArray[Any]]
) -> Reference:
    """Coefficients by least squares at each point, from what was observed there."""
    period = check_number("period", cycle.period)
    mean = _mean(fields, per_point=True)
    # anomalies from the mean: large means cost no digits
    blocks = ((t, (f - mean).reshape(len(f), -1)) for f, t in zip(fields, times, strict=True))
    found = fitted_harmonics(blocks, mean.size, period, 1 + 2 * cycle.harmonics)
    coefficients = np.nan_to_num(found, nan=0.0).reshape(-1, *mean.shape)
    coefficients[0] += mean
    return Reference(coefficients, period)


def _array(given: Any, fields: Sequence[NDArray[Any]]) -> Array:
    """(channel, *space) or (channel, 1, …) from what the user passed.

    NaN at points where nothing ever was observed, such as land, becomes the channel's mean.
    """
    shape = fields[0].shape[1:]
    values = to_numpy(given, "reference").astype(np.float64)
    each = (shape[0], *(1,) * (len(shape) - 1))
    if values.shape == shape[1:] and shape[0] == 1:
        values = values[None]
    elif values.ndim <= 1 and values.size == shape[0]:
        values = values.reshape(each)
    if values.shape not in (shape, each):
        raise ValueError(
            f"reference: shape {values.shape}; the data's fields are (channel, *space) = {shape}. "
            "Pass an array of this shape, or one number a channel."
        )
    seen = np.any([np.isfinite(field).any(0) for field in fields], 0)
    missing = np.isnan(values) & ~(seen if values.shape == shape else np.True_)
    bad = int((~np.isfinite(values) & ~missing).sum())
    if bad:
        raise ValueError(
            f"reference: holds NaN or infinite values, {bad} of {values.size}, where there are "
            "observations. Give a number for each point."
        )
    space = tuple(range(1, values.ndim))
    mean = np.mean(values, space, keepdims=True, where=~missing) if missing.any() else 0.0
    return np.where(missing, mean, values)
