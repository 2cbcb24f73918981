"""Last weights of the drift by least squares, once the ELBO is where it ends.

Given the guide, the drift residual (`pyro_msde.sde.drift_residual`) is quadratic in the weights W
in which a drift is linear, γ = φ(z) W + what has no such weights (`LastLayer`). Gradient steps,
each at one segment and with noise of their own, end short of its least value, the more so where
each coarse point has last weights of its own (`LocalReadout`). Here encoder and variances are held,
and W solves the normal equations

    Σ φᵀφ δ = Σ φᵀ r,    r = μ̇ − B (z − μ) − γ(z),

summed over encoded trajectories, with z drawn from the guide's marginals and from marginals twice
as wide, each with its mirror image. δ is shrunk towards zero by 10⁻⁷ of each feature's square.
Errors count alike at all points that share weights.

Before that a guide that can chooses its interpolation anew, by what predicts encoded snapshots
best: under the ELBO it is too smooth as long as the drift is not learned, and the drift can be no
better than the rates μ̇ that it is taught.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_msde.data import Segments
from pyro_msde.networks import drift_of, read_out, refusal
from pyro_msde.protocols import BoundModel, ChoosesInterpolation, Guide, Model, SolvableLastLayer
from pyro_msde.sde import Moments, linear_drift, noise_axes, turned_back

__all__ = ["refine_drift"]

_LOG = logging.getLogger(__name__)

_WIDTH = 2.0  # of the wider marginals, against the guide's
_STATES = 2**13  # at which the drift is asked for, at least
_CHUNK = 128  # times that are looked at together
_RIDGE = 1e-7  # of a feature's sum of squares
_MOST_NUMBERS = 2**26  # of encoded states that are held at once
_MOST_TIMES = 2**14  # of encoded trajectories
_TO_INTERPOLATE = 16  # segments by which a guide chooses its interpolation
_MARGIN = 16  # of a segment: its share at either end, where interpolation is least certain


@dataclass(frozen=True)
class _Encoded:
    """Moments of q(z|t) at observations of all trajectories, in overlapping stretches.

    Attributes:
        times: (stretch, time) float64.
        moments: Of (stretch, time, latent), diagonal.
        covariates: (stretch, time, p + c), with the controls at each time; None: there are none.
    """

    times: Tensor
    moments: Moments
    covariates: Tensor | None

    def at(self, rows: Tensor, places: Tensor) -> Moments:
        """Those of stretches (n,) at times (n,), as (n, 1, latent)."""
        mean, mean_dot, cov, cov_dot = (x[rows, places][:, None] for x in self.moments[:4])
        return Moments(mean, mean_dot, cov, cov_dot, self.moments.axes)

    def covariates_at(self, rows: Tensor, places: Tensor) -> Tensor | None:
        """(n, p + c) of stretches (n,) at times (n,)."""
        return None if self.covariates is None else self.covariates[rows, places]


def refine_drift(
    model: Model,
    guide: Guide,
    segments: Segments,
    *,
    stop: Callable[[], bool] = bool,
) -> bool:
    """Solve for the last weights of the drift, in place.

    The guide chooses its interpolation before, where it can (`ChoosesInterpolation`).

    The noise is torch's own.

    Args:
        model: Trained.
        guide: Trained with it.
        segments: The training data in scaled units.
        stop: Asked before each chunk of states.

    Returns:
        Whether that was done. The weights are as they were where the drift has a prior or is no
        `SolvableLastLayer`, where a stop was asked for, and where the equations have no finite
        solution.
    """
    drift: Any = drift_of(model)
    if why := refusal(model, SolvableLastLayer):
        _LOG.info("The drift is not refined: %s.", why)
        return False
    before = [{k: v.clone() for k, v in m.state_dict().items()} for m in (drift, guide)]
    done = False
    try:
        done = _learned(model, guide, segments, stop)
    finally:  # whatever ends it early
        if not done:
            for module, weights in zip((drift, guide), before, strict=True):
                module.load_state_dict(weights)
    return done


@torch.no_grad()
def _learned(model: Model, guide: Guide, segments: Segments, stop: Callable[[], bool]) -> bool:
    """Choose the interpolation and solve for the last weights; whether that went to its end."""
    drift: Any = drift_of(model)
    bound = model.bind(guide.read_theta())
    if isinstance(guide, ChoosesInterpolation):
        batches = (segments.gather([place]) for place in _spread(segments, _TO_INTERPOLATE))
        guide.choose_interpolation([b.to(bound.diffusion.device) for b in batches], bound)
    encoded = _encoded(guide, bound, segments)
    equations = _Equations(drift, bound)
    for rows, places in _chunks(encoded):
        if stop():
            return False
        moments = encoded.at(rows, places)
        for width in (1.0, _WIDTH):
            wide = _wider(moments, width)
            away = turned_back(wide.cov.sqrt() * torch.randn_like(wide.mean), wide.axes)
            covariates = encoded.covariates_at(rows, places)
            equations.add(wide, away, encoded.times[rows, places], covariates)
    if not equations.solve():
        _LOG.warning("The drift is not refined: its last weights have no finite solution.")
        return False
    return True


def _wider(moments: Moments, width: float) -> Moments:
    """Marginals so many times as wide."""
    return moments._replace(cov=width**2 * moments.cov, cov_dot=width**2 * moments.cov_dot)


def _chunks(encoded: _Encoded) -> Iterator[tuple[Tensor, Tensor]]:
    """Stretches (n,) and times in them (n,), all of them, again and again until there are many."""
    stretches, length = encoded.times.shape
    device = encoded.times.device
    places = torch.cartesian_prod(torch.arange(stretches), torch.arange(length)).to(device)
    for _ in range(-(-_STATES // (4 * len(places)))):
        for some in places.split(_CHUNK):
            yield some[:, 0], some[:, 1]


class _Equations:
    """Normal equations of a drift's last weights, that add up over states."""

    def __init__(self, drift: Any, bound: BoundModel) -> None:
        self.drift, self.diffusion, self.axes = drift, bound.diffusion, noise_axes(bound)
        self.before = {name: W.clone() for name, W in drift.readout().items()}
        self.sums = {name: _Normal() for name in self.before}

    def add(self, moments: Moments, away: Tensor, times: Tensor, covariates: Tensor | None) -> None:
        """States μ + away and μ − away, all (n, 1, latent), at times (n,)."""
        z, clock = moments.mean + torch.stack([away, -away]), times[:, None]
        features = self.drift.features(z, clock, covariates)
        known = self.drift.joined({n: read_out(features[n], W) for n, W in self.before.items()})
        known = known + self.drift.offset(z, clock, covariates)
        missed = self.drift.split(linear_drift(moments, z, self.diffusion, self.axes) - known)
        for name, phi in features.items():
            self.sums[name].add(phi, missed[name], local=self.before[name].ndim > 2)

    def solve(self) -> bool:
        """Let the drift have the weights that solve them; whether these are finite."""
        weights = {name: W + self.sums[name].solve().to(W) for name, W in self.before.items()}
        if not all(bool(W.isfinite().all()) for W in weights.values()):
            return False
        self.drift.set_readout(weights)
        return True


