"""How good a forecast is: error of the mean, coverage, CRPS, spread against skill, PIT.

A forecast is a predictive distribution per trajectory, time and place (the mixture of App. F); the
truth has the shape of its mean. Every score but `pit` is one number per trajectory, or with
`bins=k` one per trajectory and k-th of the horizon, the average over snapshots weighing each alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pyro.ops.stats import crps_empirical
from torch import Tensor

from pyro_msde.trajectories import Trajectories
from pyro_msde.trajectory_checks import to_numpy

__all__ = ["Predictive", "coverage", "crps", "nrmse", "pit", "spread_skill"]

Array = NDArray[np.float64]
Truth = Trajectories | Tensor | NDArray[Any]


class Predictive(Protocol):
    """What the scores need of a forecast."""

    @property
    def times(self) -> Array:
        """(time,)."""

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


def nrmse(fc: Predictive, truth: Truth, *, bins: int | None = None) -> float | Array:
    """Normalised error of the mean, sqrt(mean_t ‖mean − y‖²/‖y‖²), the paper's measure.

    Args:
        fc: Forecast.
        truth: Tensor or array shaped as `fc.mean`, or `Trajectories` at `fc.times`.
        bins: Number of equal parts of the horizon, each without its start and with its end; the
            first has the initial time as well.

    Returns:
        (batch,), or a float for a single forecast; with bins (batch, bins) or (bins,).

    Raises:
        ValueError: If the truth does not fit the forecast, is not finite, or is zero everywhere at
            some time; if a bin has no times.
    """
    y = _matching(fc, truth)
    size = _over_field(fc, y.square())
    zero = np.argwhere(size == 0)
    if len(zero):
        k, i = zero[0]
        raise ValueError(
            f"truth: the snapshot of trajectory {k} at index {i} (t={fc.times[i]:.6g}) is zero "
            f"everywhere, {len(zero)} in all, so its relative error is undefined. Leave it out."
        )
    error = _over_field(fc, (fc.mean.double() - y).square())
    return _shaped(fc, np.sqrt(_over_time(fc, error / size, bins)))


def coverage(
    fc: Predictive, truth: Truth, *, level: float = 0.9, bins: int | None = None
) -> float | Array:
    """Share of the truth inside the central predictive interval, |PIT − ½| ≤ level/2.

    Args:
        fc: Forecast.
        truth: As for `nrmse`; it may be zero.
        level: Probability of the interval, between 0 and 1: the share a calibrated forecast has.
        bins: As for `nrmse`.

    Returns:
        As `nrmse`.

    Raises:
        ValueError: As `nrmse`, and if level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: {level} is not between 0 and 1. Pass 0.9 for 90 %.")
    inside = (_pit(fc, truth) - 0.5).abs() <= level / 2
    return _shaped(fc, _over_time(fc, _over_field(fc, inside.double()), bins))


def crps(fc: Predictive, truth: Truth, *, bins: int | None = None) -> float | Array:
    """Mean continuous ranked probability score, E|x − y| − ½ E|x − x'|, in the units of y.

    The pairs x, x' are different draws ("fair" CRPS, Ferro 2014, doi:10.1002/qj.2270), so with
    independent draws the expected score does not depend on their number, and scores of forecasts
    with different numbers of samples compare. It can come out slightly negative.

    Arguments, result and errors as for `nrmse`; the truth may be zero, one draw is too few.
    """
    y = _with_batch(fc, _matching(fc, truth))
    per_time = np.full(y.shape[:2], np.nan)
    for where, draws in fc.chunks():
        draws = draws if fc.batched else draws.unsqueeze(1)
        per_time[:, where] = _fair_crps(draws, y[:, where].to(draws)).flatten(2).mean(2).numpy()
    return _shaped(fc, _over_time(fc, per_time, bins))


