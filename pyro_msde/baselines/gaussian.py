"""Gaussian forecasts: a mean, and a spread that is as large as errors of such a forecast were.

The variance at each point is the mean square of errors on the training data at leads of 0, 1, 2, 3,
4, 6, 8, 12, … steps, shrunk to their pattern at all leads where such forecasts are few, times what
errors on the validation data are larger on average. In between it is linear in the lead, and beyond
the longest constant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from pyro_msde.baselines.records import Records
from pyro_msde.checks import check_level, check_number
from pyro_msde.data import to_numpy

__all__ = ["FittedBaseline", "GaussianForecast", "Law", "Spread", "mean_square"]

Array = NDArray[Any]

_MOST_NUMBERS = 2**28  # in a forecast: two gigabytes
_PRIOR = 8.0  # forecasts that the pattern of all leads counts for


@dataclass(frozen=True, eq=False)
class GaussianForecast:
    """Independent normals.

    Attributes:
        mean: ([batch,] lead, *field), NaN where training data have no observation.
        sd: The same shape.
    """

    mean: Array
    sd: Array

    def crps(self, truth: Array) -> Array:
        """Continuous ranked probability score of each value, NaN where the truth is.

        s (z (2 Φ(z) − 1) + 2 φ(z) − π^{−½}) with z = (y − m)/s (Gneiting et al. 2005, eq. 5,
        doi:10.1175/MWR2904.1), and |y − m| where s is zero.
        """
        error, sd = truth - self.mean, self.sd
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            z = error / sd
            density = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
            score = sd * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))
        return np.where(sd > 0, score, np.abs(error))

    def covers(self, truth: Array, level: float = 0.9) -> NDArray[np.bool_]:
        """Whether each value is inside the central interval of a level.

        Raises:
            ValueError: `level` is not one number inside (0, 1).
        """
        check_level("level", level)
        return np.abs(truth - self.mean) <= ndtri(0.5 * (1 + level)) * self.sd


class Law(Protocol):
    """What a baseline has learned."""

    def mean(self, start: Array, t0: Array, leads: Array) -> Array:
        """(batch, lead, point) from (batch, point), NaN where not observed, at times t0 (batch,).

        Args:
            start: Flattened fields.
            t0: Theirs.
            leads: (lead,) times since, at least 0.
        """
        ...


@dataclass(frozen=True, eq=False)
class Spread:
    """Variances of errors.

    Attributes:
        leads: (knot,) increasing, from 0.
        variances: (knot, point).
        pattern: (point,) mean square on the training data, at all leads of a step and more.
    """

    leads: Array
    variances: Array
    pattern: Array

    @classmethod
    def of(cls, law: Law, records: Records, validation: Records | None) -> Spread:
        """Of a law's errors."""
        squares, counts, leads = _sums(law, records)
        later = [m for m in squares if m > 0] or list(squares)
        pattern = _ratio(*(np.sum([x[m] for m in later], axis=0) for x in (squares, counts)))
        variances = {}
        for m, square in squares.items():
            size = (counts[m] * pattern) @ records.weights
            times = square @ records.weights / size if size > 0 else 1.0
            variances[m] = (square + _PRIOR * times * pattern) / (counts[m] + _PRIOR)
        if validation is None:
            rows = list(variances.values())
            return cls(np.array([leads[m] for m in variances]), np.stack(rows), pattern)
        held, held_counts, held_leads = _sums(law, validation)
        leads = held_leads | leads
        steps, last, growth = sorted(leads), variances[0], 1.0
        rows = []
        for m in steps:
            last = variances.get(m, last)
            if m in held:
                claimed = (held_counts[m] * last) @ records.weights
                growth = float(held[m] @ records.weights / claimed) if claimed > 0 else 1.0
            rows.append(growth * last)
        return cls(np.array([leads[m] for m in steps]), np.stack(rows), pattern)

    def at(self, leads: Array) -> Array:
        """(lead, point) variances."""
        place = np.interp(leads, self.leads, np.arange(len(self.leads)))
        low = np.floor(place).astype(np.int64)
        high, part = np.minimum(low + 1, len(self.leads) - 1), (place - low)[:, None]
        return (1 - part) * self.variances[low] + part * self.variances[high]


