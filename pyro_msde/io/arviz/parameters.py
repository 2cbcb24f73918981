"""Draws of θ, of a posterior or of a prior, as variables in the data's units."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_msde.data import cropped, duration_units
from pyro_msde.forecasts import Forecast
from pyro_msde.inference import equation_of, fitted_equation
from pyro_msde.io.arviz.frame import Frame, Variable, units_attr
from pyro_msde.isolation import Isolation, place_of
from pyro_msde.priors import part_of
from pyro_msde.protocols import BoundModel, FittedModel
from pyro_msde.sde import covariance, noise_axes

__all__ = ["Draws", "kernel_draws", "network_weights", "parameters", "time_lengthscale"]

_AHEAD = ("chain", "draw")


@dataclass(frozen=True)
class Draws:
    """Draws of θ, each of which stands for several draws of the output.

    Attributes:
        theta: The model at each draw of θ.
        sites: Values of the sites of parts with a prior at each; empty without one.
        repeats: Paths drawn at each θ.
        coefficients: (θ, channel, term) of the drift's equation, in scaled units; None: they are
            not random.
    """

    theta: Sequence[BoundModel]
    sites: Sequence[Mapping[str, Tensor]]
    repeats: int
    coefficients: Tensor | None = None

    @classmethod
    def of(cls, fc: Forecast) -> Draws:
        """Those of a forecast."""
        return cls(fc.theta, fc.sites, fc.paths.shape[1], fc.coefficients)

    @property
    def count(self) -> int:
        """Draws of the output."""
        return len(self.theta) * self.repeats

    def repeated(self, values: Tensor) -> Any:
        """(chain, draw, …) array from one value for each θ, (θ, …)."""
        return values.detach().cpu().repeat_interleave(self.repeats, 0).numpy()[None]

    def __iter__(self) -> Iterator[tuple[BoundModel, dict[str, Tensor], slice]]:
        """The model at θ, θ's sites on its device, and its place among the draws of the output."""
        for j, (theta, sites) in enumerate(zip(self.theta, self.sites, strict=True)):
            here = {name: value.to(theta.diffusion.device) for name, value in sites.items()}
            yield theta, here, slice(j * self.repeats, (j + 1) * self.repeats)


def parameters(
    fit: FittedModel, draws: Draws, frame: Frame, duration: float
) -> dict[str, Variable]:
    """Diffusion (as forecasts use it), observation noise, the guide's length scale in time.

    Also the coefficients of an equation in the drift, in the user's units.

    L = √C is what a state's standard deviation gains over one training horizon, in scaled units;
    here over one unit of the data's time, growing with its root, and for ζ in the field's units.

    Args:
        fit: The `Fit`.
        draws: Of θ.
        frame: Axes and units.
        duration: Of a segment, in the data's time units.
    """
    grid, scale = frame.grid, torch.tensor(fit.scaling.seen.channels, dtype=torch.float64)
    L = torch.stack([_by_state(t).detach().cpu().double() for t in draws.theta]).sqrt()
    L = L * (fit.diffusion_scale / math.sqrt(fit.scaling.time))
    zeta = L[:, : grid.num_zeta] * scale.repeat_interleave(grid.num_coarse)
    variances = [t.observe(torch.zeros_like(t.diffusion)).variance.detach() for t in draws.theta]
    exists = None if grid.mask is None else torch.tensor(grid.mask)
    fields = [cropped(v.cpu().double().sqrt(), grid.padding) for v in variances]
    noise = torch.stack([_over_grid(sd, exists) for sd in fields]) * scale
    # of the logarithm of fields, which has no units
    field = frame.units.get(frame.name) if fit.scaling.link is None else "1"
    time = duration_units(frame.units.get("time"))
    per = {"long_name": "standard deviation gained over one unit of time"}
    out: dict[str, Variable] = {
        "diffusion_sd_zeta": (
            (*_AHEAD, *frame.field_dims("coarse")),
            frame.squeeze(draws.repeated(zeta.reshape(-1, grid.channels, *grid.coarse))),
            {**_per_root_time(field, time), **per},
        ),
        "observation_sd": (
            (*_AHEAD, *frame.channel),
            draws.repeated(noise if frame.channel else noise[:, 0]),
            {**units_attr(field), "long_name": "root of Σ_y, averaged over the grid"},
        ),
    }
    if L.shape[1] > grid.num_zeta:
        micro = draws.repeated(L[:, grid.num_zeta :])
        attrs = {**_per_root_time("1", time), **per}
        out["diffusion_sd_eta"] = ((*_AHEAD, "microscale"), micro, attrs)
    out |= _equation(fit, draws)
    kernel = getattr(fit.guide, "time_kernel", None)
    if kernel is not None:
        lag = torch.tensor(time_lengthscale(kernel, duration), dtype=torch.float64)
        rough = any(noise_axes(theta) is not None for theta in draws.theta)  # exp(−|lag|/ℓ) then
        level = "e^-1" if rough else "e^-1/2"
        attrs = {**units_attr(time), "long_name": f"lag at which k(t, t') is {level}, on average"}
        out["time_kernel_lengthscale"] = (
            _AHEAD,
            draws.repeated(lag.expand(len(draws.theta))),
            attrs,
        )
    return out


