"""Draws of forecast fields at probes, moments on the whole grid, densities of what was observed.

A forecast is decoded once, in chunks of time: of its fields only what is asked for is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_msde.forecasts import Forecast, Mixture
from pyro_msde.io.arviz.frame import Frame, Variable, units_attr

__all__ = ["densities", "densities_at", "insert", "predictive"]

Array = NDArray[Any]

_LEVELS = {"q05": 0.05, "q95": 0.95}


def predictive(
    fc: Forecast,
    frame: Frame,
    seed: int,
    *,
    moments: bool = True,
    truth: Tensor | None = None,
) -> tuple[dict[str, Variable], dict[str, Variable]]:
    """Variables of the forecast, and densities of the truth.

    Args:
        fc: Forecast of a batch.
        frame: Axes and units.
        seed: Of the draws.
        moments: Also the mean, standard deviation and quantiles on the whole grid.
        truth: (batch, time, *field) for the first times of the forecast.

    Returns:
        Draws (chain, draw, batch, time, …) of fields at probes and of states, moments
        (batch, time, …); log densities (chain, draw, batch, time, …) named as `densities` does.
    """
    generator = torch.Generator().manual_seed(seed)
    fields: dict[str, Array] = {}
    dense: dict[str, Array] = {}
    for law in fc.mixtures(keep=False):
        window = law.where
        draws = frame.at_probes(law.sample(generator).numpy())
        _put(fields, frame.name, draws, 2, window, len(fc.times))
        for name, value in (_moments(law) if moments else {}).items():
            _put(fields, f"{frame.name}_{name}", value, 1, window, len(fc.times))
        if truth is not None and window.start < truth.shape[1]:
            for name, value in densities_at(law, truth[:, window], frame).items():
                _put(dense, name, value, 2, window, truth.shape[1])
    units = units_attr(frame.units.get(frame.name))
    ahead = ("chain", "draw", *frame.lead)
    out: dict[str, Variable] = {
        frame.name: ((*ahead, *frame.field_dims("probe")), fields.pop(frame.name)[None], units),
        **_states(fc, frame),
    }
    for name, value in fields.items():
        out[name] = ((*frame.lead, *frame.field_dims()), value, units)
    return out, densities(dense, frame, "_forecast")


def _put(
    into: dict[str, Array], name: str, value: Array, axis: int, window: slice, count: int
) -> None:
    """Put a chunk's times in place, in an array for all `count` of them.

    Kept pieces between the chunks' large arrays would keep their memory from being used again.
    """
    if name not in into:
        shape = (*value.shape[:axis], count, *value.shape[axis + 1 :])
        into[name] = np.empty(shape, dtype=value.dtype)
    into[name][(*(slice(None),) * axis, window)] = value


def densities_at(law: Mixture, truth: Tensor, frame: Frame) -> dict[str, Array]:
    """Log densities of truth (batch, time, *field) given each draw, float64.

    Args:
        law: Of the same times, or of more, of which the first count.
        truth: The observed fields.
        frame: Axes.

    Returns:
        "": of what was observed of whole snapshots, (draw, batch, time); "_probes": of single
        values. NaN where nothing was observed.
    """
    count = truth.shape[1]
    padded = torch.cat([truth, law.mean[:, count:].to(truth)], 1)
    filled = padded.where(padded.isfinite(), 0)
    there = padded.isfinite() & torch.tensor(frame.exists)
    each = law.log_density(filled)[:, :, :count]
    whole = law.snapshot_log_density(filled, there)[:, :, :count]
    seen = there[:, :count]
    if not bool(seen.all()):
        whole = whole.where(seen.flatten(2).any(2), torch.nan)
        each = each.where(seen, torch.nan)
    return {"": whole.numpy(), "_probes": frame.at_probes(each.numpy()).astype(np.float64)}


def densities(arrays: Mapping[str, Array], frame: Frame, suffix: str = "") -> dict[str, Variable]:
    """Variables `<field><suffix>` and `<field><suffix>_probes` from arrays of `densities_at`."""
    ahead = ("chain", "draw", *frame.lead)
    return {
        f"{frame.name}{suffix}{kind}": (
            (*ahead, *(frame.field_dims("probe") if kind else ())),
            values[None],
            {"units": "nats"},
        )
        for kind, values in arrays.items()
    }


def insert(
    into: dict[str, Variable], name: str, variable: Variable, rows: Array, size: tuple[int, ...]
) -> None:
    """Put some trajectories' values into an array for all of them, NaN where nothing is put."""
    dims, values, attrs = variable
    axis = dims.index("trajectory")
    if name not in into:
        shape = (*values.shape[:axis], *size, *values.shape[axis + 2 :])
        into[name] = (dims, np.full(shape, np.nan, dtype=values.dtype), attrs)
    into[name][1][(*(slice(None),) * axis, rows, slice(values.shape[axis + 1]))] = values


def _moments(law: Mixture) -> dict[str, Array]:
    """Mean, standard deviation and quantiles, (batch, time, *field)."""
    fields = {"mean": law.mean, "sd": law.sd}
    fields |= {name: law.quantile(level) for name, level in _LEVELS.items()}
    return {name: field.numpy() for name, field in fields.items()}


def _states(fc: Forecast, frame: Frame) -> dict[str, Variable]:
    """ζ on the coarse grid in the field's units, and η."""
    z, n = fc.latent.numpy(), frame.grid.num_zeta
    zeta = frame.squeeze(z[..., :n].reshape(*z.shape[:-1], frame.grid.channels, *frame.grid.coarse))
    ahead, units = ("chain", "draw", *frame.lead), units_attr(frame.units.get(frame.name))
    if fc.scaling.link is not None:  # of the logarithm of fields
        units = units_attr("1")
    out: dict[str, Variable] = {"zeta": ((*ahead, *frame.field_dims("coarse")), zeta[None], units)}
    if z.shape[-1] > n:
        out["eta"] = ((*ahead, "microscale"), z[None, ..., n:], units_attr("1"))
    return out
