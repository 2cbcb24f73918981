"""Scores of a forecast by trajectory and time, and their means over parts of the horizon."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_msde.checks import check_whole
from pyro_msde.data import rounding

__all__ = [
    "Array",
    "by_lead",
    "check_scored",
    "lead_bin",
    "part_of_horizon",
    "spread_over",
    "to_array",
]

Array = NDArray[np.float64]
_MOST_BINS = 10**6


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


def by_lead(
    times: Array, per_time: Array, bins: int, counted: NDArray[np.bool_] | None = None
) -> Array:
    """(batch, bins, ...) means of (batch, time, ...) over equal parts of the horizon.

    Args:
        times: (time,).
        per_time: What is averaged.
        bins: How many parts.
        counted: (batch, time) snapshots that count; a part without any is NaN. None: all do.

    Raises:
        ValueError: A number of bins that is not positive, or a bin without times.
    """
    part = lead_bin(times, bins)
    if counted is None:
        return np.stack([per_time[:, part == b].mean(1) for b in range(bins)], axis=1)
    count = counted.reshape(*counted.shape, *(1,) * (per_time.ndim - 2))
    sums = [(per_time * count)[:, part == b].sum(1) for b in range(bins)]
    numbers = [count[:, part == b].sum(1) for b in range(bins)]
    with np.errstate(invalid="ignore"):
        return np.stack(sums, axis=1) / np.stack(numbers, axis=1)


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


def spread_over(probability: Tensor, atoms: Tensor | None, seed: int = 0) -> Tensor:
    """F(y), and where y has a probability of its own a number between its limits F(y−) and F(y).

    Drawn evenly, so that the PIT of a calibrated forecast is uniform there, too. Such y are the
    least that there are, so that F(y−) is zero (`pyro_msde.data.Link`).

    Args:
        probability: F(y).
        atoms: Shaped alike, where y is such a value; None: nowhere.
        seed: Of the draws.
    """
    if atoms is None:
        return probability
    generator = torch.Generator().manual_seed(seed)
    part = torch.rand(probability.shape, generator=generator, dtype=probability.dtype)
    return torch.where(atoms, part * probability, probability)


def to_array(x: Tensor) -> Array:
    """Float64, on the CPU."""
    return x.detach().double().cpu().numpy()