def spread_skill(fc: Predictive, truth: Truth, *, bins: int | None = None) -> float | Array:
    """Root mean predictive variance over root mean square error of the mean.

    1 if the forecast is as uncertain as it is wrong, below 1 if overconfident. Variances are
    averaged, not standard deviations (Fortin et al. 2014, doi:10.1175/JHM-D-14-0008.1).

    Arguments, result and errors as for `nrmse`; the truth may be zero. Infinite where the mean is
    exact.
    """
    y = _matching(fc, truth)
    spread = _over_time(fc, _over_field(fc, fc.sd.double().square()), bins)
    error = _over_time(fc, _over_field(fc, (fc.mean.double() - y).square()), bins)
    with np.errstate(divide="ignore"):
        return _shaped(fc, np.sqrt(spread / error))


def pit(fc: Predictive, truth: Truth) -> Array:
    """Probability integral transform, the predictive CDF at the truth, shaped as `fc.mean`.

    Uniform on [0, 1] for a calibrated forecast. Errors as for `nrmse`; the truth may be zero.
    """
    return _to_array(_pit(fc, truth))


def _pit(fc: Predictive, truth: Truth) -> Tensor:
    return fc.cdf(_matching(fc, truth).to(fc.mean))


def _fair_crps(draws: Tensor, y: Tensor) -> Tensor:
    n = len(draws)
    if n < 2:
        raise ValueError(f"fc: {n} draw, but the CRPS needs pairs. Predict with num_samples >= 2.")
    # The empirical score divides the sum over pairs by n², with n of them zero; divide by n(n−1).
    score: Tensor = crps_empirical(draws, y)
    return score - ((draws - y).abs().mean(0) - score) / (n - 1)


def _matching(fc: Predictive, truth: Truth) -> Tensor:
    """The truth as a float64 tensor shaped as `fc.mean`, or ValueError."""
    if isinstance(truth, Trajectories):
        values = _values_at(fc, truth)
    else:
        values = to_numpy(truth, "truth")
    shape = tuple(fc.mean.shape)
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
            f"{len(bad)} snapshots in all. Leave them out."
        )
    return torch.as_tensor(values, dtype=torch.float64)


def _values_at(fc: Predictive, truth: Trajectories) -> NDArray[Any]:
    """Values of all trajectories, whose times must be the forecast's."""
    times = fc.times
    count = len(fc.mean) if fc.batched else 1
    if len(truth) != count:
        raise ValueError(
            f"truth: number of trajectories {len(truth)}, but the forecast has {count}. "
            "Select those that were forecast: truth[k]."
        )
    # as far apart as rounding puts times that were computed in two ways
    tolerance = 1e-9 * (times[-1] - times[0]) + 4 * np.finfo(np.float64).eps * np.abs(times).max()
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


def _with_batch(fc: Predictive, x: Tensor) -> Tensor:
    return x if fc.batched else x[None]


def _over_field(fc: Predictive, x: Tensor) -> Array:
    """(batch, time) means over the field of x, shaped as `fc.mean`."""
    return _to_array(_with_batch(fc, x).flatten(2).mean(2))


def _over_time(fc: Predictive, per_time: Array, bins: int | None) -> Array:
    """(batch, bins or 1) means of (batch, time)."""
    part = _parts(fc.times, 1 if bins is None else bins)
    means = [per_time[:, part == b].mean(1) for b in range(part.max() + 1)]
    return np.stack(means, axis=1) if bins is not None else means[0]


def _parts(times: Array, bins: int) -> NDArray[np.int64]:
    """Which of `bins` equal parts (start, end] of the horizon each time is in, from 0."""
    if bins < 1:
        raise ValueError(f"bins: {bins} is not positive. Pass None for the whole horizon.")
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


def _shaped(fc: Predictive, score: Array) -> float | Array:
    """Without the batch axis for a single forecast, and a float where nothing is left."""
    score = score if fc.batched else score[0]
    return score if np.ndim(score) else float(score)


def _to_array(x: Tensor) -> Array:
    return x.detach().double().cpu().numpy()
