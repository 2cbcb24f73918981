"""Which linear inverse model forecasts best what it was not learned from.

How many modes there are, how far apart pairs are, the ridge, and what it draws to, are those that
forecast best the quarters of the training data, each learned from the others; where there are
validation data, these and the quarters on average, of all that forecast these nearly best. The
quarters also tell how much larger errors are on data that were not learned from, and C with them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from pyro_msde.inference.linear_inverse import (
    MOST_MODES,
    Decay,
    Learned,
    LinearInverse,
    Record,
    pairs,
)

__all__ = ["linear_inverse_model"]

Array = NDArray[Any]
Fold = tuple[list[Record], list[Record]]

_RANKS = (0, 1, 2, 3, 5, 8, 12, MOST_MODES)
_RIDGES = (0.0, 1e-2, 1e-1, 1.0)  # of the mean square of a mode
_LAGS = (1, 2, 4, 8, 16)  # in snapshots
_LEADS = (1, 2, 3, 4, 8, 16)  # in snapshots
_PARTS = 4
_NEARLY = 1.2  # times the least mean square error
_DOUBT = 1.1  # times an error, of what would never come back to its mean
_MOST_PAIRS = 2000  # by which a start is chosen


class _Choice(NamedTuple):
    """What a linear inverse model is learned with.

    Attributes:
        lag: In snapshots.
        modes: How many.
        ridge: Relative to the mean square of a mode.
        decay: Of what is not in modes, and what the ridge draws them to.
    """

    lag: int
    modes: int
    ridge: float
    decay: Decay


def linear_inverse_model(
    records: list[Record], judge: list[Record] | None = None, *, most: int = MOST_MODES
) -> LinearInverse | None:
    """The linear inverse model that forecasts best, learned from all records.

    Args:
        records: Of each trajectory times (time,), in training horizons, states (time, n), and
            controls (time, c), of which there may be none.
        judge: The same of validation data; None: there are none, and quarters of the records do.
        most: Modes, at most.

    Returns:
        None: there are too few pairs of snapshots.
    """
    quarters = _trials(_folds(records))
    best = _best(quarters, [] if judge is None else _trials([(records, judge)]), most)
    law = None if best is None else LinearInverse.of(Learned.of(records), *best)
    if best is None or law is None:
        return None
    return replace(law, optimism=_optimism(law, quarters, best))


def _optimism(law: LinearInverse, quarters: list[_Trial], choice: _Choice) -> float:
    """How many times the mean square error on data it was learned from it is on others."""
    pairs = [
        (error * trial.unit, float(np.mean([law.error(*target) for target in trial.targets])))
        for trial in quarters
        if math.isfinite(error := trial.error(choice))
    ]
    without, within = np.sum(pairs, axis=0) if pairs else (0.0, 0.0)
    return max(1.0, float(without / within)) if within > 0 else 1.0


def _folds(records: list[Record]) -> list[Fold]:
    """All but a quarter, and that quarter: of the trajectories, or of the time of a few."""
    if len(records) >= _PARTS:
        parts = [records[k::_PARTS] for k in range(_PARTS)]
    else:
        parts = [[_part(record, k) for record in records] for k in range(_PARTS)]
    others = [[r for j, part in enumerate(parts) if j != k for r in part] for k in range(_PARTS)]
    return list(zip(others, parts, strict=True))


def _part(record: Record, k: int) -> Record:
    """The k-th quarter of a record's time."""
    t, z, u = record
    edges = np.linspace(0, len(t), _PARTS + 1).astype(int)
    span = slice(edges[k], edges[k + 1])
    return t[span], z[span], u[span]


def _trials(folds: list[Fold]) -> list[_Trial]:
    """Those folds from which something can be learned and forecast."""
    return [trial for fold in folds if (trial := _Trial.of(*fold)) is not None]


def _best(quarters: list[_Trial], judged: list[_Trial], most: int) -> _Choice | None:
    """What forecasts best; None: there are too few pairs.

    A few windows of validation data tell little: of those that forecast them nearly best, the one
    is taken that forecasts these and the quarters best on average.
    """
    choices = [
        _Choice(lag, modes, ridge, decay)
        for lag in _LAGS
        for modes in _RANKS
        if modes <= most
        for ridge in (_RIDGES if modes else _RIDGES[:1])
        for decay in get_args(Decay)
    ]
    doubt = np.array([_DOUBT if choice.decay == "none" else 1.0 for choice in choices])
    by_quarters, by_validation = (
        doubt * [_mean_error(trials, choice) for choice in choices] for trials in (quarters, judged)
    )
    score, allowed = by_quarters, np.isfinite(by_quarters)
    if judged:
        allowed = np.isfinite(by_validation) & (by_validation <= _NEARLY * by_validation.min())
        both = by_validation + by_quarters
        score = both if np.isfinite(both[allowed]).any() else by_validation
    if not allowed.any():
        return None
    return choices[int(np.where(allowed, score, np.inf).argmin())]


def _mean_error(trials: list[_Trial], choice: _Choice) -> float:
    """Over the trials from which it can be learned; infinite where there is none."""
    errors = [trial.error(choice) for trial in trials]
    finite = [error for error in errors if math.isfinite(error)]
    return float(np.mean(finite)) if finite else math.inf


@dataclass(frozen=True)
class _Trial:
    """Records to learn from, and what to forecast.

    Attributes:
        learned: What to learn from.
        targets: Elapsed time, states now and later and controls in between, at each lead.
        unit: Mean square error of persistence.
    """

    learned: Learned
    targets: list[tuple[float, Array, Array, Array]]
    unit: float

    @classmethod
    def of(cls, records: list[Record], held: list[Record]) -> _Trial | None:
        """With records that are thinned to what a choice takes; None: nothing is to be forecast."""
        targets = list(_targets(held))
        if not targets or not any(len(record[0]) for record in records):
            return None
        unit = float(np.mean([np.square(later - now).mean() for _, now, later, _ in targets]))
        return cls(Learned.of(records, most=_MOST_PAIRS), targets, unit or 1.0)

    def error(self, choice: _Choice) -> float:
        """Of a linear inverse model, relative to persistence's; infinite where there is none."""
        law = LinearInverse.of(self.learned, *choice)
        if law is None:
            return math.inf
        return float(np.mean([law.error(*target) for target in self.targets])) / self.unit


def _targets(records: list[Record]) -> Iterator[tuple[float, Array, Array, Array]]:
    """Elapsed time, states now and later, controls in between, as `pairs`, at a few leads."""
    for lead in _LEADS:
        now, later, between, elapsed = pairs(records, lead, _MOST_PAIRS)
        if len(now):
            yield float(elapsed.mean()), now, later, between
