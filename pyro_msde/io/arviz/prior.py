"""Draws from the model's prior: θ, where parts have one, and paths and fields that follow from it.

Parts without a prior are as trained. A drift drawn from its prior may be unstable; values that are
not finite are NaN, and how many paths have some is an attribute.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pyro import poutine

from pyro_msde.data import (
    Inputs,
    SegmentBatch,
    StratifiedQuadrature,
    Trajectories,
    inputs_of,
)
from pyro_msde.forecasts import Forecast
from pyro_msde.io.arviz.fields import insert, predictive
from pyro_msde.io.arviz.frame import Frame, Variable
from pyro_msde.io.arviz.parameters import Draws
from pyro_msde.io.arviz.snapshots import Selection
from pyro_msde.isolation import place_of
from pyro_msde.protocols import FittedModel, Model
from pyro_msde.sde import FORECAST_STEP, LatentSDE

__all__ = ["log_prior", "prior_draws", "prior_fields"]

Array = NDArray[Any]


@torch.no_grad()
def prior_draws(model: Model, count: int) -> Draws:
    """Draws of θ from its prior; a single θ, repeated, if no part has one."""
    drawn, read = [], []
    for _ in range(count):
        trace = poutine.trace(model.bind).get_trace()
        sites: dict[str, Any] = {k: trace.nodes[k]["value"] for k in trace.stochastic_nodes}
        drawn.append(model.bind(sites))
        read.append({name: value.cpu() for name, value in sites.items()})
        if not sites:
            return Draws(drawn, read, count)
    return Draws(drawn, read, 1)


@torch.no_grad()
def log_prior(model: Model, draws: Draws) -> dict[str, Variable]:
    """The prior's log density of each draw of θ, by site of a part with a prior."""
    densities: dict[str, list[float]] = {}
    for _, sites, _ in draws:
        program = poutine.condition(model.bind, data=sites)
        trace = poutine.trace(program).get_trace()
        trace.compute_log_prob()
        for name in sites:
            densities.setdefault(name, []).append(float(trace.nodes[name]["log_prob_sum"]))
    return {
        name: (("chain", "draw"), draws.repeated(torch.tensor(values).double()), {"units": "nats"})
        for name, values in densities.items()
    }


def prior_fields(
    fit: FittedModel, chosen: Selection, draws: Draws, frame: Frame, seed: int
) -> tuple[dict[str, Variable], dict[str, int]]:
    """Fields at the probes and states of paths of the prior, at the times of the snapshots.

    Args:
        fit: The `Fit`.
        chosen: Whose times, covariates and controls are taken.
        draws: Of θ, from `prior_draws`.
        frame: Axes and units.
        seed: Of the fields' noise; that of the paths follows torch's seed.

    Returns:
        Variables, and as attributes how many paths there are and how many of them have values that
        are not finite.
    """
    out: dict[str, Variable] = {}
    count = {"paths": 0, "paths_not_finite": 0}
    for rows in chosen.rows():
        fc = _simulated(fit, chosen, rows, draws)
        variables, _ = predictive(fc, frame, seed + int(rows[0]), moments=False)
        bad = np.zeros((draws.count, len(rows)), dtype=bool)
        for name, (dims, values, attrs) in variables.items():
            good = np.isfinite(values)
            if name == frame.name:
                good |= ~frame.at_probes(frame.exists)
            bad |= ~good[0].all(axis=tuple(range(2, values.ndim - 1)))
            insert(out, name, (dims, np.where(good, values, np.nan), attrs), rows, chosen.shape)
        count["paths"] += bad.size
        count["paths_not_finite"] += int(bad.sum())
    return out, count


@torch.no_grad()
def _simulated(fit: FittedModel, chosen: Selection, rows: Array, draws: Draws) -> Forecast:
    """Paths of the prior for trajectories with common times, as a forecast holds them."""
    test, picked = chosen.test, chosen.picked
    batch = _batch(fit, picked, inputs_of(test[rows], fit.scaling), rows)
    paths = []
    for theta, _, _ in draws:
        law = fit.model.path_law(theta, batch)
        scaled = LatentSDE(
            law.drift,
            law.diffusion * fit.diffusion_scale**2,
            law.times,
            initial_mean=law.initial_mean,
            initial_var=law.initial_var,
            max_step=FORECAST_STEP,
            noise_axes=law.noise_axes,
        )
        paths.append(scaled.rsample((draws.repeats,)))
    times, reference = picked.times[int(rows[0])], None
    if fit.scaling.reference:
        reference = fit.scaling.reference_at(times[None], torch.empty(0))
    return Forecast(
        times=times,
        paths=torch.stack(paths).cpu(),
        batched=True,
        has_channel=fit.has_channel,
        model=fit.model,
        theta=draws.theta,
        scaling=fit.scaling,
        reference=reference,
    )


def _batch(fit: FittedModel, picked: Trajectories, inputs: Inputs, rows: Array) -> SegmentBatch:
    """The trajectories' times, covariates and controls, as the model's program takes them."""
    dtype, device = place_of(fit.model)
    times = torch.as_tensor(picked.times[int(rows[0])] / fit.scaling.time).to(device)
    times = times.expand(len(rows), -1)
    values = torch.zeros(0, dtype=dtype, device=device)
    return SegmentBatch(
        times=times,
        values=values,
        observation_weight=torch.ones(times.shape, dtype=dtype, device=device),
        initial_weight=torch.ones(len(rows), dtype=dtype, device=device),
        quadrature=StratifiedQuadrature(times, torch.ones_like(times[:, 1:]), shared_offsets=True),
        num_segments=len(rows),
        shared_offsets=True,
        observations=torch.zeros(times.shape, dtype=torch.int64),
        inputs=inputs.to(values),
    )
