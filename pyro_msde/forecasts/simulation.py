"""Forecasts from initial fields: encode, integrate the latent SDE, decode (App. F).

They come right from several threads, and while others train: draws take generators of their own,
networks are copied, and Pyro has a part in it only where a guide draws θ, before all else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_msde.data import Metadata, Scaling
from pyro_msde.forecasts.posterior_predictive import Forecast
from pyro_msde.forecasts.region import LONGEST_STEP, Region, confined
from pyro_msde.inference import Jackknife, moved
from pyro_msde.isolation import Isolation, exclusive, place_of
from pyro_msde.priors import private
from pyro_msde.sde import integrate, sample_moments, stable_step

__all__ = ["SHORTEST_STEP", "forecast"]

SHORTEST_STEP = 1 / 50_000  # of the training horizon: a step that no sensible drift needs

_MOST_BYTES = 2**33  # of a forecast's paths, or of one snapshot's fields at all of them


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
    seed: int,
    parameters: Tensor | None = None,
    max_step: float | None = None,
    diffusion_scale: float = 1.0,
    region: Region | None = None,
    uncertainty: Jackknife | None = None,
    point: bool,
    layout: Mapping[str, bool],
    metadata: Metadata | None = None,
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
        seed: Of all draws.
        parameters: (batch, p).
        max_step: Longest integration step, in the user's units; shorter ones are taken where the
            drift is too stiff for it.
        diffusion_scale: Multiple of L = √C.
        region: In which the drift was learned; None: everywhere.
        uncertainty: Of the drift.
        point: θ is a point: one reading of it serves all draws.
        layout: `batched` and `has_channel` of the `Forecast`.
        metadata: Of the training data; None: not known.

    Raises:
        ValueError: Paths of too many steps, or more of them than memory has room for.
    """
    share = -(-num_samples // num_theta)
    dtype = place_of(model)[0]
    _check_size(model, share * num_theta, len(y0), len(times), dtype.itemsize)
    scaled = (y0 / scaling.field_scale(y0, model.grid.ndim)).to(dtype)
    clock = np.asarray(times, dtype=np.float64)
    starts_late = clock[0] > t0
    full = np.concatenate([[t0], clock]) if starts_late else clock
    t = torch.as_tensor(full / scaling.time, device=y0.device).expand(len(y0), -1)
    longest = math.inf if max_step is None else max_step / scaling.time
    longest = longest if region is None else min(longest, LONGEST_STEP)
    at_once = num_theta if point else 1  # draws of the jackknife that share one θ
    draws, generator = _draws_of_theta(guide, num_theta // at_once, seed, y0.device)
    changes: dict[str, Tensor] = {}
    drawn, read, paths, boxes = [], [], [], []
    for first, sites in zip(range(0, num_theta, at_once), draws, strict=True):
        with exclusive():
            theta = private(model.bind(sites))
            mean, cov = guide.encode(scaled, theta, parameters)
        noise = torch.randn(
            at_once * share, *mean.shape, generator=generator, dtype=torch.float32
        ).to(mean)
        start = sample_moments(mean, cov, noise)
        drift: Callable[..., Tensor] = partial(theta.drift, parameters=parameters)
        if uncertainty is not None:
            changes = changes or uncertainty.draws(num_theta, generator)
            own = {k: d[first : first + at_once].to(mean) for k, d in changes.items()}
            each = {k: d.repeat_interleave(share, 0) for k, d in own.items()}
            drift = partial(moved(theta.drift, each), parameters=parameters)
        if region is not None:
            own_region = region.to(mean).around(mean, model)
            drift = confined(drift, own_region, model)
            boxes += [own_region.box] * at_once
        stable = stable_step(drift, mean, t[:, 0], generator=generator)
        path = integrate(
            drift, theta.diffusion * diffusion_scale**2, start, t,
            max_step=min(longest, max(SHORTEST_STEP, stable)), generator=generator,
        )  # fmt: skip
        path = path[..., 1:, :] if starts_late else path
        paths.append(path.unflatten(0, (at_once, share)))
        drawn += [theta] * at_once
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
        metadata=metadata,
    )


def _draws_of_theta(
    guide: Any, count: int, seed: int, device: torch.device
) -> tuple[list[dict[str, Tensor]], torch.Generator]:
    """Values of the guide's sites at each draw, and the generator that goes on from there."""
    generator = torch.Generator()
    if getattr(guide, "theta", guide) is None:
        return [{}] * count, generator.manual_seed(seed)
    isolation = Isolation(seed, device)
    with isolation.turn():
        draws = [dict(guide.read_theta()) for _ in range(count)]
    return draws, generator.set_state(isolation.state[0])


def _check_size(model: Any, paths: int, batch: int, times: int, size: int) -> None:
    """Paths that memory may have room for.

    Raises:
        ValueError: They are too many.
    """
    field = model.grid.channels * model.grid.num_points
    need = paths * batch * max(times * model.num_latent, field) * size
    if need > _MOST_BYTES:
        raise ValueError(
            f"num_samples: {paths:,} paths from {batch:,} initial fields at {times:,} times "
            f"take {need / 2**30:,.0f} GiB, and {_MOST_BYTES / 2**30:.0f} are the most. Ask for "
            "fewer at a time."
        )