def _equation(fit: FittedModel, draws: Draws) -> dict[str, Variable]:
    """Coefficients at each draw by term, as `fit.equation` calls these; nothing without any."""
    path = equation_of(fit.model)
    if path is None or not path.started:
        return {}
    values = path.coefficients.expand(len(draws.theta), -1, -1)
    if draws.coefficients is not None:
        values = draws.coefficients
    there = (path.coefficients != 0).cpu()
    rows = fitted_equation(path, fit.metadata).coefficients
    labels = [
        term if len(rows) == 1 else f"{field}_t: {term}"
        for field, row in rows.items()
        for term in row
    ]
    in_units = (values.detach().cpu().double() / path.factors())[:, there]
    attrs = {"long_name": "coefficients of the equation, in the data's units"}
    return {
        "equation": ((*_AHEAD, "equation_term"), draws.repeated(in_units), attrs),
        "equation_term": (("equation_term",), np.array(labels), {}),
    }


def _over_grid(values: Tensor, exists: Tensor | None) -> Tensor:
    """(channel,) means of (channel, *space) over where there is a field; None: everywhere."""
    if exists is None:
        return values.flatten(1).mean(1)
    return torch.stack([row[there].mean() for row, there in zip(values, exists, strict=True)])


def time_lengthscale(kernel: Any, duration: float) -> float:
    """Lag at which the guide's kernel of time falls to e^(−½), averaged over a segment.

    k(t, t') = exp(−½ (g(t) − g(t'))²), g = h/ℓ, so locally the lag is 1/|dg/dt|; here
    duration / ∫|dg/dt| dt, the time over which g changes by one on average.

    Args:
        kernel: With `features`, as a `DeepKernel`.
        duration: Of a segment, in the units of the result.
    """
    with torch.no_grad():
        slopes = kernel.features(torch.linspace(-1, 1, 401, dtype=torch.float64))[1].abs()
    return 0.5 * duration / float(torch.trapezoid(slopes, dx=1 / 400))


def network_weights(draws: Draws, wanted: bool | Sequence[str]) -> dict[str, Variable]:
    """The sites of parts with a prior, such as drift.theta (…, drift.theta_dim_0).

    Args:
        draws: Of θ.
        wanted: All of them, none, or their names.

    Raises:
        ValueError: A name that is no such site.
    """
    known = list(draws.sites[0])
    names = (known if wanted else []) if isinstance(wanted, bool) else list(wanted)
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ValueError(
            f"weights: no sites {unknown}; parts with a prior have {known or 'none'}. Pass some of "
            "those, or give the part a prior (pyro_msde.priors.bayesian_parts.bayesian)."
        )
    out: dict[str, Variable] = {}
    for name in names:
        values = draws.repeated(torch.stack([sites[name] for sites in draws.sites]))
        axes = [f"{name}_dim_{i}" for i in range(values.ndim - 2)]
        attrs = {"long_name": "parameters of the part in scaled units, or a prior's scales"}
        out[name] = ((*_AHEAD, *axes), values, attrs)
    return out


def kernel_draws(fit: FittedModel, num_draws: int = 32, seed: int = 0) -> Tensor:
    """Smoothing kernel κ of a fit, (draw, channel, *kernel); one draw of a point estimate.

    Raises:
        ValueError: The model has none.
    """
    part = part_of(fit.model, "kernel")
    if part is None:
        raise ValueError(f"fit: a {type(fit.model).__name__} has no smoothing kernel.")
    with Isolation(seed, place_of(part)[1]).turn(), torch.no_grad():
        count = num_draws if part.is_random else 1
        return torch.stack([part.read(fit.guide.read_theta())() for _ in range(count)]).cpu()


def _per_root_time(field: str | None, time: str | None) -> dict[str, str]:
    """Units of a diffusion, if both are known."""
    if field is None or time is None:
        return {}
    factors = [field] if field != "1" else []
    factors += [f"({time})^-0.5" if " " in time else f"{time}^-0.5"] if time != "1" else []
    return {"units": " ".join(factors) or "1"}


def _by_state(theta: BoundModel) -> Tensor:
    """(latent,) diagonal of C."""
    axes = noise_axes(theta)
    return theta.diffusion if axes is None else covariance(theta.diffusion, axes).diagonal()
