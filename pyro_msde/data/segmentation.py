"""Test trajectories cut into segments as in training, for what the guide says of them.

The guide interpolates the snapshots of a segment in time rescaled to it, so it speaks of segments
of the duration, and of snapshots at the distance, that it was trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_msde.data.scaled_fields import ScaledFields
from pyro_msde.data.segments import LENGTH, STRIDE, Segments
from pyro_msde.data.trajectories import Trajectories
from pyro_msde.data.units import Scaling
from pyro_msde.protocols import FittedModel, Places

__all__ = [
    "Cut",
    "cut",
    "duration_of",
    "each_trajectory",
    "picks_by_segment",
    "scaled_segments",
    "segments_of",
]

Array = NDArray[Any]


class Cut(NamedTuple):
    """Observations of a segment, and every how many snapshots there is one."""

    length: int
    stride: int


def duration_of(fit: FittedModel, test: Trajectories) -> float:
    """Mean duration of the training segments, in the data's time units.

    For a fit that does not know it: of the default recipe's at the first trajectory's spacing.
    """
    if fit.training.segment is not None:
        return float(fit.training.segment[1])
    return (LENGTH - 1) * STRIDE * _spacing(test.times[0])


def cut(fit: FittedModel, times: Array) -> Cut | None:
    """How to cut a trajectory: segments as in training, or shorter ones if it is short.

    Any snapshot is an observation of some such segment. None: it has a single snapshot.

    Args:
        fit: The `Fit`.
        times: (time,) of the trajectory.
    """
    if len(times) < 2:
        return None
    length, stride = LENGTH, STRIDE
    if fit.training.segment is not None:
        length, duration = fit.training.segment
        spacing = _spacing(times)
        stride = max(1, round(duration / (length - 1) / spacing))
        length = max(2, round(duration / (stride * spacing)) + 1)
    if len(times) < 2 * stride:
        stride = 1
    return Cut(min(length, len(times) // stride), stride)


def picks_by_segment(count: int, how: Cut, picks: Array) -> dict[int, Array]:
    """Starts of segments, and which of the picked snapshots are observations of each.

    Args:
        count: Snapshots of the trajectory.
        how: It is cut.
        picks: (n,) indices of snapshots.

    Returns:
        By start, places in `picks`; each is in one segment.
    """
    span = (how.length - 1) * how.stride
    last = count - 1 - span  # at least stride − 1, by `cut`
    starts = picks // span * span + picks % how.stride
    starts = np.where(starts > last, last - (last - picks) % how.stride, starts)
    return {int(s): np.flatnonzero(starts == s) for s in np.unique(starts)}


def segments_of(fit: FittedModel, test: Trajectories, k: int, how: Cut) -> Segments:
    """The k-th trajectory in scaled units, in consecutive segments, numbered among all of them."""
    like = next(v for v in fit.model.state_dict().values() if v.is_floating_point())
    return scaled_segments(
        test[k],
        fit.scaling,
        fit.model.grid,
        like,
        length=how.length,
        stride=how.stride,
        starts="fixed",
        first=sum(len(t) for t in test.times[:k]),
    )


def scaled_segments(
    data: Trajectories, scaling: Scaling, grid: Places, like: Tensor, **how: Any
) -> Segments:
    """Trajectories in scaled units, cut into segments.

    Args:
        data: In the user's units.
        scaling: Scaled against user's units.
        grid: That of the fields.
        like: Has the dtype that scaled fields are given in, and the device.
        **how: Of `Segments`: `length`, `stride`, `picks_by_segment`, `first`.
    """
    covariates = None
    if data.covariates is not None:
        covariates = scaling.scaled_covariates(torch.as_tensor(data.covariates)).to(like)
    controls = None
    if data.controls is not None:
        controls = [scaling.scaled_controls(torch.as_tensor(c)).to(like) for c in data.controls]
    fields = [
        ScaledFields(torch.as_tensor(v).to(like.device), t, scaling, dtype=like.dtype, places=grid)
        for t, v in zip(data.times, data.fields(grid.channels, grid.data_shape), strict=True)
    ]
    clocks = [torch.as_tensor(t / scaling.time) for t in data.times]
    return Segments(clocks, fields, covariates=covariates, controls=controls, **how)


def each_trajectory(fit: FittedModel, data: Trajectories) -> Iterator[Segments]:
    """Segments of one trajectory after the other, without those of a single snapshot."""
    for k, times in enumerate(data.times):
        how = cut(fit, times)
        if how is not None:
            yield segments_of(fit, data, k, how)


def _spacing(times: Array) -> float:
    """Usual time between snapshots."""
    return float(np.median(np.diff(times))) if len(times) > 1 else 1.0
