"""What has no draws: observations, constants, initial fields, the history of training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pyro_msde.data import Trajectories, dated, duration_units
from pyro_msde.io.arviz.frame import Frame, Variable, units_attr
from pyro_msde.io.arviz.parameters import kernel_draws
from pyro_msde.priors import part_of
from pyro_msde.protocols import FittedModel
from pyro_msde.runs import History

__all__ = ["constants", "initial_fields", "observed", "training"]

Array = NDArray[Any]


def observed(values: Any, frame: Frame) -> dict[str, Variable]:
    """The field at the probes, from values (trajectory, time, *field)."""
    units = units_attr(frame.units.get(frame.name))
    dims = (*frame.lead, *frame.field_dims("probe"))
    return {frame.name: (dims, frame.at_probes(values), units)}


def constants(fit: FittedModel, picked: Trajectories, values: Any, frame: Frame) -> xr.Dataset:
    """The observed field, reference and scales, coordinates; a smoothing kernel.

    Args:
        fit: The `Fit`.
        picked: The snapshots that are compared with forecasts.
        values: Theirs, (trajectory, time, *field).
        frame: Axes at these snapshots.
    """
    kernel: dict[str, Variable] = {}
    if part_of(fit.model, "kernel") is not None:  # not of every model
        mean = frame.squeeze(kernel_draws(fit).mean(0).numpy())
        kernel["smoothing_kernel"] = (frame.field_dims("lag"), mean, {})
    scale = np.asarray(fit.scaling.channels)
    field = units_attr(frame.units.get(frame.name))
    time = units_attr(duration_units(frame.units.get("time")))
    ds = frame.dataset(
        {
            f"{frame.name}_field": ((*frame.lead, *frame.field_dims()), values, field),
            **kernel,
            **_reference(fit, picked, frame),
            "field_scale": (frame.channel, scale if frame.channel else scale[0], field),
            **_link(fit, frame),
            "time_scale": ((), fit.scaling.time, time),
            **_inputs(picked),
            **_forcing(picked, frame),
        },
        all_coords=True,
    )
    for d in frame.space if kernel else ():
        ds = ds.assign_coords({f"{d}_lag": _lags(d, ds.sizes[f"{d}_lag"], frame)})
    return ds


def initial_fields(test: Trajectories, frame: Frame) -> xr.Dataset:
    """What predictions beyond the data start from: first snapshots, their times, covariates."""
    field, units = units_attr(frame.units.get(frame.name)), test.time_units
    time = {} if units.text is None else {"units": units.text}
    time |= {} if units.calendar is None else {"calendar": units.calendar}
    first = np.stack([v[0] for v in test.values])
    ds = frame.dataset(
        {
            f"{frame.name}_initial": (("trajectory", *frame.field_dims()), first, field),
            "time_initial": ("trajectory", np.array([t[0] for t in test.times]), time),
            "time_end": ("trajectory", np.array([t[-1] for t in test.times]), time),
            **_inputs(test),
        },
        all_coords=True,
    )
    return dated(ds)


def training(history: History) -> xr.Dataset:
    """The ELBO's terms over `step`, the validation score over `validation_step`."""
    variables: dict[str, Any] = {}
    for name, values in history.terms.items():
        variables[name] = ("step", np.asarray(values), {"units": "nats"})
    coords: Mapping[str, Any] = {"step": history.steps} if variables else {}
    if history.validation:
        attrs = {"units": "1", "long_name": "NRMSE of forecasts of validation trajectories"}
        variables["validation"] = ("validation_step", np.asarray(history.validation), attrs)
        coords = {**coords, "validation_step": history.validation_steps}
    return xr.Dataset(variables, coords=coords, attrs={"inference_library": "pyro_msde"})


def _link(fit: FittedModel, frame: Frame) -> dict[str, Variable]:
    """Offsets of the link, NaN for channels without; nothing where no channel has one."""
    if fit.scaling.link is None:
        return {}
    offsets = np.array([np.nan if c is None else c for c in fit.scaling.link.offsets])
    attrs = units_attr(frame.units.get(frame.name))
    attrs["long_name"] = "c, where the model is of log(1 + y/c), or of log(y) if c is 0"
    return {"link_offset": (frame.channel, offsets if frame.channel else offsets[0], attrs)}


def _reference(fit: FittedModel, picked: Trajectories, frame: Frame) -> dict[str, Variable]:
    """What was subtracted from fields, along the axes that it depends on; nothing if that is so."""
    reference = fit.scaling.reference
    if not reference:
        return {}
    lead: tuple[str, ...] = ()
    if reference.period is None:
        values = reference.at(0.0)
    elif frame.lead[1] == "time":
        lead, values = frame.lead[1:], reference.at(picked.times[0])
    else:
        lead, each = frame.lead, [reference.at(t) for t in picked.times]
        values = np.full((len(each), max(map(len, each)), *each[0].shape[1:]), np.nan)
        for row, found in zip(values, each, strict=True):
            row[: len(found)] = found
    values = frame.squeeze(values)
    dims = (*lead, *frame.field_dims())
    same = tuple(i for i, d in enumerate(dims) if d in frame.space and values.shape[i] == 1)
    kept = tuple(d for i, d in enumerate(dims) if i not in same)
    units = units_attr(frame.units.get(frame.name))
    return {"field_reference": (kept, values.squeeze(same), units)}


def _lags(axis: str, size: int, frame: Frame) -> Variable:
    """Distances along an axis; points of the grid where positions are names, numbers on a graph."""
    x, dims = frame.coords[axis].values, (f"{axis}_lag",)
    if not frame.grid.regular:
        return dims, np.arange(size), {}
    steps = np.arange(size) - size // 2
    if x.dtype.kind not in "fiu":
        return dims, steps, {}
    return dims, steps * (float(x[1] - x[0]) if len(x) > 1 else 1.0), dict(frame.coords[axis].attrs)


def _forcing(picked: Trajectories, frame: Frame) -> dict[str, Variable]:
    """Controls at the snapshots and static fields, as `Trajectories.to_xarray` names them."""
    ds = picked.to_xarray()
    both: list[tuple[str, tuple[str, ...]]] = [(c, frame.lead) for c in picked.control_names]
    both += [(s, frame.space) for s in picked.static_names]
    return {c: (dims, ds[c].values, units_attr(picked.units.get(c))) for c, dims in both}


def _inputs(test: Trajectories) -> dict[str, Any]:
    """The trajectories' covariates as `Trajectories.to_xarray` names them."""
    if test.covariates is None:
        return {}
    return {
        name: ("trajectory", column, units_attr(test.units.get(name)))
        for name, column in zip(test.covariate_names, test.covariates.T, strict=True)
    }
