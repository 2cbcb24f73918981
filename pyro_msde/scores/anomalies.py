"""Scores of anomalies, departures from a reference: a large mean makes no forecast look good.

    skill = 1 − ‖mean − y‖² / ‖r − y‖²,      correlation = ⟨mean − r, y − r⟩ / (‖mean − r‖ ‖y − r‖)

with sums over points and times. A forecast of the reference r itself ("climatology") has skill 0
(Murphy 1988, doi:10.1175/1520-0493(1988)116<2417:SSBOTM>2.0.CO;2). The correlation is the
uncentred one: anomalies' own means are not taken off, since r has been.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pyro_msde.data import TimeUnits, duration_units, in_order, to_numpy
from pyro_msde.forecasts import Forecast
from pyro_msde.scores.predictive import Array
from pyro_msde.scores.proper_scores import power_of_two
from pyro_msde.scores.targets import Target, Truth, finite, target_of

__all__ = [
    "anomaly_base",
    "anomaly_correlation",
    "relative_squares",
    "relative_squares_of",
    "skill",
]


def skill(
    fc: Forecast,
    truth: Truth,
    *,
    bins: int | None = None,
    weights: Any = None,
    relative_to: Any = "reference",
) -> float | Array:
    """1 − mean square error of the mean / that of the reference: 1 is perfect, below 0 is worse.

    Arguments, result and errors as for `nrmse`. Mean squares are over the horizon, or each part.
    """
    target = target_of(fc, truth, weights)
    error = target.kept(finite(fc, "mean") - target.values)
    base = anomaly_base(fc, target, relative_to)
    anomaly = target.values if base is None else target.kept(target.values - base)
    error, anomaly = target.addable(error), target.addable(anomaly)
    unit = power_of_two(torch.maximum(error.abs(), anomaly.abs()).flatten(1).amax(1, keepdim=True))
    miss = target.over_time("error", target.mean_square(error, unit), bins)
    size = target.over_time("anomaly", target.mean_square(anomaly, unit), bins)
    _check_anomalies("truth", size)
    return target.shaped(1 - miss / size)


def anomaly_correlation(
    fc: Forecast,
    truth: Truth,
    *,
    bins: int | None = None,
    weights: Any = None,
    relative_to: Any = "reference",
) -> float | Array:
    """Correlation of the mean's and the truth's anomalies, over points and times; from −1 to 1.

    Arguments, result and errors as for `nrmse`; undefined where the mean is the reference, too.
    """
    target = target_of(fc, truth, weights)
    base = anomaly_base(fc, target, relative_to)
    fields = [finite(fc, "mean"), target.values]
    a, b = (target.addable(target.kept(x if base is None else x - base)) for x in fields)
    a, b = (x / _sizes(x) for x in (a, b))
    both, first, second = (
        target.over_time("anomaly", target.over_field(x), bins) for x in (a * b, a * a, b * b)
    )
    _check_anomalies("fc", first)
    _check_anomalies("truth", second)
    return target.shaped(both / np.sqrt(first * second))


def anomaly_base(fc: Forecast, target: Target, relative_to: Any) -> Tensor | None:
    """What anomalies are departures from, against (batch, time, *field); None: zero.

    Raises:
        ValueError: Neither "reference" nor "zero" nor an array that broadcasts, or not finite where
            something counts.
    """
    if isinstance(relative_to, str):
        if relative_to not in ("reference", "zero"):
            raise ValueError(
                f"relative_to={relative_to!r}: choose 'reference', 'zero', or an array."
            )
        base = None if relative_to == "zero" else fc.reference_field
        return base if base is None or fc.batched else base[None]
    values, shape = to_numpy(_in_order(fc, target, relative_to), "relative_to"), tuple(fc.shape)
    try:
        base = torch.tensor(np.broadcast_to(values, shape), dtype=torch.float64)
    except ValueError:
        raise ValueError(
            f"relative_to: shape {values.shape} does not broadcast against the forecast's {shape}."
        ) from None
    base = base if fc.batched else base[None]
    if not bool(target.kept(base).isfinite().all()):
        raise ValueError("relative_to: NaN or infinite where something was observed.")
    return base


def _in_order(fc: Forecast, target: Target, relative_to: Any) -> Any:
    """An xarray DataArray in the order of the forecast's axes; anything else as it is.

    Raises:
        ValueError: It has other axes, positions, times or units.
    """
    if not isinstance(relative_to, xr.DataArray) or target.metadata is None:
        return relative_to
    starts = getattr(fc, "starts", None)
    along = "time" if starts is None or "lead" not in relative_to.dims else "lead"
    clock = None if along == "time" and starts is not None else fc.times
    if along in relative_to.coords and relative_to.coords[along].dims == (along,):
        units = target.metadata.time_units
        units = units if along == "time" else TimeUnits(duration_units(units.text))
        times = units.numbers(relative_to.coords[along], f"relative_to: {along}")
        relative_to = relative_to.assign_coords({along: times})
    lead = {"trajectory": None, along: clock} if fc.batched else {along: clock}
    return in_order("relative_to", relative_to, target.metadata, tuple(fc.shape), lead=lead)


def relative_squares(mean: Tensor, truth: Tensor) -> Array:
    """‖mean − y‖²/‖y‖² of each snapshot, (batch, time) from fields (batch, time, *field).

    Squares are of multiples of the truth's largest value, so that all of them are numbers. Infinite
    where that is still too much, and NaN or infinite where the truth is zero everywhere.
    """
    y = truth.double()
    target = Target(np.zeros(y.shape[1]), True, y)
    return relative_squares_of(target, mean.double() - y, y)


def relative_squares_of(target: Target, error: Tensor, anomaly: Tensor) -> Array:
    """‖error‖²/‖anomaly‖², (batch, time); zero where nothing of a snapshot counts."""
    error, anomaly = target.addable(error), target.addable(anomaly)
    unit = power_of_two(anomaly.abs().flatten(2).amax(2))
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        ratio = target.mean_square(error, unit) / target.mean_square(anomaly, unit)
    return ratio if target.counted is None else np.where(target.counted, ratio, 0.0)


def _sizes(x: Tensor) -> Tensor:
    """Powers of two near the largest value of each trajectory's fields, (batch, 1, …)."""
    sizes = power_of_two(x.abs().flatten(1).amax(1))
    return sizes.reshape(-1, *(1,) * (x.ndim - 1))


def _check_anomalies(argument: str, mean_square: Array) -> None:
    nothing = np.argwhere(mean_square == 0)
    if len(nothing):
        raise ValueError(
            f"{argument}: trajectory {nothing[0][0]} is the reference everywhere, so that its "
            "anomalies have no skill or correlation. Leave it out."
        )
