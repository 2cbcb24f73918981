"""What scores need of a forecast, and of the truth that it is scored against.

A forecast is a predictive distribution per trajectory, time and place (the mixture of App. F); the
truth has the shape of its mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from pyro_msde.checks import check_kind, check_whole
from pyro_msde.data import Metadata, Trajectories, matched, rounding, to_numpy
from pyro_msde.forecasts import Forecast

__all__ = [
    "Array",
    "Truth",
    "aligned",
    "by_lead",
    "check_scored",
    "lead_bin",
    "matching",
    "part_of_horizon",
    "to_array",
]

Array = NDArray[np.float64]
_MOST_BINS = 10**6
Truth = Trajectories | Tensor | NDArray[Any]


def matching(fc: Forecast, truth: Truth) -> Tensor:
    """The truth as a float64 tensor shaped as `fc.mean`.

    Raises:
        ValueError: Another number of trajectories, other times or another grid than the forecast's,
            NaN or infinite values.
    """
    check_kind("fc", fc, ("times", "shape", "batched", "cdf"), "what fit.predict gave")
    truth = aligned(fc, truth)
    if isinstance(truth, Trajectories):
        values = _values_at(fc, truth)
    else:
        values = to_numpy(truth, "truth")
    shape = tuple(fc.shape)
    if values.shape != shape:
        raise ValueError(
            f"truth: shape {values.shape}, but the forecast's mean has {shape}, "
            f"{'(batch, time, *field)' if fc.batched else '(time, *field)'}. Make them equal."
        )
    bad = np.argwhere(~np.isfinite(values).reshape(*shape[: 1 + fc.batched], -1).all(-1))
    if len(bad):
        trajectory = f"trajectory {bad[0][0]}, " if fc.batched else ""
        i = bad[0][-1]
        raise ValueError(
            f"truth: NaN or infinite in {trajectory}index {i} (t={fc.times[i]:.6g}), "
            f"{len(bad)} snapshots in all. Leave them out. (Masked values are read as NaN.)"
        )
    return torch.as_tensor(values, dtype=torch.float64)


def aligned(fc: Forecast, truth: Truth) -> Truth:
    """Truth whose times are in the units of the forecast's, where both are known.

    Raises:
        ValueError: Other units, or another order, than the data of the fit had.
    """
    if isinstance(truth, xr.DataArray) and fc.metadata is not None:
        axes = len(fc.shape) - 1 - fc.batched
        fc.metadata.check("truth", Metadata.of_array(truth, axes))
    return matched(fc.metadata, "truth", truth) if isinstance(truth, Trajectories) else truth


def _values_at(fc: Forecast, truth: Trajectories) -> NDArray[Any]:
    """Values of all trajectories at the forecast's times, NaN where these go on without them."""
    count = fc.shape[0] if fc.batched else 1
    if len(truth) != count:
        raise ValueError(
            f"truth: number of trajectories {len(truth)}, but the forecast has {count}. "
            "Select those that were forecast: truth[k]."
        )
    valid = fc.valid_times if isinstance(fc, Forecast) else fc.times
    valid = np.broadcast_to(valid, (count, len(fc.times)))
    places = [_nearest(v, t) for v, t in zip(valid, truth.times, strict=True)]
    # trajectories of unequal lengths are forecast at all times that any of them has
    united = len(np.unique(np.concatenate(places))) == len(fc.times)
    rows = []
    for k, (times, clock, place) in enumerate(zip(valid, truth.times, places, strict=True)):
        if len(clock) > len(times) or not (united or len(clock) == len(times)):
            raise ValueError(
                f"truth: trajectory {k} has {_span(clock)}, but the forecast {_span(times)}. "
                "Predict at them."
            )
        i = int(np.abs(clock - times[place]).argmax())
        if abs(clock[i] - times[place[i]]) > rounding(times):
            raise ValueError(
                f"truth: trajectory {k} has t={clock[i]:.9g} at index {i}, but the forecast "
                f"t={times[place[i]]:.9g}. Predict at the trajectory's times."
            )
        values = np.full((len(times), *truth.field_shape), np.nan, truth.values[k].dtype)
        values[place] = truth.values[k]
        rows.append(values)
    return np.stack(rows) if fc.batched else rows[0]


def _nearest(times: Array, clock: Array) -> NDArray[np.int64]:
    """Where among `times` each of the clock's is; one after the other if there are as many."""
    if len(clock) == len(times):
        return np.arange(len(times))
    return np.searchsorted(0.5 * (times[1:] + times[:-1]), clock).astype(np.int64)


def _span(times: Array) -> str:
    return f"{len(times)} times ({times[0]:.6g} to {times[-1]:.6g})"


def check_scored(name: str, per_time: Array, times: Array, *, batched: bool = True) -> None:
    """What is scored, or a score, by trajectory and time.

    Args:
        name: Of it.
        per_time: (batch, time, ...).
        times: (time,).
        batched: Whether the user gave a batch.

    Raises:
        ValueError: It is NaN or infinite somewhere.
    """
    finite = np.isfinite(per_time).reshape(*per_time.shape[:2], -1).all(-1)
    bad = np.argwhere(~finite)
    if len(bad):
        k, i = bad[0]
        trajectory = f"trajectory {k} at " if batched else ""
        raise ValueError(
            f"fc: its {name} is NaN or infinite in {trajectory}t={times[i]:.6g}, {len(bad)} "
            "snapshots in all. Such a forecast has no scores; see what diverged, and leave it out."
        )


def by_lead(times: Array, per_time: Array, bins: int) -> Array:
    """(batch, bins, ...) means of (batch, time, ...) over equal parts of the horizon.

    Raises:
        ValueError: A number of bins that is not positive, or a bin without times.
    """
    part = lead_bin(times, bins)
    return np.stack([per_time[:, part == b].mean(1) for b in range(bins)], axis=1)


def lead_bin(times: Array, bins: int) -> NDArray[np.int64]:
    """Which of `bins` equal parts (start, end] of the horizon each time is in, from 0."""
    bins = check_whole("bins", bins, 1, _MOST_BINS)
    part = part_of_horizon(times, bins, float(times[-1] - times[0]))
    empty = np.setdiff1d(np.arange(bins), part)
    if len(empty):
        raise ValueError(
            f"bins: part {empty[0]} of {bins} has none of the {len(times)} times, from "
            f"{times[0]:.6g} to {times[-1]:.6g}. Use fewer bins."
        )
    return part


def part_of_horizon(times: Array, bins: int, horizon: float) -> NDArray[np.int64]:
    """Which of `bins` equal parts (start, end] of a horizon from the first time on each is in."""
    # a time at an edge stays below it in spite of rounding
    position = (times - times[0] - rounding(times)) / (horizon or 1.0) * bins
    part: NDArray[np.int64] = (np.ceil(position).astype(np.int64) - 1).clip(0, bins - 1)
    return part


def to_array(x: Tensor) -> Array:
    """Float64, on the CPU."""
    return x.detach().double().cpu().numpy()
