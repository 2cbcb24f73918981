"""Trajectories side by side: those that share their times, or their lead times.

A lead time is the time since a trajectory's start. Windows of one record have times of their own,
but lead times in common.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyro_msde.data.instants import rounding, same_times
from pyro_msde.data.trajectories import Trajectories

__all__ = ["Batch", "all_times", "common_batches"]

Array = NDArray[Any]


class Batch(NamedTuple):
    """Some trajectories that have equal lead times.

    Attributes:
        rows: (row,) which ones.
        start: Time of all first snapshots, or (row,) of each if they differ.
        times: (time,) that all have; lead times if `start` differs.
    """

    rows: Array
    start: float | Array
    times: Array


def common_batches(data: Trajectories) -> list[Batch]:
    """Trajectories in batches of equal lead times, in the order of the first of each."""
    if data.common_times() is not None:
        return [Batch(np.arange(len(data)), float(data.times[0][0]), data.times[0])]
    groups: dict[int, list[list[int]]] = {}  # by number of snapshots
    for k, t in enumerate(data.times):
        alike = groups.setdefault(len(t), [])
        group = next((g for g in alike if _same_leads(data.times[g[0]], t)), None)
        if group is None:
            alike.append([k])
        else:
            group.append(k)
    return [_batch(data, g) for g in sorted(g for alike in groups.values() for g in alike)]


def all_times(data: Trajectories) -> tuple[float | Array, Array]:
    """As of a `Batch` of all trajectories, with all times, or lead times, that any of them has."""
    starts = np.array([t[0] for t in data.times])
    batches = common_batches(data)
    if len(batches) == 1:
        return batches[0].start, batches[0].times
    slack = max(rounding(t) for t in data.times)
    if np.ptp(starts) <= slack:
        return float(starts[0]), _merged(data.times, slack)
    return starts, _merged([t - t[0] for t in data.times], slack)


def _batch(data: Trajectories, rows: list[int]) -> Batch:
    first = data.times[rows[0]]
    if all(same_times(first, data.times[k]) for k in rows):
        return Batch(np.array(rows), float(first[0]), first)
    return Batch(np.array(rows), np.array([data.times[k][0] for k in rows]), first - first[0])


def _same_leads(ours: Array, theirs: Array) -> bool:
    """Whether two rows of times are equal but for their start and rounding, which is of both."""
    apart = np.abs((ours - ours[0]) - (theirs - theirs[0])).max()
    return bool(apart <= max(rounding(ours), rounding(theirs)))


def _merged(rows: Any, slack: float) -> Array:
    """Increasing times of all rows, each once."""
    times = np.unique(np.concatenate(rows))
    new = np.concatenate([[True], np.diff(times) > slack])
    return np.asarray(times[new])
