"""How many trajectories there are in truth, where windows of one record overlap."""

from __future__ import annotations

from hashlib import blake2b

from pyro_msde.data.trajectories import Trajectories

__all__ = ["num_separate"]


def num_separate(data: Trajectories) -> float:
    """Number of trajectories, each counted by the share of its snapshots that no earlier one has.

    Windows of 21 snapshots, one every five, count a quarter each, but for the first. Trajectories
    of the same times with values of their own count in full.
    """
    seen: set[tuple[float, bytes]] = set()
    count = 0.0
    for times, values in zip(data.times, data.values, strict=True):
        # whole snapshots: some points might be land or a wall, where all are alike
        marks = {
            (float(t), blake2b(y.tobytes()).digest()) for t, y in zip(times, values, strict=True)
        }
        count += len(marks - seen) / len(marks)
        seen |= marks
    return count