@dataclass
class _Normal:
    """Sums of φᵀφ and φᵀr, over all points or of each."""

    matrix: Any = 0.0
    right: Any = 0.0

    def add(self, features: Tensor, missed: Tensor, local: bool) -> None:
        """Features (..., p) and residuals (..., output), (..., point, any) where they are local."""
        phi, r = features.double(), missed.double()
        if local:
            phi, r = (x.flatten(0, -3).transpose(0, 1) for x in (phi, r))
        else:
            phi, r = phi.flatten(0, -2), r.flatten(0, -2)
        self.matrix = self.matrix + phi.mT @ phi
        self.right = self.right + phi.mT @ r

    def solve(self) -> Tensor:
        """Changes of the weights, shrunk towards none by a small share of each feature's square."""
        tiny = torch.finfo(torch.float64).tiny
        size = self.matrix.diagonal(dim1=-2, dim2=-1).sqrt().clamp(min=tiny)
        scaled = self.matrix / size[..., None] / size[..., None, :]
        scaled.diagonal(dim1=-2, dim2=-1).add_(_RIDGE)
        change: Tensor = torch.linalg.solve(scaled, self.right / size[..., None])
        return change / size[..., None]


def _encoded(guide: Guide, bound: BoundModel, segments: Segments) -> _Encoded:
    """Encode stretches that overlap by half, and leave out their ends."""
    length = segments.span // segments.stride + 1
    most = min(_MOST_TIMES, _MOST_NUMBERS // bound.diffusion.numel())
    places = _spread(segments, most // length)
    margin = length // _MARGIN
    inner = slice(margin, length - margin)
    found: list[Any] = []
    axes: Tensor | None = None
    for place in places:
        batch = segments.gather([place]).to(bound.diffusion.device)
        moments = guide.path_marginals(batch, bound).at_times
        if moments.cov.ndim > moments.mean.ndim:  # of each state by itself
            diagonals = (x.diagonal(dim1=-2, dim2=-1) for x in moments[2:4])
            moments = Moments(moments.mean, moments.mean_dot, *diagonals)
        like, times, axes = moments.mean, batch.times[:, inner], moments.axes
        inputs = batch.inputs.of_fields(times)
        covariates = [] if inputs is None else [inputs.expand(-1, times.shape[1], -1)]
        rows = [x.to(like).expand_as(like)[:, inner] for x in moments[:4]]
        found.append((times, *rows, *covariates))
    parts = (torch.cat(x) for x in zip(*found, strict=True))
    times, mean, mean_dot, cov, cov_dot, *rest = parts
    moments = Moments(mean, mean_dot, cov, cov_dot, axes)
    return _Encoded(times, moments, rest[0] if rest else None)


def _spread(segments: Segments, most: int) -> list[tuple[int, int]]:
    """Segments, (trajectory, start), that overlap by half; at most so many, evenly spaced."""
    places = []
    for k, times in enumerate(segments.times):
        last = len(times) - 1 - segments.span
        starts = range(0, last, max(1, segments.span // 2))
        places += [(k, start) for start in (*starts, last)]
    return places[:: -(-len(places) // max(1, most))]
