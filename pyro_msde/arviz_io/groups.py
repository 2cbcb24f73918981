"""What the groups of the ArviZ data hold: draws, moments, parameters, constants, history."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from pyro_msde.arviz_io.frame import Frame, Variable, units_attr
from pyro_msde.experts import product_variance
from pyro_msde.forecasting import Forecast
from pyro_msde.training import History, pyro_settings

__all__ = ["constants", "kernel_draws", "observed", "posterior", "predictive", "training"]


def predictive(fc: Forecast, frame: Frame, seed: int) -> dict[str, Variable]:
    """Draws (chain, draw, batch, time, …) of fields at probes and of states, moments (batch, …)."""
    at: Any = (..., *np.ix_(*frame.index))
    draws = np.concatenate([d.numpy()[at] for _, d in fc.chunks(seed)], axis=2)
    z, n = fc.latent.numpy(), frame.grid.num_zeta
    zeta = frame.squeeze(z[..., :n].reshape(*z.shape[:-1], frame.grid.channels, *frame.grid.coarse))
    units = units_attr(frame.units.get(frame.name))
    ahead = ("chain", "draw", *frame.lead)
    out: dict[str, Variable] = {
        frame.name: ((*ahead, *frame.field_dims("probe")), draws[None], units),
        "zeta": ((*ahead, *frame.field_dims("coarse")), zeta[None], units),
    }
    if z.shape[-1] > n:
        out["eta"] = ((*ahead, "microscale"), z[None, ..., n:], units_attr("1"))
    moments = {"mean": fc.mean, "sd": fc.sd, "q05": fc.quantile(0.05), "q95": fc.quantile(0.95)}
    for name, value in moments.items():
        out[f"{frame.name}_{name}"] = ((*frame.lead, *frame.field_dims()), value.numpy(), units)
    return out


def posterior(fit: Any, fc: Forecast, frame: Frame) -> dict[str, Variable]:
    """Diffusion (as forecasts use it) and observation noise, of each draw's θ.

    L = √C is what a state's standard deviation gains over one training horizon, in scaled units;
    here over one unit of the data's time, growing with its root, and for ζ in the field's units.
    """
    grid, scale = frame.grid, torch.tensor(fit.scaling.channels, dtype=torch.float64)
    L = torch.stack([t.diffusion.detach().cpu().double() for t in fc.theta]).sqrt()
    L = L * (fit.diffusion_scale / math.sqrt(fit.scaling.time))
    zeta = L[:, : grid.num_zeta] * scale.repeat_interleave(grid.num_coarse)
    variances = [product_variance(t.var_zeta, t.var_eta).detach().cpu().double() for t in fc.theta]
    noise = torch.stack([v.sqrt().flatten(1).mean(1) for v in variances]) * scale

    def drawn(value: Tensor) -> Any:
        return value.repeat_interleave(fc.paths.shape[1], 0).numpy()[None]

    field, time = frame.units.get(frame.name), frame.units.get("time")
    macro = frame.squeeze(drawn(zeta.reshape(-1, grid.channels, *grid.coarse)))
    ahead, per = ("chain", "draw"), "standard deviation gained over one unit of time"
    out: dict[str, Variable] = {
        "diffusion_sd_zeta": (
            (*ahead, *frame.field_dims("coarse")),
            macro,
            {**_per_root_time(field, time), "long_name": per},
        ),
        "observation_sd": (
            (*ahead, *frame.channel),
            drawn(noise) if frame.channel else drawn(noise)[..., 0],
            {**units_attr(field), "long_name": "root of Σ_y, averaged over the grid"},
        ),
    }
    if L.shape[1] > grid.num_zeta:
        micro = drawn(L[:, grid.num_zeta :])
        attrs = {**_per_root_time("1", time), "long_name": per}
        out["diffusion_sd_eta"] = ((*ahead, "microscale"), micro, attrs)
    return out


def observed(values: Any, frame: Frame) -> dict[str, Variable]:
    """The field at the probes, from values (trajectory, time, *field)."""
    at = values[(..., *np.ix_(*frame.index))]
    units = units_attr(frame.units.get(frame.name))
    return {frame.name: ((*frame.lead, *frame.field_dims("probe")), at, units)}


def constants(fit: Any, values: Any, frame: Frame) -> xr.Dataset:
    """The observed field (trajectory, time, *field), smoothing kernel, scales, coordinates."""
    kernel = frame.squeeze(kernel_draws(fit).mean(0).numpy())
    scale = np.asarray(fit.scaling.channels)
    field, time = units_attr(frame.units.get(frame.name)), units_attr(frame.units.get("time"))
    ds = frame.dataset(
        {
            f"{frame.name}_field": ((*frame.lead, *frame.field_dims()), values, field),
            "smoothing_kernel": (frame.field_dims("lag"), kernel, {}),
            "field_scale": (frame.channel, scale if frame.channel else scale[0], field),
            "time_scale": ((), fit.scaling.time, time),
        },
        every=True,
    )
    for d in frame.space:
        x, size = frame.coords[d].values, ds.sizes[f"{d}_lag"]
        lag = (np.arange(size) - size // 2) * (float(x[1] - x[0]) if len(x) > 1 else 1.0)
        ds = ds.assign_coords({f"{d}_lag": (f"{d}_lag", lag, dict(frame.coords[d].attrs))})
    return ds


def kernel_draws(fit: Any, num_draws: int = 32, seed: int = 0) -> Tensor:
    """Smoothing kernel κ of a fit, (draw, channel, *kernel); one draw of a point estimate."""
    part = fit.model.kernel
    with torch.random.fork_rng(), pyro_settings(validate=False), torch.no_grad():
        torch.manual_seed(seed)
        count = num_draws if part.is_random else 1
        return torch.stack([part.read(fit.guide.read_theta())() for _ in range(count)]).cpu()


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


def _per_root_time(field: str | None, time: str | None) -> dict[str, str]:
    """Units of a diffusion, if both are known."""
    if field is None or time is None:
        return {}
    factors = [field] if field != "1" else []
    factors += [f"({time})^-0.5" if " " in time else f"{time}^-0.5"] if time != "1" else []
    return {"units": " ".join(factors) or "1"}
