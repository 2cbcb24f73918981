"""Forecasts from initial fields: encode, integrate the latent SDE, decode (App. F)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_msde.distributions import sample_moments
from pyro_msde.forecasting import Forecast
from pyro_msde.isolation import place_of
from pyro_msde.jackknife import Jackknife, moved
from pyro_msde.region import LONGEST_STEP, Region, confined
from pyro_msde.scaling import Scaling
from pyro_msde.sde import integrate, stable_step

__all__ = ["SHORTEST_STEP", "forecast"]

SHORTEST_STEP = 1 / 50_000  # of the training horizon: a step that no sensible drift needs


@torch.no_grad()
def forecast(
    model: Any,
    guide: Any,
    scaling: Scaling,
    y0: Tensor,
    times: np.ndarray,
    *,
    t0: float,
    num_samples: int,
    num_theta: int,
    parameters: Tensor | None = None,
    max_step: float | None = None,
    diffusion_scale: float = 1.0,
    region: Region | None = None,
    uncertainty: Jackknife | None = None,
    point: bool,
    layout: Mapping[str, bool],
) -> Forecast:
    """Forecast from checked arguments; `pyro_msde.Fit.predict` is the public face.

    Args:
        model: The generative model.
        guide: Its guide, whose encoder gives z(t₀).
        scaling: Units.
        y0: (batch, channel, *space) float64, in the user's units.
        times: (time,) float64, not before t0.
        t0: Time of y0.
        num_samples: Paths altogether, rounded up to equal shares.
        num_theta: Draws of θ among which they are shared out, or of the jackknife.
        parameters: (batch, p).
        max_step: Longest integration step, in the user's units; shorter ones are taken where the
            drift is too stiff for it.
        diffusion_scale: Multiple of L = √C.
        uncertainty: Of the drift.
        point: θ is a point: one reading of it serves all draws.
        region: In which the drift was learned; None: everywhere.
        layout: `batched` and `has_channel` of the `Forecast`.
    """
    ndim = model.grid.ndim
    scaled = (y0 / scaling.field_scale(y0, ndim)).to(place_of(model)[0])
    clock = np.asarray(times, dtype=np.float64)
    starts_late = clock[0] > t0
    full = np.concatenate([[t0], clock]) if starts_late else clock
    knots, asked = _evened(full)
    t = torch.as_tensor(knots / scaling.time, device=y0.device).expand(len(y0), -1)
    longest = math.inf if max_step is None else max_step / scaling.time
    drawn, read, paths = [], [], []
    boxes: list[Tensor] = []
    share = -(-num_samples // num_theta)
    at_once = num_theta if point else 1  # draws of the jackknife that share one θ
    changes: dict[str, Tensor] = {}
    for first in range(0, num_theta, at_once):
        sites = guide.read_theta()
        theta = model.read_parameters(sites)
        mean, cov = guide.encode(scaled, sites, theta.operators, parameters)
        noise = torch.randn(at_once * share, *mean.shape).to(mean)
        start = sample_moments(mean, cov, noise)
        drift: Callable[..., Tensor] = partial(theta.drift, parameters=parameters)
        if uncertainty is not None:
            changes = changes or uncertainty.draws(num_theta)
            own = {k: d[first : first + at_once].to(mean) for k, d in changes.items()}
            each = {k: d.repeat_interleave(share, 0) for k, d in own.items()}
            drift = partial(moved(theta.drift, each), parameters=parameters)
        if region is not None:
            own_region = region.to(mean).around(mean, model)
            drift = confined(drift, own_region, model)
            boxes += [own_region.box] * at_once
            longest = min(longest, LONGEST_STEP)
        diffusion = theta.diffusion * diffusion_scale**2
        step = min(longest, max(SHORTEST_STEP, stable_step(drift, mean, t[:, 0])))
        path = integrate(drift, diffusion, start, t, max_step=step)[..., asked, :]
        path = path[..., 1:, :] if starts_late else path
        paths.append(path.unflatten(0, (at_once, share)))
        # A forecast decodes when asked: later training must not reach into it.
        drawn += [theta._replace(decoder=deepcopy(theta.decoder))] * at_once
        read += [{name: value.detach().cpu() for name, value in sites.items()}] * at_once
    return Forecast(
        times=clock,
        paths=torch.cat(paths).cpu(),
        batched=layout["batched"],
        has_channel=layout["has_channel"],
        model=model,
        theta=drawn,
        scaling=scaling,
        region=torch.stack(boxes).cpu() if boxes else None,
        sites=read,
    )


def _evened(times: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """The times with long gaps divided, since all gaps get as many steps; and where they are."""
    gaps = np.diff(times)
    parts = np.ceil(gaps / np.median(gaps) - 1e-6).astype(int) if len(gaps) else gaps.astype(int)
    pieces = [
        np.linspace(a, b, n, endpoint=False)
        for a, b, n in zip(times, times[1:], parts, strict=False)
    ]
    return np.concatenate([*pieces, times[-1:]]), [0, *np.cumsum(parts).tolist()]
