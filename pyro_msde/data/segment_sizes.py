"""Length and stride of segments that the data allow.

A recipe's are kept where every trajectory holds such a segment and observations a stride apart are
still alike; they are made smaller elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection

from pyro_msde.data.decorrelation import decorrelation_lag
from pyro_msde.data.trajectories import Trajectories

__all__ = ["segment_sizes"]

_ALIKE = 2  # observations, at least, in the time that a field takes to decorrelate


def segment_sizes(
    data: Trajectories, length: int, stride: int, fixed: Collection[str] = ()
) -> tuple[int, int, str]:
    """Length and stride, and a sentence that says why.

    The stride is at most half the lag at which the field decorrelates. Where the shortest
    trajectory holds no such segment, it and then the length are made so small that one is half as
    long as that trajectory: of longer ones there are too few, which overlap in nearly everything.

    Args:
        data: Training trajectories.
        length: Observations of a segment that would be best.
        stride: Every how many snapshots it would best take one.
        fixed: Which of "length" and "stride" are not to be changed.
    """
    count = min(len(t) for t in data.times)
    most = _ALIKE * stride + 1
    lag = decorrelation_lag(data.values, most)
    if "stride" not in fixed:
        stride = max(1, min(stride, lag // _ALIKE))
    if (length - 1) * stride >= count:
        if "stride" not in fixed:
            stride = max(1, min(stride, (count - 1) // 2 // (length - 1)))
        if "length" not in fixed:
            length = max(2, min(length, (count - 1) // 2 // stride + 1))
    forgets = f"decorrelate in {lag} snapshot{'s'[lag == 1 :]}" if lag < most else "change slowly"
    every = "every snapshot" if stride == 1 else f"one in {stride} snapshots"
    return (
        length,
        stride,
        f"Segments have {length} observations, {every}: trajectories have {count} or more, and "
        f"fields {forgets}.",
    )
