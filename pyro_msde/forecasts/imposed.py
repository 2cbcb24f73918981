"""Controls of a forecast: what is imposed from the first given snapshot to the last time."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_msde.data import (
    Batch,
    Inputs,
    TimeUnits,
    Trajectories,
    held,
    num_controls_of,
    rounding,
    to_numpy,
)
from pyro_msde.isolation import place_of
from pyro_msde.protocols import FittedModel

__all__ = ["controls_along", "controls_of", "controls_of_fields", "with_controls"]

Array = NDArray[Any]


def with_controls(
    fit: FittedModel,
    covariates: Tensor | None,
    controls: Any,
    control_times: Any,
    *,
    past: Array,
    clock: Array,
    start: float | Array,
    batch: int,
) -> Inputs:
    """Covariates and controls of a forecast, in scaled units.

    Args:
        fit: The `Fit`.
        covariates: (batch, p) in scaled units, or None.
        controls: As `Fit.predict` takes them.
        control_times: Likewise.
        past: (batch or 1, snapshot) times of the given snapshots, in the data's units.
        clock: (time,) of the forecast, since `start` where that is a row.
        start: Time of the last snapshot, or (batch,) of each.
        batch: Initial fields.

    Raises:
        ValueError: Controls that are missing, not asked for, of another shape or not finite, or
            times that do not increase or do not reach from the first snapshot to the last time.
    """
    wanted = num_controls_of(fit.model)
    if not wanted:
        for name, given in (("controls", controls), ("control_times", control_times)):
            if given is not None:
                raise ValueError(f"{name}: the model takes no controls. Leave them out.")
        return Inputs(covariates)
    origin = np.zeros((1, 1))
    if isinstance(start, np.ndarray):
        origin = start[:, None]
    later = origin + clock[clock > (0.0 if isinstance(start, np.ndarray) else start)]
    rows = max(len(past), len(later))
    asked = np.concatenate([np.broadcast_to(x, (rows, x.shape[1])) for x in (past, later)], 1)
    known = asked
    if control_times is not None:
        units = TimeUnits() if fit.metadata is None else fit.metadata.time_units
        read = units.durations if isinstance(start, np.ndarray) else units.numbers
        known = origin + np.atleast_2d(read(control_times, "control_times"))
    if controls is None:
        raise ValueError(
            f"controls: the model takes {wanted} at each time; pass ({known.shape[1]}, {wanted}) "
            "numbers, at the times of y0 and of the forecast, or others with their control_times. "
            "Fit.forecast takes them from the trajectories."
        )
    values = _scaled(fit, controls, known.shape[1])
    if len(values) not in (1, batch) or len(known) not in (1, batch):
        raise ValueError(
            f"controls: {len(values)} rows of them at {len(known)} of times for {batch} initial "
            "fields. Pass one row for all, or one for each."
        )
    _check_reach(known, asked)
    clocks = torch.as_tensor(known / fit.scaling.time, device=values.device)
    return Inputs(covariates, clocks.expand(batch, -1), values.expand(batch, -1, -1))


def _scaled(fit: FittedModel, controls: Any, count: int) -> Tensor:
    """(row, count, c) in scaled units, and as the model's tensors are.

    Raises:
        ValueError: They are of another shape or not finite.
    """
    wanted = num_controls_of(fit.model)
    given = to_numpy(controls, "controls").astype(np.float64)
    rows = given[:, None] if given.ndim == 1 and wanted == 1 else given
    rows = rows[None] if rows.ndim == 2 else rows
    if rows.ndim != 3 or rows.shape[1:] != (count, wanted):
        raise ValueError(
            f"controls: shape {given.shape}; the model takes {wanted} at each of {count} times: "
            f"pass ({count}, {wanted}), or (batch, {count}, {wanted})."
        )
    if bad := int((~np.isfinite(rows)).sum()):
        raise ValueError(
            f"controls: hold NaN or infinite values, {bad} of {rows.size}. Give finite numbers."
        )
    dtype, device = place_of(fit.model)
    return fit.scaling.scaled_controls(torch.as_tensor(rows)).to(device=device, dtype=dtype)


def controls_along(
    trajectories: Trajectories, since: Array, times: Array | None = None
) -> dict[str, Any]:
    """Arguments of `Fit.predict` for the controls of trajectories; none where they have none.

    A trajectory that ends before others keeps its last ones, where nobody asked for these times.

    Args:
        trajectories: From the first given snapshots on.
        since: (trajectory,) times from which those of the forecast are counted.
        times: (time,) of the forecast, so counted; None: those that the trajectories have.

    Raises:
        ValueError: Times after a trajectory's end.
    """
    if trajectories.controls is None:
        return {}
    clocks = [t - start for t, start in zip(trajectories.times, since, strict=True)]
    last = -np.inf if times is None else float(np.max(times))
    for k, clock in enumerate(clocks):
        if clock[-1] < last and clock[-1] < last - rounding(np.append(clock, last)):
            raise ValueError(
                f"times: up to {last:g}, but the controls of trajectory {k} end at {clock[-1]:g}. "
                "Pass controls=… with control_times=… for all of it."
            )
    known, controls = held(clocks, trajectories.controls)
    return {"controls": controls, "control_times": known}


def controls_of(data: Trajectories, batch: Batch) -> dict[str, Any]:
    """Arguments of `Fit.predict` for the controls of a batch with lead times in common."""
    rows, by_lead = data[batch.rows], np.ndim(batch.start) > 0
    return controls_along(rows, np.array([t[0] * by_lead for t in rows.times]))


def controls_of_fields(fit: FittedModel, controls: Any, count: int) -> Tensor | None:
    """(count, c) in scaled units of single fields, from (count, c) or (c,); None: there are none.

    Raises:
        ValueError: Missing, not asked for, of another shape or not finite.
    """
    wanted = num_controls_of(fit.model)
    if not wanted and controls is not None:
        raise ValueError("controls: the model takes no controls. Leave them out.")
    if not wanted:
        return None
    if controls is None:
        raise ValueError(f"controls: the model takes {wanted} at each time; pass ({wanted},).")
    given = to_numpy(controls, "controls")
    each = np.broadcast_to(given, (count, wanted)) if given.shape == (wanted,) else given
    return _scaled(fit, each, count)[0]


def _check_reach(known: Array, asked: Array) -> None:
    if not np.isfinite(known).all() or (np.diff(known) <= 0).any():
        raise ValueError("control_times: not finite and increasing. Sort them.")
    slack = rounding(np.append(known, asked))
    if (known[:, 0] > asked[:, 0] + slack).any() or (known[:, -1] < asked[:, -1] - slack).any():
        raise ValueError(
            f"controls: known from {known[:, 0].max():g} to {known[:, -1].min():g}, but the "
            f"forecast goes from {asked[:, 0].min():g} to {asked[:, -1].max():g}. Pass them for "
            "all of it."
        )
