"""Coverage of single windows by lead time, and how surely few windows tell it.

Values of a window err together. Their normal scores Φ⁻¹(PIT), lead times × places, have singular
values σ_i; (Σ σ_i²)²/Σ σ_i⁴ is 1 where all are one number, as many as the lead times or places
where they are independent, and stands for the number of independent values in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from pyro_msde.data import Trajectories
from pyro_msde.forecasts import Forecast
from pyro_msde.scores.averages import mean_of
from pyro_msde.scores.forecast_scores import pit
from pyro_msde.scores.predictive import Array, part_of_horizon
from pyro_msde.scores.targets import finite, target_of

__all__ = ["WindowScores", "window_scores"]

_FARTHEST = 3.0  # standard deviations: a mixture of few paths has no tails


@dataclass(frozen=True)
class WindowScores:
    """Of forecasts of windows, by lead time, of what was observed.

    Attributes:
        coverage: (window, bin) share inside the central interval; NaN where nothing was observed.
        variance: (window, bin) predictive variance, likewise.
        squared_error: (window, bin) of the mean, likewise.
        crps: (window, bin) continuous ranked probability score of the normal law with the
            forecast's mean and variance, likewise.
        independent: (window,) about how many independent values each has.
        ends: (bin,) lead times at which the parts of the horizon end, in the data's units.
    """

    coverage: Array
    variance: Array
    squared_error: Array
    crps: Array
    independent: Array
    ends: Array

    @property
    def bins(self) -> NDArray[np.int64]:
        """Which parts of the horizon any window has."""
        return np.flatnonzero(~np.isnan(self.coverage).all(0))

    @property
    def by_bin(self) -> Array:
        """(bin,) coverage averaged over windows, of the parts of the horizon that there are."""
        return mean_of(self.coverage[:, self.bins], 0)

    @property
    def average(self) -> float:
        """Coverage averaged over windows, then over parts of the horizon."""
        return float(self.by_bin.mean())

    @property
    def spread_skill(self) -> Array:
        """(bin,) root of mean variance over mean squared error, likewise."""
        spread, miss = (mean_of(x[:, self.bins], 0) for x in (self.variance, self.squared_error))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.sqrt(spread / miss))

    @property
    def leads(self) -> tuple[float, ...]:
        """(bin,) `ends` of the parts of the horizon that there are."""
        return tuple(self.ends[self.bins].tolist())

    @property
    def by_lead(self) -> tuple[tuple[float, ...], tuple[float | None, ...]]:
        """`by_bin` and `spread_skill`, None where this is not finite, as files hold them."""
        spread = self.spread_skill.tolist()
        return tuple(self.by_bin.tolist()), tuple(x if np.isfinite(x) else None for x in spread)

    def gain_over(self, other: WindowScores) -> float:
        """By what share the CRPS is below another forecast's, the geometric mean over windows."""
        ours, theirs = (mean_of(x.crps[:, x.bins], 1) for x in (self, other))
        known = np.isfinite(ours) & np.isfinite(theirs) & (theirs > 0)
        with np.errstate(divide="ignore"):
            logs = np.log(ours[known] / theirs[known])
        return float(1 - np.exp(logs.mean())) if known.any() else 0.0

    def falls_short(self, level: float, separate: float) -> bool:
        """Whether coverage is below the level by more than its standard error; see `error`."""
        return self.average < level - self.error(level, separate)

    def error(self, level: float, separate: float) -> float:
        """Standard error of the coverage averaged over windows and lead times.

        The variance of a window's coverage is taken to be (v + Σ_k (c_k − c̄)²)/n, n windows: what
        is seen between them, with v = level (1 − level)/m of m independent values as one more that
        stands in where there are few.

        Args:
            level: Nominal coverage.
            separate: n, how many windows do not overlap.
        """
        each = mean_of(self.coverage, 1)
        each = each[~np.isnan(each)]
        prior = level * (1 - level) / float(np.mean(self.independent))
        between = float(np.square(each - each.mean()).mean()) * separate
        return float(np.sqrt((prior + between) / separate / separate))


def window_scores(
    pairs: Sequence[tuple[Forecast, Trajectories]], *, level: float, bins: int
) -> WindowScores:
    """Scores after the initial time, of forecasts in batches and their truth.

    Args:
        pairs: Forecasts and trajectories at their times.
        level: Nominal coverage of the central interval.
        bins: Equal parts of the longest horizon.

    Raises:
        ValueError: A forecast that is not finite, or does not fit its truth; nothing was observed
            after the initial times.
    """
    horizon = max(float(fc.times[-1] - fc.times[0]) for fc, _ in pairs)
    tables: list[list[Array]] = [[], [], [], []]
    independent: list[float] = []
    for fc, truth in pairs:
        target = target_of(fc, truth)
        shape = (*target.values.shape[:2], -1)
        probability = pit(fc, truth).reshape(shape)
        seen = np.isfinite(probability)
        seen[:, 0] = False  # the field that the forecast starts from
        inside = np.abs(probability - 0.5) <= level / 2
        miss = (finite(fc, "mean") - target.values).square().numpy().reshape(shape)
        spread = finite(fc, "sd").square().numpy().reshape(shape)
        part = part_of_horizon(fc.times, bins, horizon)
        score = _normal_crps(np.sqrt(miss), np.sqrt(spread))
        for table, x in zip(tables, (inside, spread, miss, score), strict=True):
            table.append(_by_part(np.where(seen, x, 0.0), seen, part, bins))
        normal = ndtri(np.where(seen, probability, 0.5)).clip(-_FARTHEST, _FARTHEST)
        independent += [_independent(each) for each in normal]
    covered, variance, error, crps = (np.concatenate(table) for table in tables)
    ends = np.arange(1, bins + 1) * horizon / bins
    scores = WindowScores(covered, variance, error, crps, np.array(independent), ends)
    if not len(scores.bins):
        raise ValueError("validation: nothing was observed after the first snapshots. Pass others.")
    return scores


def _normal_crps(error: Array, sd: Array) -> Array:
    """CRPS of a normal law, by the size of its mean's error (Gneiting et al. 2005, eq. 5)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        z = error / sd
        score = error * (2 * ndtr(z) - 1) + sd * (2 * _normal_density(z) - 1 / np.sqrt(np.pi))
    return np.where(sd > 0, score, error)


def _normal_density(z: Array) -> Array:
    return np.asarray(np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi))


def _by_part(x: Array, seen: NDArray[np.bool_], part: NDArray[Any], bins: int) -> Array:
    """(window, bin) means over snapshots of what was seen of each; NaN where there is none."""
    with np.errstate(invalid="ignore"):
        each = x.sum(2) / seen.sum(2)  # NaN where nothing of a snapshot was
    there = np.isfinite(each)
    out = np.full((len(each), bins), np.nan)
    for b in np.unique(part):
        own, count = np.where(there, each, 0.0)[:, part == b], there[:, part == b].sum(1)
        out[:, b] = np.divide(own.sum(1), count, where=count > 0, out=np.full(len(own), np.nan))
    return out


def _independent(scores: Array) -> float:
    """(Σ σ²)²/Σ σ⁴ of the singular values of (time, place); one where there are none."""
    gram = scores @ scores.T
    squares = float(np.square(gram).sum())
    return float(np.trace(gram)) ** 2 / squares if squares > 0 else 1.0
