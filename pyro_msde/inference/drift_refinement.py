"""Learning the drift where the model's own paths go, once the ELBO is where it ends.

The drift residual (`pyro_msde.sde.drift_residual`) teaches γ at states drawn around the encoded
paths, in random directions. There are as many of these as states, while the error of a forecast
grows along a few, those in which the flow is least stable. What γ does there is hardly ever asked
for, and a forecast that has left along them does not come back: a limit cycle that is learned in
this way may be an unstable one.

Here all that encodes is held, so that trajectories are encoded once and a step costs what
the drift does. At half of the states the drift is asked for as before. The other half are where
paths of the learned SDE are now that began at q(z|t): they follow the learned drift, and so find
the directions in which it errs. At such a state z, for the time at which μ(t) is nearest to it,
the goal is μ̇ − B (z − μ), the linear SDE of marginals that are wider than the guide's.

Before that a guide that can chooses its interpolation anew, by what predicts encoded snapshots
best: under the ELBO it is too smooth as long as the drift is not learned, and the drift can be no
better than the rates μ̇ that it is taught.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_msde.data import Segments
from pyro_msde.inference.optimiser import GradientClipping, parameter_groups, set_rates
from pyro_msde.networks import drift_of
from pyro_msde.priors import part_of
from pyro_msde.protocols import BoundModel, ChoosesInterpolation, Guide, Model
from pyro_msde.runs import Recipe
from pyro_msde.sde import VALIDATION_STEP, Moments, integrate, linear_drift, sample_moments

__all__ = ["refine_drift"]

_LOG = logging.getLogger(__name__)

_PATHS = 32
_WIDTH = 2.0  # of the marginals that say how fast a path is to come back
_FARTHEST = 0.2  # of the encoded states' size about their mean: paths beyond start anew
_MOST_NUMBERS = 2**26  # of encoded states that are held at once
_TO_INTERPOLATE = 16  # segments by which a guide chooses its interpolation
_MARGIN = 16  # of a segment: its share at either end, where interpolation is least certain


@dataclass(frozen=True)
class _Encoded:
    """Moments of q(z|t) at observations of all trajectories, in overlapping stretches.

    Attributes:
        times: (stretch, time) float64.
        moments: Of (stretch, time, latent), diagonal.
        covariates: (stretch, p), or None.
    """

    times: Tensor
    moments: Moments
    covariates: Tensor | None

    def at(self, rows: Tensor, places: Tensor) -> Moments:
        """Those of stretches (n,) at times (n,), as (n, 1, latent)."""
        return Moments(*(x[rows, places][:, None] for x in self.moments))

    def covariates_of(self, rows: Tensor) -> Tensor | None:
        """(n, p) of stretches (n,)."""
        return None if self.covariates is None else self.covariates[rows]


def refine_drift(
    model: Model,
    guide: Guide,
    segments: Segments,
    recipe: Recipe,
    *,
    steps: int,
    stop: Callable[[], bool] = bool,
) -> bool:
    """Train the drift, in place, on the guide's tube and along the model's own paths.

    The guide chooses its interpolation before, where it can (`ChoosesInterpolation`).

    The noise is torch's own.

    Args:
        model: Trained. Its drift has no prior.
        guide: Trained with it.
        segments: The training data in scaled units.
        recipe: Of which rates, decay and clipping are read.
        steps: So many.
        stop: Asked before each step.

    Returns:
        Whether that was done. The weights are as they were where the drift has a prior or nothing
        to train, where a stop was asked for, and where the loss stopped being finite.
    """
    part = part_of(model, "drift")
    drift: Any = drift_of(model)
    if part is None or part.is_random or not any(True for _ in drift.parameters()):
        _LOG.info("The drift is not refined: it has a prior, or nothing to train.")
        return False
    before = [{k: v.clone() for k, v in m.state_dict().items()} for m in (drift, guide)]
    done = False
    try:
        done = _learned(model, guide, segments, recipe, steps, stop)
    finally:  # whatever ends it early
        if not done:
            for module, weights in zip((drift, guide), before, strict=True):
                module.load_state_dict(weights)
    return done


def _learned(
    model: Model,
    guide: Guide,
    segments: Segments,
    recipe: Recipe,
    steps: int,
    stop: Callable[[], bool],
) -> bool:
    """Choose the interpolation and train the drift; whether that went well to its end."""
    drift: Any = drift_of(model)
    with torch.no_grad():
        bound = model.bind(guide.read_theta())
        if isinstance(guide, ChoosesInterpolation):
            batches = (segments.gather([place]) for place in _spread(segments, _TO_INTERPOLATE))
            guide.choose_interpolation([b.to(bound.diffusion.device) for b in batches], bound)
        encoded = _encoded(guide, bound, segments)
    own = {id(p) for p in drift.parameters()}
    groups = [
        {**group, "params": [p for p in group["params"] if id(p) in own]}
        for group in parameter_groups(model, guide, recipe)
    ]
    optimiser = torch.optim.AdamW([group for group in groups if group["params"]])
    clip = None if recipe.clip is None else GradientClipping(recipe.clip)
    paths = _Paths(bound, encoded)
    for step in range(steps):
        if stop():
            return False
        set_rates(optimiser, recipe, step, steps)
        paths.advance()
        loss = _loss(bound, encoded, paths)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if clip is not None:
            clip(p for group in optimiser.param_groups for p in group["params"])
        optimiser.step()
    if all(bool(p.isfinite().all()) for p in drift.parameters()):
        return True
    _LOG.warning("The drift is not refined: its loss stopped being finite.")
    return False


def _encoded(guide: Guide, bound: BoundModel, segments: Segments) -> _Encoded:
    """Encode stretches that overlap by half, and leave out their ends."""
    length = segments.span // segments.stride + 1
    places = _spread(segments, _MOST_NUMBERS // (length * bound.diffusion.numel()))
    margin = length // _MARGIN
    inner = slice(margin, length - margin)
    found: list[Any] = []
    for place in places:
        batch = segments.gather([place]).to(bound.diffusion.device)
        moments = guide.path_marginals(batch, bound).at_times
        if moments.cov.ndim > moments.mean.ndim:  # of each state by itself
            diagonals = (x.diagonal(dim1=-2, dim2=-1) for x in moments[2:])
            moments = Moments(moments.mean, moments.mean_dot, *diagonals)
        covariates = [] if batch.covariates is None else [batch.covariates]
        like = moments.mean
        rows = [x.to(like).expand_as(like)[:, inner] for x in moments]
        found.append((batch.times[:, inner], *rows, *covariates))
    times, *rest = (torch.cat(x) for x in zip(*found, strict=True))
    return _Encoded(times, Moments(*rest[:4]), rest[4] if len(rest) > 4 else None)


def _spread(segments: Segments, most: int) -> list[tuple[int, int]]:
    """Segments, (trajectory, start), that overlap by half; at most so many, evenly spaced."""
    places = []
    for k, times in enumerate(segments.times):
        last = len(times) - 1 - segments.span
        starts = range(0, last, max(1, segments.span // 2))
        places += [(k, start) for start in (*starts, last)]
    return places[:: -(-len(places) // max(1, most))]


class _Paths:
    """Paths of the SDE as it is now, each beside a stretch of an encoded one.

    Attributes:
        rows: (path,) its stretch.
        places: (path,) which of its times has the nearest μ.
        states: (path, latent).
    """

    def __init__(self, bound: BoundModel, encoded: _Encoded) -> None:
        self.bound, self.encoded = bound, encoded
        mean = encoded.moments.mean
        device = mean.device
        spread = (mean - mean.mean((0, 1))).square() / bound.diffusion
        self.farthest = _FARTHEST * spread.sum(-1).mean().sqrt()
        self.rows = torch.zeros(_PATHS, dtype=torch.int64, device=device)
        self.places = torch.zeros(_PATHS, dtype=torch.int64, device=device)
        self.states = mean.new_zeros(_PATHS, mean.shape[-1])
        self._start(torch.ones(_PATHS, dtype=torch.bool, device=device))

    def _start(self, which: Tensor) -> None:
        """Those paths begin anew, anywhere."""
        rows, places = _drawn(self.encoded, len(which))
        moments = self.encoded.at(rows, places)
        new = sample_moments(moments.mean, moments.cov, torch.randn_like(moments.mean))[:, 0]
        self.rows = torch.where(which, rows, self.rows)
        self.places = torch.where(which, places, self.places)
        self.states = torch.where(which[:, None], new, self.states)

    @torch.no_grad()
    def advance(self) -> None:
        """Go on to the next observation; paths that are far off or at the end start anew."""
        times, last = self.encoded.times, self.encoded.times.shape[1] - 1
        self._start(self.places >= last)
        covariates = self.encoded.covariates_of(self.rows)

        def drift(z: Tensor, t: Tensor) -> Tensor:
            return self.bound.drift(z, t, covariates=covariates)

        ahead = torch.stack([times[self.rows, self.places + k] for k in (0, 1)], -1)
        paths = integrate(drift, self.bound.diffusion, self.states, ahead, max_step=VALIDATION_STEP)
        self.states = paths[:, -1]
        near = (self.places[:, None] + torch.arange(3, device=times.device)).clamp(max=last)
        away = self.states[:, None] - self.encoded.moments.mean[self.rows[:, None], near]
        distance = (away.square() / self.bound.diffusion).sum(-1).sqrt()
        least = distance.min(1)
        self.places = near.gather(1, least.indices[:, None])[:, 0]
        self._start(~(least.values < self.farthest))


def _drawn(encoded: _Encoded, count: int) -> tuple[Tensor, Tensor]:
    """So many stretches and times in them, but their last ones."""
    stretches, length = encoded.times.shape
    device = encoded.times.device
    rows = torch.randint(stretches, (count,), device=device)
    return rows, torch.randint(max(1, length - 1), (count,), device=device)


def _loss(bound: BoundModel, encoded: _Encoded, paths: _Paths) -> Tensor:
    """Mean of ‖r‖²_{C⁻¹} over states of the tube and of the paths, and their mirror images."""
    diffusion = bound.diffusion.detach()
    rows, places = _drawn(encoded, _PATHS)
    tube = encoded.at(rows, places)
    drawn = tube.cov.sqrt() * torch.randn_like(tube.mean)
    beside = encoded.at(paths.rows, paths.places)
    wide = beside._replace(cov=_WIDTH**2 * beside.cov, cov_dot=_WIDTH**2 * beside.cov_dot)
    moments = Moments(*(torch.cat(both) for both in zip(tube, wide, strict=True)))
    away = torch.cat([drawn, paths.states[:, None] - beside.mean])
    z = moments.mean + torch.stack([away, -away])
    rows, places = torch.cat([rows, paths.rows]), torch.cat([places, paths.places])
    found = bound.drift(
        z, encoded.times[rows, places][:, None], covariates=encoded.covariates_of(rows)
    )
    residual = linear_drift(moments, z, diffusion) - found
    return (residual.square() / diffusion).sum(-1).mean()
