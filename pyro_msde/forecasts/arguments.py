"""What `Fit.predict` is given, checked and in the layout of the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from pyro_msde.checks import check_number
from pyro_msde.data import (
    Metadata,
    TimeUnits,
    Trajectories,
    all_times,
    check_trajectories,
    first_observed,
    matched,
    num_covariates_of,
    rounding,
    to_numpy,
)
from pyro_msde.isolation import place_of
from pyro_msde.protocols import FittedModel
from pyro_msde.sde import FORECAST_STEP, SHORTEST_STEP

__all__ = [
    "LARGEST_FIELD",
    "checked_start",
    "checked_times",
    "first_snapshots",
    "initial_fields",
    "matched_trajectories",
    "scaled_covariates",
]

Array = NDArray[np.float64]

LARGEST_FIELD = 1e4  # that a forecast may start from, in root mean squares of the training data


def checked_start(
    fit: FittedModel, y0: Any, times: Any, t0: Any, covariates: Any, max_step: float | None
) -> dict[str, Any]:
    """What `Fit.predict` was given, as `forecasts.forecast` takes it.

    Raises:
        ValueError: It cannot be forecast from; the functions below say why.
    """
    longest = _longest_step(fit, max_step)
    units = TimeUnits() if fit.metadata is None else fit.metadata.time_units
    given = _time_of(y0) if t0 is None else t0
    starts = None if given is None else units.numbers(given, "t0")
    each = starts is not None and starts.ndim == 1
    start: float | Array
    clock, start = (checked_leads if each else checked_times)(times, given, units)
    fields, batched = initial_fields(fit, y0)
    if starts is not None and each and not (batched and len(starts) == len(fields)):
        many = f"{len(fields)} of them" if batched else "one without a batch"
        raise ValueError(f"t0: {len(starts)} times, but y0 is {many}. Pass one for each field.")
    return {
        "y0": fields,
        "times": clock,
        "t0": start,
        "covariates": scaled_covariates(fit, covariates, len(fields)),
        "max_step": longest,
        "layout": {"batched": batched, "has_channel": fit.has_channel},
    }


def initial_fields(fit: FittedModel, y0: Any, argument: str = "y0") -> tuple[Tensor, bool]:
    """(batch, channel, *space) on the model's device, and whether a batch was given.

    float64: the model's dtype may not hold them before they are divided by their scale.

    Args:
        fit: The fit.
        y0: One field, or a batch of them.
        argument: What errors call them.

    Raises:
        ValueError: Of another grid, not finite, or far larger than the training data.
    """
    device = place_of(fit.model)[1]
    value = torch.as_tensor(to_numpy(y0, argument))
    grid = fit.model.grid
    one = (grid.channels, *grid.data_shape) if fit.has_channel else grid.data_shape
    if tuple(value.shape[-len(one) :]) != tuple(one) or value.ndim > len(one) + 1:
        raise ValueError(
            f"{argument}: shape {tuple(value.shape)}; the model's fields are {tuple(one)}, or "
            f"(batch, {', '.join(map(str, one))}). Pass snapshots, such as values[:, 0], "
            "on the model's grid, with a channel axis if the training data had one."
        )
    if fit.metadata is not None and isinstance(y0, xr.DataArray):
        fit.metadata.check(argument, Metadata.of_array(y0, len(one)))
    batched = value.ndim > len(one)
    _check_observed(fit, argument, value)
    if not value.numel():
        raise ValueError(f"{argument}: shape {tuple(value.shape)} holds no field. Pass some.")
    value = value if batched else value[None]
    value = value if fit.has_channel else value[:, None]
    fields = value.to(device=device, dtype=torch.float64)
    if fit.scaling.reference.period is None:  # a cycle's size is that of the anomalies, about
        scaled = fit.scaling.to_scaled(fields, np.zeros(len(fields)))
    else:
        scaled = fields / fit.scaling.field_scale(fields, grid.ndim)
    largest = float(scaled.abs().nan_to_num(0.0).max())
    if largest > LARGEST_FIELD:
        raise ValueError(
            f"{argument}: its largest value is {largest:.3g} times the training data's root mean "
            "square. Nothing was learned there; check its units."
        )
    return fields, batched


def _check_observed(fit: FittedModel, argument: str, value: Tensor) -> None:
    """NaN stands for what was not observed, if that is so in the training data or off the mask."""
    mask = fit.model.grid.mask
    counts = value.isfinite()
    if mask is not None:
        exists = torch.tensor(mask)
        counts = counts | ~(exists if fit.has_channel else exists[0])
    if fit.metadata is not None and fit.metadata.missing == "mask":
        field = tuple(range(value.ndim - fit.model.grid.ndim - fit.has_channel, value.ndim))
        if bool(value.isnan().all(field).any()):
            raise ValueError(
                f"{argument}: nothing was observed of one of the fields. Leave it out."
            )
        counts = counts | value.isnan()
    bad = int((~counts).sum())
    if bad:
        raise ValueError(
            f"{argument}: holds NaN or infinite values, {bad} of {value.numel()}. Fill or drop "
            "them, or train on Trajectories(…, missing='mask'), whose forecasts start from fields "
            "with gaps. (Masked and missing values are read as NaN.)"
        )


def scaled_covariates(fit: FittedModel, covariates: Any, batch: int) -> Tensor | None:
    """(batch, p) in scaled units and as the model's tensors are, or None where it takes none.

    Raises:
        ValueError: Missing, too many, of another shape or not finite.
    """
    wanted = num_covariates_of(fit.model)
    if covariates is None and wanted:
        raise ValueError(f"covariates: the model takes {wanted} for each trajectory; pass them.")
    if covariates is None:
        return None
    if not wanted:
        raise ValueError("covariates: the model takes none. Leave them out.")
    dtype, device = place_of(fit.model)
    given = to_numpy(covariates, "covariates")
    each = given.ndim == 1 and wanted == 1 and len(given) == batch  # as in `Trajectories`
    value = torch.atleast_2d(torch.as_tensor(given[:, None] if each else given))
    if value.shape[-1] != wanted or value.shape[0] not in (1, batch):
        raise ValueError(
            f"covariates: shape {given.shape} for {batch} initial fields; the model "
            f"takes {wanted} for each: pass ({batch}, {wanted}) or ({wanted},)."
        )
    if not bool(value.isfinite().all()):
        bad = int((~value.isfinite()).sum())
        raise ValueError(
            f"covariates: hold NaN or infinite values, {bad} of {value.numel()}. Give a number "
            "for each."
        )
    value = fit.scaling.scaled_covariates(value.double())
    return value.expand(batch, -1).to(device=device, dtype=dtype)


def _longest_step(fit: FittedModel, max_step: float | None) -> float:
    """`max_step`, or a thousandth of the training horizon.

    Raises:
        ValueError: Shorter than any sensible drift needs.
    """
    if max_step is None:
        return FORECAST_STEP * fit.scaling.time
    shortest = SHORTEST_STEP * fit.scaling.time
    if not check_number("max_step", max_step) >= shortest:
        raise ValueError(
            f"max_step={max_step}: give at least {shortest:.3g}, a 50 000th of the training "
            "horizon."
        )
    return max_step


def _time_of(y0: Any) -> Any:
    """The coordinate "time" of one field that has it; None elsewhere."""
    if isinstance(y0, xr.DataArray) and y0.coords.get("time", y0).ndim == 0:
        return y0.coords["time"]
    return None


def matched_trajectories(
    fit: FittedModel, argument: str, trajectories: Trajectories
) -> Trajectories:
    """Trajectories that suit a fit's model, in the units of its data.

    Raises:
        ValueError: They are none, or of another grid, other covariates or units.
    """
    check_trajectories(argument, fit.model, trajectories)
    return matched(fit.metadata, argument, trajectories)


def first_snapshots(fit: FittedModel, trajectories: Trajectories, times: Any) -> dict[str, Any]:
    """Arguments of `predict` for forecasts of trajectories from their first snapshots.

    Raises:
        ValueError: As `matched_trajectories`; a first snapshot of which nothing was observed.
    """
    trajectories = matched_trajectories(fit, "trajectories", trajectories)
    starts = first_observed(trajectories, fit.model.grid, "trajectories")
    if any(starts):
        k = int(np.argmax(np.array(starts) > 0))
        raise ValueError(
            f"trajectories: trajectory {k} is missing whole before index {starts[k]} "
            f"(t={trajectories.times[k][starts[k]]:.9g}). Forecast from there: "
            f"trajectories.snapshots([slice(i, None) for i in {starts}])."
        )
    start, clock = all_times(trajectories)
    return {
        "y0": np.stack([values[0] for values in trajectories.values]),
        "times": clock if times is None else times,
        "t0": start,
        "covariates": trajectories.covariates,
    }


def checked_leads(times: Any, t0: Any, units: TimeUnits) -> tuple[Array, Array]:
    """Lead times of a forecast as (time,) float64, and the times (batch,) that they count from.

    Args:
        times: Numbers in the data's unit of time, or durations.
        t0: Numbers, or dates where the data have such.
        units: The data's.

    Raises:
        ValueError: They are not rows of finite times, or lead times are negative or do not
            increase.
    """
    starts = units.numbers(t0, "t0")
    if not np.isfinite(starts).all():
        raise ValueError(f"t0={t0}: give the finite time of each y0.")
    clock = np.atleast_1d(units.durations(times, "times"))
    _check_row(clock)
    if clock[0] < 0:
        raise ValueError(
            f"times: {clock[0]:g}. Where t0 is a row, they are counted from it, and forecasts run "
            "forward from y0."
        )
    return clock, starts


def checked_times(times: Any, t0: Any, units: TimeUnits) -> tuple[Array, float]:
    """Times of a forecast as (time,) float64, and the time of y0.

    Args:
        times: Numbers, or dates or durations where the data have such.
        t0: One of them; None: the first of `times`.
        units: The data's.

    Raises:
        ValueError: They are not a row of finite increasing times, or begin before `t0`.
    """
    clock = np.atleast_1d(units.numbers(times, "times"))
    _check_row(clock)
    if t0 is None:
        return clock, float(clock[0])
    given = units.numbers(t0, "t0")
    if given.shape != () or not np.isfinite(given):
        raise ValueError(f"t0={t0}: give the finite time of y0, or leave it out.")
    start = float(given)
    if abs(clock[0] - start) <= rounding(np.append(clock, start)):
        return clock, float(clock[0])  # equal but for rounding
    if clock[0] < start:
        raise ValueError(
            f"times: begin at {units.shown(clock[0])}, before t0={units.shown(start)}. Forecasts "
            "run forward from y0."
        )
    return clock, start


def _check_row(clock: Array) -> None:
    """Raise ValueError unless these are finite, increasing times (time,)."""
    if clock.ndim != 1 or len(clock) == 0 or not np.isfinite(clock).all():
        raise ValueError(f"times: shape {clock.shape}; give a row of finite times.")
    if (np.diff(clock) <= 0).any():
        i = int(np.argmin(np.diff(clock))) + 1
        raise ValueError(f"times: not increasing at index {i} (t={clock[i]:g}). Sort them.")
