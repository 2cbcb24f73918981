"""What `Fit.predict` is given, checked and in the layout of the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_msde.checks import check_number, check_whole
from pyro_msde.data import (
    TimeUnits,
    Trajectories,
    all_times,
    check_trajectories,
    first_observed,
    matched,
    num_covariates_of,
    same_times,
    to_numpy,
)
from pyro_msde.forecasts.imposed import controls_along, with_controls
from pyro_msde.forecasts.initial_fields import initial_fields, labelled, past_fields
from pyro_msde.forecasts.start_times import own_times
from pyro_msde.forecasts.times import checked_leads, checked_past, checked_times
from pyro_msde.isolation import place_of
from pyro_msde.protocols import FittedModel
from pyro_msde.sde import SHORTEST_STEP

__all__ = [
    "checked_start",
    "first_snapshots",
    "matched_trajectories",
    "scaled_covariates",
]

Array = NDArray[np.float64]


def checked_start(
    fit: FittedModel,
    y0: Any,
    times: Any,
    t0: Any,
    times0: Any,
    covariates: Any,
    controls: Any,
    control_times: Any,
    max_step: float | None,
) -> dict[str, Any]:
    """What `Fit.predict` was given, as `forecasts.forecast` takes it.

    Raises:
        ValueError: It cannot be forecast from; the functions below say why.
    """
    longest = _longest_step(fit, max_step)
    units = TimeUnits() if fit.metadata is None else fit.metadata.time_units
    past: Array | None = None
    given: Any
    y0 = labelled(fit, y0)
    if times0 is not None and t0 is not None:
        raise ValueError("t0: the last of times0 is the time of the start. Leave it out.")
    if times0 is None:
        given, times0 = own_times(y0, fit.model.grid.ndim + fit.has_channel, fit.metadata, t0)
    if times0 is not None:
        past = checked_past(times0, units)
        given = past[..., -1]
    starts = None if given is None else units.numbers(given, "t0")
    each = starts is not None and starts.ndim == 1
    start: float | Array
    clock, start = (checked_leads if each else checked_times)(times, given, units)
    if past is None:
        fields, batched = initial_fields(fit, y0)
        fields, past = fields[:, None], np.reshape(start, (-1, 1))
    else:
        fields, batched = past_fields(fit, y0, past.shape[-1])
        past = np.atleast_2d(past)
    if starts is not None and each and not (batched and len(starts) == len(fields)):
        many = f"{len(fields)} of them" if batched else "one without a batch"
        name = "t0" if times0 is None else "times0"
        raise ValueError(f"{name}: {len(starts)} times, but y0 is {many}. Pass one for each field.")
    beside = scaled_covariates(fit, covariates, len(fields))
    inputs = with_controls(
        fit,
        beside,
        controls,
        control_times,
        past=past,
        clock=clock,
        start=start,
        batch=len(fields),
    )
    return {
        "y0": fields,
        "times": clock,
        "times0": past,
        "t0": start,
        "inputs": inputs,
        "max_step": longest,
        "layout": {"batched": batched, "has_channel": fit.has_channel},
    }


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


def _longest_step(fit: FittedModel, max_step: float | None) -> float | None:
    """`max_step`, checked; None: what suits the drift.

    Raises:
        ValueError: Shorter than any sensible drift needs.
    """
    if max_step is None:
        return None
    shortest = SHORTEST_STEP * fit.scaling.time
    if not check_number("max_step", max_step) >= shortest:
        raise ValueError(
            f"max_step={max_step}: give at least {shortest:.3g}, a 50 000th of the training "
            "horizon."
        )
    return max_step


def matched_trajectories(
    fit: FittedModel, argument: str, trajectories: Trajectories
) -> Trajectories:
    """Trajectories that suit a fit's model, in the units of its data.

    Raises:
        ValueError: They are none, or of another grid, other covariates or units.
    """
    check_trajectories(argument, fit.model, trajectories)
    return matched(fit.metadata, argument, trajectories)


def first_snapshots(
    fit: FittedModel,
    trajectories: Trajectories,
    times: Any,
    history: int,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Arguments of `predict` for forecasts of trajectories from so many of their first snapshots.

    Args:
        fit: The `Fit`.
        trajectories: With their covariates and controls.
        times: As `Fit.forecast` takes them.
        history: How many snapshots.
        options: Other arguments of `predict`; controls among them take the place of the data's.

    Raises:
        ValueError: As `matched_trajectories`; a first snapshot of which nothing was observed, or a
            trajectory of fewer snapshots; times at which controls are not known.
    """
    trajectories = matched_trajectories(fit, "trajectories", trajectories)
    starts = first_observed(trajectories, fit.model.grid, "trajectories")
    late = {k: index for k, index in enumerate(starts) if index}
    if late:
        k, index = next(iter(late.items()))
        since = trajectories.time_units.shown(trajectories.times[k][index])
        more = f", nor of {len(late) - 1} others" if len(late) > 1 else ""
        raise ValueError(
            f"trajectories: nothing was observed of trajectory {k} before its snapshot {index} "
            f"(t={since}){more}. Forecast from there: trajectories.snapshots("
            f"[slice({late}.get(k, 0), None) for k in range(len(trajectories))])."
        )
    check_whole("history", history, 1)
    fewest = min(len(t) for t in trajectories.times)
    if fewest < history:
        raise ValueError(
            f"history={history}: a trajectory has {fewest} snapshots. Give fewer of them, or "
            "longer trajectories."
        )
    rest = trajectories.snapshots([slice(history - 1, None)] * len(trajectories))
    start, clock = all_times(rest)
    common = {
        "times": clock if times is None else times,
        "covariates": trajectories.covariates,
    }
    if history == 1:
        y0 = np.stack([v[0] for v in rest.values])
        controls = _own_controls(trajectories, rest, times, np.ndim(start) > 0, options)
        return {"y0": y0, "t0": start, **common, **controls, **options}
    past = np.stack([t[:history] for t in trajectories.times])
    if np.ndim(start) == 0 and all(same_times(past[0], row) for row in past):
        past = past[0]
    elif np.ndim(start) == 0 and times is None:  # as rows of times0 have it, since the last
        common["times"] = clock - start
    y0 = np.stack([v[:history] for v in trajectories.values])
    controls = _own_controls(trajectories, rest, times, past.ndim > 1, options)
    return {"y0": y0, "times0": past, **common, **controls, **options}


def _own_controls(
    trajectories: Trajectories,
    rest: Trajectories,
    times: Any,
    by_lead: bool,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """The trajectories' controls, unless others are given."""
    if options.get("controls") is not None:
        return {}
    if options.get("control_times") is not None:
        raise ValueError("control_times: they go with controls. Pass both, or neither.")
    units = trajectories.time_units
    since = np.array([t[0] * by_lead for t in rest.times])
    if times is not None:
        times = np.atleast_1d((units.durations if by_lead else units.numbers)(times, "times"))
    return controls_along(trajectories, since, times)
