"""How good a forecast is: error of the mean, coverage, CRPS, spread against skill, PIT.

A forecast is a predictive distribution per trajectory, time and place (the mixture of App. F); the
truth has the shape of its mean. Every score but `pit` is one number per trajectory, or with
`bins=k` one per trajectory and k-th of the horizon, the average over snapshots weighing each alike.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pyro_msde.checks import check_level
from pyro_msde.forecasts import Forecast
from pyro_msde.scores.predictive import (
    Array,
    Truth,
    by_lead,
    check_scored,
    matching,
    to_array,
)
from pyro_msde.scores.proper_scores import fair_crps, power_of_two

__all__ = [
    "coverage",
    "coverage_by_time",
    "crps",
    "nrmse",
    "pit",
    "relative_squares",
    "spread_skill",
]


def nrmse(fc: Forecast, truth: Truth, *, bins: int | None = None) -> float | Array:
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
            some time; if the forecast is not finite, or so far off that its score is not; if a bin
            has no times.
    """
    y = matching(fc, truth)
    mean = _finite(fc, "mean")
    ratio = relative_squares(_with_batch(fc, mean), _with_batch(fc, y))
    zero = np.argwhere((_with_batch(fc, y) == 0).flatten(2).all(2).numpy())
    if len(zero):
        k, i = zero[0]
        raise ValueError(
            f"truth: the snapshot of trajectory {k} at index {i} (t={fc.times[i]:.6g}) is zero "
            f"everywhere, {len(zero)} in all, so its relative error is undefined. Leave it out."
        )
    return _shaped(fc, np.sqrt(_over_time(fc, "relative error", ratio, bins)))


def relative_squares(mean: Tensor, truth: Tensor) -> Array:
    """‖mean − y‖²/‖y‖² of each snapshot, (batch, time) from fields (batch, time, *field).

    Squares are of multiples of the truth's largest value, so that all of them are numbers. Infinite
    where that is still too much, and NaN or infinite where the truth is zero everywhere.
    """
    y = truth.double()
    unit = power_of_two(y.abs().flatten(2).amax(2))
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        return _mean_square(mean.double() - y, unit) / _mean_square(y, unit)


def coverage(
    fc: Forecast, truth: Truth, *, level: float = 0.9, bins: int | None = None
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
        ValueError: As `nrmse`, and if level is not one number inside (0, 1).
    """
    per_time = coverage_by_time(fc, truth, level=level)
    return _shaped(fc, _over_time(fc, "coverage", per_time, bins))


def coverage_by_time(fc: Forecast, truth: Truth, *, level: float) -> Array:
    """(batch, time) shares of the field inside the interval, as `coverage` says."""
    check_level("level", level)
    inside = (_pit(fc, truth) - 0.5).abs() <= level / 2
    return _over_field(fc, inside.double())


def crps(fc: Forecast, truth: Truth, *, bins: int | None = None) -> float | Array:
    """Mean continuous ranked probability score, E|x − y| − ½ E|x − x'|, in the units of y.

    The pairs x, x' are different draws ("fair" CRPS, Ferro 2014, doi:10.1002/qj.2270), so with
    independent draws the expected score does not depend on their number, and scores of forecasts
    with different numbers of samples compare. It can come out slightly negative.

    Arguments, result and errors as for `nrmse`; the truth may be zero, one draw is too few.
    """
    y = _with_batch(fc, matching(fc, truth))
    per_time = np.full(y.shape[:2], np.nan)
    for where, draws in fc.chunks():
        draws = draws if fc.batched else draws.unsqueeze(1)
        per_time[:, where] = fair_crps(draws, y[:, where].to(draws)).flatten(2).mean(2).numpy()
    return _shaped(fc, _over_time(fc, "CRPS", per_time, bins))


def spread_skill(fc: Forecast, truth: Truth, *, bins: int | None = None) -> float | Array:
    """Root mean predictive variance over root mean square error of the mean.

    1 if the forecast is as uncertain as it is wrong, below 1 if overconfident. Variances are
    averaged, not standard deviations (Fortin et al. 2014, doi:10.1175/JHM-D-14-0008.1).

    Arguments, result and errors as for `nrmse`; the truth may be zero. Infinite where the mean is
    exact; refused where the variance is zero then too.
    """
    y = matching(fc, truth)
    sd, error = _finite(fc, "sd"), _finite(fc, "mean") - y
    largest = torch.maximum(sd, error.abs())
    unit = power_of_two(_with_batch(fc, largest).flatten(1).amax(1, keepdim=True))
    squares = [_mean_square(_with_batch(fc, x), unit) for x in (sd, error)]
    spread = _over_time(fc, "standard deviation", squares[0], bins)
    miss = _over_time(fc, "error", squares[1], bins)
    nothing = np.argwhere((spread == 0) & (miss == 0))
    if len(nothing):
        raise ValueError(
            f"fc: trajectory {nothing[0][0]} neither errs nor spreads, so that spread over skill "
            "is undefined. Leave it out."
        )
    with np.errstate(divide="ignore"):
        return _shaped(fc, np.sqrt(spread / miss))


def pit(fc: Forecast, truth: Truth) -> Array:
    """Probability integral transform, the predictive CDF at the truth, shaped as `fc.mean`.

    Uniform on [0, 1] for a calibrated forecast. Errors as for `nrmse`; the truth may be zero.
    """
    return to_array(_pit(fc, truth))


def _pit(fc: Forecast, truth: Truth) -> Tensor:
    y = matching(fc, truth)
    # of values far below an infinite mean, or of an infinitely wide law, it is a number
    _finite(fc, "mean")
    _finite(fc, "sd")
    probability = fc.cdf(y)
    check_scored("PIT", to_array(_with_batch(fc, probability)), fc.times, batched=fc.batched)
    return probability


def _finite(fc: Forecast, name: str) -> Tensor:
    """The mean or the standard deviation, float64; refused if it is not finite."""
    values: Tensor = getattr(fc, name)
    check_scored(name, to_array(_with_batch(fc, values)), fc.times, batched=fc.batched)
    return values.double()


def _with_batch(fc: Forecast, x: Tensor) -> Tensor:
    return x if fc.batched else x[None]


def _over_field(fc: Forecast, x: Tensor) -> Array:
    """(batch, time) means over the field of x, shaped as `fc.mean`."""
    return to_array(_with_batch(fc, x).flatten(2).mean(2))


def _mean_square(x: Tensor, unit: Tensor) -> Array:
    """(batch, time) mean squares over the field of x / unit, unit (batch, time or 1)."""
    return to_array((x.flatten(2) / unit[:, :, None]).square().mean(2))


def _over_time(fc: Forecast, name: str, per_time: Array, bins: int | None) -> Array:
    """(batch, bins or 1) means of (batch, time); refused if that of a time is not finite."""
    check_scored(name, per_time, fc.times, batched=fc.batched)
    means = by_lead(fc.times, per_time, 1 if bins is None else bins)
    return means if bins is not None else means[:, 0]


def _shaped(fc: Forecast, score: Array) -> float | Array:
    """Without the batch axis for a single forecast, and a float where nothing is left."""
    score = score if fc.batched else score[0]
    return score if np.ndim(score) else float(score)
