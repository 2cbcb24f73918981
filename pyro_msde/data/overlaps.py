"""How many trajectories there are in truth, where windows of one record overlap."""

from __future__ import annotations

import numpy as np

from pyro_msde.data.trajectories import Trajectories

__all__ = ["num_separate"]

_LOOKED_AT = 64  # numbers of a snapshot by which it is known again


def num_separate(data: Trajectories) -> float:
    """Number of trajectories, each counted by the share of its snapshots that no earlier one has.

    Windows of 21 snapshots, one every five, count a quarter each, but for the first. Trajectories
    of the same times with values of their own count in full.
    """
    seen: set[tuple[float, bytes]] = set()
    count = 0.0
    for times, values in zip(data.times, data.values, strict=True):
        flat = values.reshape(len(times), -1)
        some = np.ascontiguousarray(flat[:, :: max(1, flat.shape[1] // _LOOKED_AT)])
        marks = {(float(t), row.tobytes()) for t, row in zip(times, some, strict=True)}
        count += len(marks - seen) / len(marks)
        seen |= marks
    return count
