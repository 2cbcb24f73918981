"""What scores need of a forecast, and of the truth that it is scored against.

A forecast is a predictive distribution per trajectory, time and place (the mixture of App. F); the
truth has the shape of its mean. Fields of many samples fill no memory: `windows` of time come one
after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from pyro_msde.checks import check_kind, check_whole
from pyro_msde.data import Metadata, Trajectories, matched, rounding, to_numpy

__all__ = [
    "Array",
    "Predictive",
    "Truth",
    "Window",
    "aligned",
    "by_lead",
    "check_scored",
    "lead_bin",
    "matching",
    "to_array",
]

Array = NDArray[np.float64]
_MOST_BINS = 10**6
Truth = Trajectories | Tensor | NDArray[Any]


class Window(Protocol):
    """A predictive distribution at some of the times."""

    @property
    def where(self) -> slice:
        """Which times."""

    @property
    def mean(self) -> Tensor:
        """(batch, chunk, *field), with a batch of one for a single forecast."""

    @property
    def sd(self) -> Tensor:
        """Standard deviation, shaped as `mean`."""

    def cdf(self, values: Tensor) -> Tensor:
        """The distribution function at values shaped as `mean`."""

    def quantile(self, level: float) -> Tensor:
        """Its inverse, shaped as `mean`."""

    def sample(self, generator: torch.Generator) -> Tensor:
        """Draws (sample, batch, chunk, *field)."""


class Predictive(Protocol):
    """A forecast."""

    @property
    def times(self) -> Array:
        """(time,)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of `mean`, without computing it."""

    @property
    def grid(self) -> Any:
        """The fields' `Grid`; anything else where they have none, and so no spectrum."""

    @property
    def mean(self) -> Tensor:
        """(batch, time, *field), or (time, *field) if not `batched`."""

    @property
    def sd(self) -> Tensor:
        """Standard deviation, shaped as `mean`."""

    @property
    def batched(self) -> bool:
        """Whether there is a batch axis."""

    def cdf(self, values: Tensor) -> Tensor:
        """The predictive's distribution function at values shaped as `mean`."""

    def chunks(self) -> Iterator[tuple[slice, Tensor]]:
        """Slices of time with predictive draws (samples, [batch,] chunk, *field)."""

    def windows(self) -> Iterator[Window]:
        """The same distribution, chunk by chunk of time, in order."""


def matching(fc: Predictive, truth: Truth) -> Tensor:
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


def aligned(fc: Predictive, truth: Truth) -> Truth:
    """Truth whose times are in the units of the forecast's, where both are known.

    Raises:
        ValueError: Other units, or another order, than the data of the fit had.
    """
    if isinstance(truth, xr.DataArray) and getattr(fc, "metadata", None) is not None:
        axes = len(fc.shape) - 1 - fc.batched
        fc.metadata.check("truth", Metadata.of_array(truth, axes))
    if not isinstance(truth, Trajectories):
        return truth
    return matched(getattr(fc, "metadata", None), "truth", truth)


def _values_at(fc: Predictive, truth: Trajectories) -> NDArray[Any]:
    """Values of all trajectories, whose times must be the forecast's."""
    times = fc.times
    count = fc.shape[0] if fc.batched else 1
    if len(truth) != count:
        raise ValueError(
            f"truth: number of trajectories {len(truth)}, but the forecast has {count}. "
            "Select those that were forecast: truth[k]."
        )
    tolerance = rounding(times)
    for k, own in enumerate(truth.times):
        if len(own) != len(times):
            raise ValueError(
                f"truth: trajectory {k} has {len(own)} times ({own[0]:.6g} to {own[-1]:.6g}), but "
                f"the forecast {len(times)} ({times[0]:.6g} to {times[-1]:.6g}). Predict at them."
            )
        i = int(np.abs(own - times).argmax())
        if abs(own[i] - times[i]) > tolerance:
            raise ValueError(
                f"truth: trajectory {k} has t={own[i]:.9g} at index {i}, but the forecast "
                f"t={times[i]:.9g}. Predict at the trajectory's times."
            )
    return np.stack(truth.values) if fc.batched else truth.values[0]


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
    horizon = float(times[-1] - times[0])
    position = (times - times[0]) / (horizon or 1.0) * bins
    # a time at an edge stays below it in spite of rounding
    part: NDArray[np.int64] = np.ceil(position - 1e-9 * bins).astype(np.int64) - 1
    part = part.clip(0, bins - 1)
    empty = np.setdiff1d(np.arange(bins), part)
    if len(empty):
        raise ValueError(
            f"bins: part {empty[0]} of {bins} has none of the {len(times)} times, from "
            f"{times[0]:.6g} to {times[-1]:.6g}. Use fewer bins."
        )
    return part


def to_array(x: Tensor) -> Array:
    """Float64, on the CPU."""
    return x.detach().double().cpu().numpy()
