"""Where snapshots of an otherwise regular record are missing, without a trace in its times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyro_msde.data.instants import rounding

__all__ = ["holes"]

_ALIKE = 1.5  # times as long may one step of a regular record be: months and years differ by less
_REGIME = 3  # steps that follow each other, all longer but alike: another spacing, not holes


def holes(times: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(time − 1,) which steps skip snapshots that a record of its spacing would have.

    None, where the steps that are not far longer than the median one differ, as those of an
    irregular record do.

    Args:
        times: (time,) increasing.
    """
    steps = np.diff(times)
    if not len(steps):
        return np.zeros(0, dtype=bool)
    slack = 2 * rounding(times)
    usual = float(np.median(steps))
    long = steps > _ALIKE * usual + slack
    regular = bool((steps[~long] >= usual / _ALIKE - slack).all())
    return long & ~_runs(steps, long) if regular else np.zeros(len(steps), dtype=bool)


def _runs(steps: NDArray[np.float64], long: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(step,) which of the long steps belong to a run of `_REGIME` or more that are alike."""
    out = np.zeros(len(steps), dtype=bool)
    for start in np.flatnonzero(long[: len(steps) - _REGIME + 1]):
        some = slice(start, start + _REGIME)
        out[some] |= long[some].all() and steps[some].max() <= _ALIKE * steps[some].min()
    return out
