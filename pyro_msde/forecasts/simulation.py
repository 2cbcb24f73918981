"""Forecasts from initial fields: encode, integrate the latent SDE, decode (App. F).

They come right from several threads, and while others train: draws take generators of their own,
networks are copied, and Pyro has a part in it only where a guide draws θ, before all else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from pyro_msde.data import Metadata, Scaling, without_gaps
from pyro_msde.forecasts.posterior_predictive import Forecast
from pyro_msde.isolation import Isolation, exclusive, place_of
from pyro_msde.priors import private
from pyro_msde.protocols import Adjustment, Guide, Model, Solver
from pyro_msde.sde import SHORTEST_STEP, Dynamics, integrate, sample_moments, stable_step

__all__ = ["forecast"]

_MOST_BYTES = 2**33  # of a forecast's paths, or of one snapshot's fields at all of them


@torch.no_grad()
def forecast(
    model: Model,
    guide: Guide,
    scaling: Scaling,
    y0: Tensor,
    times: np.ndarray,
    *,
    t0: float | np.ndarray,
    num_samples: int,
    num_theta: int,
    seed: int,
    covariates: Tensor | None = None,
    max_step: float,
    adjustments: Sequence[Adjustment] = (),
    solver: Solver | None = None,
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
        times: (time,) float64, not before t0; counted from t0 where that is a row.
        t0: Time of y0, or (batch,) of each.
        num_samples: Paths altogether, rounded up to equal shares.
        num_theta: Draws of θ among which they are shared out, or of random adjustments.
        seed: Of all draws.
        covariates: (batch, p).
        max_step: Longest integration step, in the user's units.
        adjustments: Of the latent SDE, in their order.
        solver: Of the latent SDE; None: the midpoint rule, with shorter steps where the drift is
            too stiff for `max_step`.
        point: θ is a point: one reading of it serves all draws.
        layout: `batched` and `has_channel` of the `Forecast`.
        metadata: Of the training data; None: not known.

    Raises:
        ValueError: Paths of too many steps, or more of them than memory has room for.
    """
    share = -(-num_samples // num_theta)
    dtype = place_of(model)[0]
    _check_size(model, share * num_theta, len(y0), len(times), dtype.itemsize)
    scaled, observed = encodable(model, scaling, y0, np.full(len(y0), t0))
    seen = {}
    if observed is not None:
        seen["observed"] = scaling.with_never_observed(observed, model.grid.padding)
    clock = np.asarray(times, dtype=np.float64)
    starts = t0 if isinstance(t0, np.ndarray) else None
    zero = t0 if starts is None else 0.0
    starts_late = clock[0] > zero
    full = np.concatenate([[zero], clock]) if starts_late else clock
    full = full if starts is None else starts[:, None] + full
    t = torch.as_tensor(full / scaling.time, device=y0.device).expand(len(y0), -1)
    longest = max_step / scaling.time
    at_once = num_theta if point else 1  # draws of random adjustments that share one θ
    draws, generator = _draws_of_theta(guide, num_theta // at_once, seed, y0.device)
    before: Tensor | None = None  # the generator, before the first draw's adjustments
    drawn, read, paths, boxes = [], [], [], []
    for first, sites in zip(range(0, num_theta, at_once), draws, strict=True):
        with exclusive():
            theta = private(model.bind(sites))
            mean, cov = guide.encode(scaled, theta, covariates, **seen)
        noise = torch.randn(
            at_once * share, *mean.shape, generator=generator, dtype=torch.float32
        ).to(mean)
        start = sample_moments(mean, cov, noise)
        stream = generator if before is None else torch.Generator().set_state(before)
        before = stream.get_state()
        dynamics = Dynamics(
            model,
            theta.drift,
            theta.diffusion,
            mean,
            start,
            stream,
            draws=range(first, first + at_once),
            num_draws=num_theta,
        )
        for adjustment in adjustments:
            dynamics = adjustment.apply(dynamics)
        if dynamics.box is not None:
            boxes += [dynamics.box] * at_once
        drift, step = partial(dynamics.drift, covariates=covariates), longest
        if solver is None:
            stable = stable_step(drift, mean, t[:, 0], generator=generator)
            step = min(longest, dynamics.longest_step, max(SHORTEST_STEP, stable))
        path = (solver or integrate)(
            drift, dynamics.diffusion, dynamics.start, t, max_step=step, generator=generator
        )
        if path.shape != (*dynamics.start.shape[:-1], t.shape[-1], mean.shape[-1]):
            raise ValueError(
                f"solver: paths {tuple(path.shape)}. Return (path, row, time, latent), here "
                f"{(*dynamics.start.shape[:-1], t.shape[-1], mean.shape[-1])}."
            )
        path = path[..., 1:, :] if starts_late else path
        paths.append(path.unflatten(0, (at_once, share)))
        drawn += [theta] * at_once
        read += [{name: value.detach().cpu() for name, value in sites.items()}] * at_once
    reference = None
    if scaling.reference:
        valid = clock[None] if starts is None else starts[:, None] + clock
        reference = scaling.reference_at(valid, paths[0].cpu())
    return Forecast(
        times=clock,
        starts=starts,
        paths=torch.cat(paths).cpu(),
        batched=layout["batched"],
        has_channel=layout["has_channel"],
        model=model,
        theta=drawn,
        scaling=scaling,
        region=torch.stack(boxes).cpu() if boxes else None,
        sites=read,
        metadata=metadata,
        reference=reference,
    )


def encodable(
    model: Model, scaling: Scaling, fields: Tensor, times: np.ndarray
) -> tuple[Tensor, Tensor | None]:
    """Fields as a guide encodes them: in scaled units and the model's dtype, gaps filled in.

    Args:
        model: Whose grid and dtype are taken.
        scaling: Units.
        fields: (batch, channel, *space) in the user's units, NaN where nothing was observed.
        times: (batch,) theirs, in the user's units.

    Returns:
        The scaled fields on the model's grid, and a bool mask shaped alike of what was observed;
        None: everything.
    """
    scaled = scaling.to_scaled(fields, times).to(place_of(model)[0])
    return without_gaps(scaled, fields, model.grid)


def _draws_of_theta(
    guide: Guide, count: int, seed: int, device: torch.device
) -> tuple[list[dict[str, Tensor]], torch.Generator]:
    """Values of the guide's sites at each draw, and the generator that goes on from there."""
    generator = torch.Generator()
    if getattr(guide, "theta", guide) is None:  # others may draw θ though they do not say so
        return [{}] * count, generator.manual_seed(seed)
    isolation = Isolation(seed, device)
    with isolation.turn():
        draws = [dict(guide.read_theta()) for _ in range(count)]
    return draws, generator.set_state(isolation.state[0])


def _check_size(model: Model, paths: int, batch: int, times: int, size: int) -> None:
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
