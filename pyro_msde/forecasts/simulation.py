"""Forecasts from snapshots: encode, filter, integrate the latent SDE, decode (App. F).

They come right from several threads, and while others train: draws take generators of their own,
networks are copied, and Pyro has a part in it only where a guide draws θ, before all else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from pyro_msde.data import Inputs, Metadata, Scaling, without_gaps
from pyro_msde.forecasts.filtering import FEWEST_MEMBERS, filtered
from pyro_msde.forecasts.posterior_predictive import Forecast
from pyro_msde.forecasts.readings import (
    Encoded,
    Reading,
    draws_of_theta,
    opposite_blocks,
    readings,
)
from pyro_msde.forecasts.region import Region
from pyro_msde.forecasts.residual_memory import Residual, ResidualMemory
from pyro_msde.forecasts.trust import Trust, doubt, start_misfit
from pyro_msde.isolation import place_of
from pyro_msde.memory import memory_kept
from pyro_msde.protocols import Adjustment, Guide, Model, Solver
from pyro_msde.sde import opposites

__all__ = ["forecast"]

A = TypeVar("A")

_MOST_BYTES = 2**33  # of a forecast's paths, or of one snapshot's fields at all of them


@memory_kept()
@torch.no_grad()
def forecast(
    model: Model,
    guide: Guide,
    scaling: Scaling,
    y0: Tensor,
    times: np.ndarray,
    *,
    times0: np.ndarray,
    t0: float | np.ndarray,
    num_samples: int,
    num_theta: int,
    seed: int,
    inputs: Inputs,
    max_step: float | None,
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
        y0: (batch, snapshot, channel, *space) float64, in the user's units.
        times: (time,) float64, not before t0; counted from t0 where that is a row.
        times0: (batch or 1, snapshot) times of y0.
        t0: Time of the last of them, or (batch,) of each.
        num_samples: Paths altogether, rounded up to equal shares.
        num_theta: Draws of θ among which they are shared out, or of random adjustments.
        seed: Of all draws.
        inputs: Covariates and controls of each.
        max_step: Longest integration step, in the user's units.
        adjustments: Of the latent SDE, in their order.
        solver: Of the latent SDE; None: the cheaper of two rules, with shorter steps where the
            drift is too stiff for `max_step`.
        point: θ is a point: one reading of it serves all draws.
        layout: `batched` and `has_channel` of the `Forecast`.
        metadata: Of the training data; None: not known.

    Raises:
        ValueError: Paths of too many steps, more of them than memory has room for, or too few to
            take in several snapshots.
    """
    share = -(-num_samples // num_theta)
    dtype = place_of(model)[0]
    _check_size(model, share * num_theta, len(y0), len(times), dtype.itemsize)
    when = np.broadcast_to(times0, y0.shape[:2])
    snapshots = []
    for i in range(y0.shape[1]):
        scaled, observed = encodable(model, scaling, y0[:, i], when[:, i])
        expected = observed
        if observed is not None:
            expected = scaling.with_never_observed(observed, model.grid.padding)
        now = inputs.of_fields(torch.tensor(when[:, i : i + 1] / scaling.time, device=y0.device))
        beside = None if now is None else now[:, 0]
        snapshots.append(Encoded(scaled, observed, expected, beside))
    clock = np.asarray(times, dtype=np.float64)
    starts = t0 if isinstance(t0, np.ndarray) else None
    zero = t0 if starts is None else 0.0
    starts_late = clock[0] > zero
    full = np.concatenate([[zero], clock]) if starts_late else clock
    full = full if starts is None else starts[:, None] + full
    t = torch.as_tensor(full / scaling.time, device=y0.device).expand(len(y0), -1)
    at_once = num_theta if point else 1  # draws of random adjustments that share one θ
    draws, generator = draws_of_theta(guide, num_theta // at_once, seed, y0.device)
    members: Iterable[Reading] = readings(
        model,
        guide,
        snapshots[0],
        draws,
        at_once=at_once,
        share=share,
        adjustments=adjustments,
        generator=generator,
    )
    integrated = partial(
        Reading.paths,
        inputs=inputs,
        max_step=None if max_step is None else max_step / scaling.time,
        solver=solver,
        generator=generator,
    )
    if len(snapshots) > 1:
        if num_samples < FEWEST_MEMBERS:
            raise ValueError(
                f"num_samples: {num_samples} paths are too few to tell what several snapshots say. "
                f"Ask for {FEWEST_MEMBERS} or more, or start from one snapshot."
            )
        past = torch.as_tensor(times0 / scaling.time, device=y0.device).expand(len(y0), -1)
        moved = partial(integrated, independent=True)
        members = filtered(list(members), guide, snapshots, past, moved, generator)
    trust, region = _kind(adjustments, Trust), _kind(adjustments, Region)
    memory = _kind(adjustments, ResidualMemory)
    drawn, read, paths, misfits, rates, begun, terms = [], [], [], [], [], [], []
    for member in members:
        if trust is not None:
            rates.append(_rates(trust.to(member.dynamics.start), member, at_once))
        law = member.theta.observe(member.dynamics.encoded)
        misfits.append(start_misfit(law, snapshots[-1].values, snapshots[-1].observed))
        member = member.with_its_spread()
        if memory is not None:
            begun.append(member.dynamics.start.unflatten(0, (at_once, share)))
        path = integrated(member, t)
        path = path[..., 1:, :] if starts_late else path
        paths.append(path.unflatten(0, (at_once, share)))
        drawn += [member.theta] * at_once
        sites = {name: value.detach().cpu() for name, value in member.sites.items()}
        read += [sites] * at_once
        if member.dynamics.coefficients is not None:
            terms.append(member.dynamics.coefficients.cpu())
    everything, departure = torch.cat(paths).cpu(), None
    if trust is not None:
        lasts = float(t[0, -1] - t[0, 0])
        departure = trust.to(rates[0]).departure(torch.stack(rates).mean(0), lasts)
    residual = None
    if memory is not None:
        elapsed = t[:, int(starts_late) :] - t[:, :1]
        last = snapshots[-1]
        states = torch.cat(begun)
        kept = memory.at(elapsed).expand(len(states), *elapsed.shape, -1)
        residual = Residual(last.values, last.observed, states, kept)
    reference = None
    if scaling.reference:
        valid = clock[None] if starts is None else starts[:, None] + clock
        reference = scaling.reference_at(valid, everything)
    return Forecast(
        times=clock,
        starts=starts,
        history=y0.shape[1],
        residual=residual,
        opposites=_opposites(at_once, share, len(draws)),
        paths=everything,
        batched=layout["batched"],
        has_channel=layout["has_channel"],
        model=model,
        theta=drawn,
        scaling=scaling,
        signs=doubt(
            trust,
            everything,
            box=None if region is None else region.box,
            misfit=torch.stack(misfits).mean(0),
            departure=departure,
        ),
        sites=read,
        coefficients=torch.cat(terms) if terms else None,
        metadata=metadata,
        reference=reference,
    )


def _opposites(at_once: int, share: int, num_theta: int) -> Tensor | None:
    """As in `Forecast`."""
    blocks = opposite_blocks(at_once, share, num_theta)
    paths = at_once * share
    return opposites(paths, paths // blocks) if blocks > 1 else None


def _rates(trust: Trust, member: Reading, at_once: int) -> Tensor:
    """The drift of a reading where what was learned is known, by trajectory and time."""
    states = trust.states.flatten(0, 1)
    there = member.started_at(states.expand(at_once, -1, -1), states)
    return trust.rates_under(there.dynamics.drift)


def _kind(adjustments: Sequence[Adjustment], kind: type[A]) -> A | None:
    """The adjustment of a class; None: there is none."""
    return next((a for a in adjustments if isinstance(a, kind)), None)


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
