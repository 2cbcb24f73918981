"""Blocks of time into which a single trajectory is cut, so that one after the other is left out.

One record has no independent repetitions, but long stretches of it nearly are. Between n blocks of
a record of length T that remembers for a time τ, the variance comes out too small by τ n / T, since
neighbours are alike where they meet, and errs at random by √(2 / n), both relative. The sum of
squares is least at

    n = (T / τ)^⅔,      and a block is τ (T / τ)^⅓ long, longer than τ

(Carlstein 1986, doi:10.1214/aos/1176350057).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pyro_msde.data.decorrelation import decorrelation_lag
from pyro_msde.data.segmentation import cut
from pyro_msde.data.trajectories import Trajectories
from pyro_msde.protocols import FittedModel

__all__ = ["num_blocks", "time_blocks"]

_MOST = 100  # so that memory stays bounded


def num_blocks(intervals: int, memory: float) -> int:
    """How many blocks are best, from 2 to 100.

    Args:
        intervals: Of the record, at least 2; no block is shorter than one.
        memory: Intervals after which the record has forgotten.
    """
    best = round((intervals / memory) ** (2 / 3))
    return max(2, min(best, intervals, _MOST))


def time_blocks(fit: FittedModel, data: Trajectories) -> Tensor | None:
    """Scaled times at which one block ends and the next begins, (block − 1,) float64.

    Blocks have equally many snapshots, to one. The fields remember until their autocorrelation is
    below 1/e, and no shorter than from one observation of a segment to the next. For a wave that is
    a fifth of its period, so that blocks of a record of 27 periods are as long as one.

    Args:
        fit: Says how trajectories are cut into segments, and what the unit of time is.
        data: Training trajectories in the user's units.

    Returns:
        None for several trajectories, which are left out themselves.

    Raises:
        ValueError: A single trajectory of fewer than three snapshots.
    """
    if len(data) > 1:
        return None
    times = data.times[0]
    how, intervals = cut(fit, times), len(times) - 1
    if how is None or intervals < 2:
        raise ValueError(
            f"train: a single trajectory of {len(times)} snapshots. The jackknife leaves out one "
            "of several trajectories, or one block of time of several: pass three snapshots."
        )
    memory = max(how.stride, decorrelation_lag(data.values, intervals // 2))
    edges = np.linspace(0, intervals, num_blocks(intervals, memory) + 1).round().astype(np.int64)
    return torch.as_tensor(times[edges[1:-1]] / fit.scaling.time)