def mean_square(law: Law, records: Records) -> float:
    """Of a law's errors on records, leads of one step and more weighing alike."""
    squares, counts, _ = _sums(law, records)
    sums = ((squares[m] @ records.weights, counts[m] @ records.weights) for m in squares if m > 0)
    means = [square / count for square, count in sums if count > 0]
    return float(np.mean(means)) if means else np.inf


def _sums(
    law: Law, records: Records
) -> tuple[dict[int, Array], dict[int, Array], dict[int, float]]:
    """By steps, increasing: squared errors and their number at each point, and the mean lead."""
    squares: dict[int, Array] = {}
    counts: dict[int, Array] = {}
    leads: dict[int, list[float]] = {}
    for window in records.windows():
        mean = law.mean(window.start[None], np.array([window.t0]), window.leads)[0]
        errors = np.square(mean - window.targets)
        seen = np.isfinite(errors)
        errors[~seen] = 0.0
        for i, m in enumerate(map(int, window.steps)):
            squares[m] = squares.get(m, 0.0) + errors[i]
            counts[m] = counts.get(m, 0.0) + seen[i]
            leads.setdefault(m, []).append(float(window.leads[i]))
    steps = sorted(squares)
    means = {m: float(np.mean(leads[m])) for m in steps}
    return {m: squares[m] for m in steps}, counts, means


def _ratio(total: Array, count: Array) -> Array:
    """Total / count, and of all together where there is no count."""
    whole = total.sum() / max(1.0, count.sum())
    return np.divide(total, count, out=np.full_like(total, whole), where=count > 0)


@dataclass(frozen=True, eq=False)
class FittedBaseline:
    """A baseline that has seen its training data.

    Attributes:
        name: Of the baseline.
        choice: What was chosen on validation, in words; empty: nothing.
        law: What it has learned.
        spread: How far it errs.
        field_shape: Of a snapshot.
        unit: In which law and spread count, in the data's.
    """

    name: str
    choice: str
    law: Law
    spread: Spread
    field_shape: tuple[int, ...]
    unit: float = 1.0

    def forecast(self, y0: Any, leads: Any, t0: Any = 0.0) -> GaussianForecast:
        """Forecast from snapshots.

        Args:
            y0: (*field) or (batch, *field), NaN where nothing was observed.
            leads: (lead,) times since y0, in the data's unit.
            t0: Time of y0, or of each of a batch; it matters where there is a cycle.

        Returns:
            Mean and standard deviation, (lead, *field) or (batch, lead, *field).

        Raises:
            ValueError: Fields of another shape, or infinite; leads that are negative.
        """
        start = to_numpy(y0, "y0").astype(np.float64)
        axes = len(self.field_shape)
        if start.shape[-axes:] != self.field_shape or start.ndim > axes + 1 or not start.size:
            raise ValueError(
                f"y0: shape {start.shape}, but training fields are {self.field_shape}. Pass one "
                "field or a batch of them."
            )
        if np.isinf(start).any():
            raise ValueError("y0: holds infinite values. Pass NaN where nothing was observed.")
        times = np.atleast_1d(to_numpy(leads, "leads").astype(np.float64))
        if times.ndim != 1 or not len(times):
            raise ValueError(f"leads: shape {times.shape}. Pass a row of times since y0.")
        for lead in (times.min(), times.max()):
            check_number("leads", float(lead), zero=True)
        batch = start.reshape(-1, int(np.prod(self.field_shape)))
        if batch.size * len(times) > _MOST_NUMBERS:
            raise ValueError(
                f"leads: {len(times)} of {batch.size} numbers each do not fit in memory. Pass "
                "fewer, or fewer initial fields."
            )
        clock = to_numpy(t0, "t0").astype(np.float64)
        if clock.shape not in ((), (1,), (len(batch),)) or not np.isfinite(clock).all():
            raise ValueError(f"t0: shape {clock.shape}. Pass one time, or one for each field.")
        mean = self.unit * self.law.mean(
            batch / self.unit, np.broadcast_to(clock, (len(batch),)), times
        )
        shape = (*start.shape[: start.ndim - axes], len(times), *self.field_shape)
        sd = np.broadcast_to(self.unit * np.sqrt(self.spread.at(times)), mean.shape)
        return GaussianForecast(mean.reshape(shape), sd.reshape(shape))
