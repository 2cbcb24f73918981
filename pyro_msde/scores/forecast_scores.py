"""How good a forecast is: error of the mean, coverage, CRPS, spread against skill, PIT.

A forecast is a predictive distribution per trajectory, time and place (the mixture of App. F); the
truth has the shape of its mean. Every score but `pit` is one number per trajectory, or with
`bins=k` one per trajectory and k-th of the horizon, the average over snapshots weighing each alike.
What was not observed does not count, nor do snapshots of which nothing was.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_msde.checks import check_level
from pyro_msde.forecasts import Forecast
from pyro_msde.scores.anomalies import anomaly_base, relative_squares_of
from pyro_msde.scores.predictive import Array, check_scored, spread_over, to_array
from pyro_msde.scores.proper_scores import fair_crps, opposites_of, power_of_two
from pyro_msde.scores.targets import Target, Truth, finite, target_of

__all__ = ["coverage", "crps", "nrmse", "pit", "spread_skill"]


def nrmse(
    fc: Forecast,
    truth: Truth,
    *,
    bins: int | None = None,
    weights: Any = None,
    relative_to: Any = "reference",
) -> float | Array:
    """Normalised error of the mean, sqrt(mean_t ‖mean − y‖²/‖y − r‖²).

    r is the reference that the fit has subtracted, so that a large mean makes no error look small.
    With r = 0 it is the paper's measure. Channels of unlike units are each counted in their root
    mean square over the training data; this holds of `skill`, `anomaly_correlation` and
    `spread_skill`, too.

    Args:
        fc: Forecast.
        truth: Tensor or array shaped as `fc.mean`, or `Trajectories` at `fc.times`, of which what
            is missing does not count.
        bins: Number of equal parts of the horizon, each without its start and with its end; the
            first has the initial time as well. NaN where nothing was observed in one.
        weights: Of points in ‖·‖: "coslat", areas by the cosine of the latitude; an array (*space)
            or (channel, *space); an xarray DataArray along some axes, read by its names and
            positions. None: all alike.
        relative_to: r: "reference", that of the fit, zero where it has none; "zero"; or an array
            that broadcasts against `fc.mean`; an xarray DataArray is read by its names, positions
            and times.

    Returns:
        (batch,), or a float for a single forecast; with bins (batch, bins) or (bins,).

    Raises:
        ValueError: If the truth does not fit the forecast, is not finite, or is r everywhere at
            some time; if the forecast is not finite, or so far off that its score is not; if a bin
            has no times; weights or r of another shape, or whose names and positions
            are not the data's.
    """
    target = target_of(fc, truth, weights)
    error = target.kept(finite(fc, "mean") - target.values)
    base = anomaly_base(fc, target, relative_to)
    anomaly = target.values if base is None else target.kept(target.values - base)
    ratio = relative_squares_of(target, error, anomaly)
    zero = (target.kept(anomaly) == 0).flatten(2).all(2).numpy()
    at = np.argwhere(zero if target.counted is None else zero & target.counted)
    if len(at):
        k, i = at[0]
        raise ValueError(
            f"truth: the snapshot of trajectory {k} at index {i} (t={fc.times[i]:.6g}) is "
            f"{'zero' if base is None else 'the reference'} everywhere, {len(at)} in all, so its "
            "relative error is undefined. Leave it out."
        )
    return target.shaped(np.sqrt(target.over_time("relative error", ratio, bins)))


def coverage(
    fc: Forecast, truth: Truth, *, level: float = 0.9, bins: int | None = None, weights: Any = None
) -> float | Array:
    """Share of the truth inside the central predictive interval, |PIT − ½| ≤ level/2.

    Args:
        fc: Forecast.
        truth: As for `nrmse`; it may be zero.
        level: Probability of the interval, between 0 and 1: the share a calibrated forecast has.
        bins: As for `nrmse`.
        weights: As for `nrmse`.

    Returns:
        As `nrmse`.

    Raises:
        ValueError: As `nrmse`, and if level is not one number inside (0, 1).
    """
    check_level("level", level)
    target = target_of(fc, truth, weights)
    inside = (_pit(fc, target) - 0.5).abs() <= level / 2
    return target.shaped(target.over_time("coverage", target.over_field(inside.double()), bins))


def crps(
    fc: Forecast, truth: Truth, *, bins: int | None = None, weights: Any = None
) -> float | Array:
    """Mean continuous ranked probability score, E|x − y| − ½ E|x − x'|, in the units of y.

    The pairs x, x' are independent draws ("fair" CRPS, Ferro 2014, doi:10.1002/qj.2270), so the
    expected score does not depend on their number, and scores of forecasts
    with different numbers of samples compare. It can come out slightly negative.

    Arguments, result and errors as for `nrmse`; the truth may be zero, one draw is too few.
    """
    target = target_of(fc, truth, weights)
    per_time = np.full(target.values.shape[:2], np.nan)
    for where, draws in fc.chunks():
        draws = draws if fc.batched else draws.unsqueeze(1)
        window = target.window(where)
        per_time[:, where] = window.over_field(
            fair_crps(draws, window.values.to(draws), opposites_of(fc))
        )
    return target.shaped(target.over_time("CRPS", per_time, bins))


def spread_skill(
    fc: Forecast, truth: Truth, *, bins: int | None = None, weights: Any = None
) -> float | Array:
    """Root mean predictive variance over root mean square error of the mean.

    1 if the forecast is as uncertain as it is wrong, below 1 if overconfident. Variances are
    averaged, not standard deviations (Fortin et al. 2014, doi:10.1175/JHM-D-14-0008.1).

    Arguments, result and errors as for `nrmse`; the truth may be zero. Infinite where the mean is
    exact; refused where the variance is zero then too.
    """
    target = target_of(fc, truth, weights)
    sd, mean = target.kept(finite(fc, "sd")), finite(fc, "mean")
    error = target.kept(mean - target.values)
    sd, error = target.addable(sd), target.addable(error)
    largest = torch.maximum(sd, error.abs())
    unit = power_of_two(largest.flatten(1).amax(1, keepdim=True))
    squares = [target.mean_square(x, unit) for x in (sd, error)]
    spread = target.over_time("standard deviation", squares[0], bins)
    miss = target.over_time("error", squares[1], bins)
    nothing = np.argwhere((spread == 0) & (miss == 0))
    if len(nothing):
        raise ValueError(
            f"fc: trajectory {nothing[0][0]} neither errs nor spreads, so that spread over skill "
            "is undefined. Leave it out."
        )
    with np.errstate(divide="ignore"):
        return target.shaped(np.sqrt(spread / miss))


def pit(fc: Forecast, truth: Truth) -> Array:
    """Probability integral transform, the predictive CDF at the truth, shaped as `fc.mean`.

    Uniform on [0, 1] for a calibrated forecast; a zero that has a probability of its own (`fit`'s
    `link`) has one drawn from zero to that. NaN where nothing was observed. Errors as for
    `nrmse`; the truth may be zero.
    """
    target = target_of(fc, truth)
    probability = _pit(fc, target)
    if target.weights is not None:
        probability = probability.where(target.weights > 0, torch.nan)
    return to_array(probability if fc.batched else probability[0])


def _pit(fc: Forecast, target: Target) -> Tensor:
    """(batch, time, *field), zero where nothing counts."""
    # of values far below an infinite mean, or of an infinitely wide law, it is a number
    finite(fc, "mean")
    finite(fc, "sd")
    y = target.values if fc.batched else target.values[0]
    probability = fc.cdf(y)
    if isinstance(fc, Forecast):
        probability = spread_over(probability, fc.atoms(y))
    probability = target.kept(probability if fc.batched else probability[None])
    check_scored("PIT", to_array(probability), fc.times, batched=fc.batched)
    return probability
