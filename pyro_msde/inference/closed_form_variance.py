"""Where the ELBO wants the likelihood's variance, all else fixed, in closed form.

Nothing else depends on Σ_y, for a given share of the experts. It is best at the mean square of
y − μ_y along the guide's marginals. Training is often too short to bring it there, so it is put
there at the end. Points that were never observed have the variance of the others and, deep among
their like, that of the field itself, as no observation has taught the states there anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pyro_msde.data import SegmentBatch
from pyro_msde.inference.finishing import EncodedSegments
from pyro_msde.likelihoods import CorrelatedNormal, FieldNormal
from pyro_msde.priors import LogVariance, Part, part_of, starting_values
from pyro_msde.protocols import BoundModel, Guide, Model, Places

__all__ = [
    "ObservationVarianceStep",
    "VarianceOptima",
    "has_observation_variances",
    "observes_normals",
    "scale_observation_variances",
    "variance_optima",
]


_LEAST_LEFT = 0.1  # of white noise, that encoding leaves


@dataclass(frozen=True)
class VarianceOptima:
    """Variances as they are and where the ELBO is largest, in scaled units.

    Attributes:
        observation: (channel, *space) Σ_y.
        observation_optimum: (channel, *space) likewise.
    """

    observation: Tensor
    observation_optimum: Tensor

    @property
    def gaps(self) -> dict[str, float]:
        """Mean log ratio to the optimum: above zero where the variance is too large."""
        return {"observation": float((self.observation / self.observation_optimum).log().mean())}


@torch.no_grad()
def variance_optima(model: Model, guide: Guide, batches: Iterable[SegmentBatch]) -> VarianceOptima:
    """Optima over some minibatches at one draw of θ each.

    Args:
        model: The generative model.
        guide: Its guide.
        batches: Segments in scaled units, weighted as they are drawn.

    Raises:
        ValueError: No batches.
    """
    misfit: Any = 0.0
    count: Any = 0.0
    theta = None
    for batch in batches:
        theta = model.bind(guide.read_theta())
        more = _misfit(theta, guide.path_marginals(batch, theta).rsample(), batch)
        misfit, count = misfit + more[0], count + more[1]
    if theta is None:
        raise ValueError("batches: empty. Pass at least one.")
    observation = theta.observe(torch.zeros_like(theta.diffusion)).variance
    return VarianceOptima(observation, observation * _pooled(misfit, count, model))


def has_observation_variances(model: Model) -> bool:
    """Whether fields are normal and the variances `LogVariance`s, learned and without priors."""
    parts = [part_of(model, name) for name in ("var_zeta", "var_eta")]
    if parts[0] is None or not all(_is_learned(part) for part in parts if part is not None):
        return False
    return observes_normals(model)


@torch.no_grad()
def scale_observation_variances(model: Any, ratios: Any) -> None:
    """Multiply Σ_y in place, the share of the experts as it is.

    Args:
        model: Of which `has_observation_variances` is true.
        ratios: (channel,).
    """
    for name in ("var_zeta", "var_eta"):
        part = part_of(model, name)
        if part is not None:
            net: Any = part._modules["net"]
            value = net.log_value.exp() + net.floor
            ratio = torch.as_tensor(ratios).to(value).reshape(-1, *(1,) * (value.ndim - 1))
            least = torch.finfo(value.dtype).tiny
            changed = (value * ratio - net.floor).clamp(min=least).log()
            net.log_value.copy_(torch.where(ratio == 1, net.log_value, changed))


def observes_normals(model: Model) -> bool:
    """Whether fields are normal given z: only then the optimum of Σ_y is a mean square."""
    bound = model.bind(starting_values(model))
    return isinstance(bound.observe(torch.zeros_like(bound.diffusion)), FieldNormal)


def _is_learned(part: Any) -> bool:
    if not isinstance(part, Part) or part.is_random:
        return False
    net = part._modules["net"]
    if not isinstance(net, LogVariance) or not torch.equal(net(), LogVariance.forward(net)):
        return False  # a subclass' own variance may depend on the numbers in another way
    return net.log_value.requires_grad


class ObservationVarianceStep:
    """Puts Σ_y where the ELBO is largest, in place, with the share of the experts as it is.

    Args:
        model: The generative model, of which `has_observation_variances` is true.
        encoder: Guide whose q(z|y) gives the states, at its means: those from which forecasts
            start, where they choose for themselves how far these are apart. Of white noise they
            have taken as many parts as they are, which are given back. None: states are those of
            the path's marginals, which the ELBO asks for.
    """

    changes_weights: ClassVar[bool] = True

    def __init__(self, model: Any, *, encoder: Guide | None = None) -> None:
        self.model, self.encoder = model, encoder
        self.misfit: Any = 0.0
        self.count: Any = 0.0

    @torch.no_grad()
    def add(self, part: EncodedSegments) -> None:
        """Add to the sum of squared errors in units of Σ_y, and to that of their weights."""
        path = part.marginals.rsample()
        if self.encoder is not None:
            gaps = {} if part.batch.observed is None else {"observed": part.batch.observed}
            beside = part.batch.inputs.of_fields(part.batch.times)
            path = self.encoder.encode(part.batch.values, part.bound, beside, **gaps)[0]
        misfit, count = _misfit(part.bound, path, part.batch)
        self.misfit, self.count = self.misfit + part.share * misfit, self.count + part.share * count

    @torch.no_grad()
    def end(self) -> None:
        """Change the variances, unless there were no segments."""
        if not isinstance(self.misfit, Tensor):
            return
        factor = _pooled(self.misfit, self.count, self.model)
        if self.encoder is not None:
            values = self.model.grid.channels * self.model.grid.num_points
            factor = factor / max(_LEAST_LEFT, 1 - self.model.num_latent / values)
        change = factor.clamp(min=torch.finfo(factor.dtype).tiny).log()  # for y that never changes
        parts = [p for p in (self.model.var_zeta, self.model.var_eta) if p is not None]
        for part in parts:
            value = part._modules["net"].log_value
            # where a point has a variance of its own, so have the others: `_pooled`
            value += change[tuple(slice(n) for n in value.shape)]
        seen = self.count > 0
        values = [part._modules["net"].log_value for part in parts]
        if bool(seen.all()) or any(value.shape != seen.shape for value in values):
            return
        grid = self.model.grid
        for value in values:  # as training left them where nothing was observed
            value.copy_(_from_neighbours(value, seen, grid))
        variance = 1 / sum((-value).exp() for value in values)
        unseen = grid.unseen_points(seen, variance.dtype) * ~seen
        for value in values:  # in scaled units a field's own variance is 1
            value += torch.log1p(unseen / variance)


def _from_neighbours(values: Tensor, seen: Tensor, grid: Places) -> Tensor:
    """Values (channel, *space) filled in where they are not seen, about their mean."""
    space = tuple(range(1, values.ndim))
    count = seen.sum(space, keepdim=True).clamp(min=1)
    mean = values.where(seen, 0).sum(space, keepdim=True) / count
    return mean + grid.filled((values - mean).where(seen, 0), seen)


def _misfit(theta: BoundModel, path: Tensor, batch: SegmentBatch) -> tuple[Tensor, Tensor]:
    """Weighted sums of (y − μ_y)²/Σ_y over observations and of their weights, (channel, *space)."""
    law = theta.observe(path)
    if isinstance(law, CorrelatedNormal):
        return _joint_misfit(law, batch)
    square = (batch.values - law.mean).square() / law.variance
    w = batch.observation_weight.reshape(*square.shape[:2], *(1,) * (square.ndim - 2))
    if batch.observed is None:
        return (w * square).sum((0, 1)), w.sum().expand(square.shape[2:])
    return (w * square).where(batch.observed, 0).sum((0, 1)), (w * batch.observed).sum((0, 1))


def _joint_misfit(law: CorrelatedNormal, batch: SegmentBatch) -> tuple[Tensor, Tensor]:
    """As `_misfit`, shared out evenly: what goes together has one factor in closed form."""
    w, field = batch.observation_weight, law.mean[0, 0]
    count = torch.full_like(w, field.numel())
    if batch.observed is not None:
        count = batch.observed.flatten(2).sum(-1).to(w)
    sums = (w * law.squares(batch.values, batch.observed)[0]).sum(), (w * count).sum()
    return sums[0].expand(field.shape) / field.numel(), sums[1].expand(field.shape) / field.numel()


def _pooled(misfit: Tensor, count: Tensor, model: Any) -> Tensor:
    """Mean squares (channel, *space), over all points that share a variance of either expert.

    Points that were never observed have their channel's.
    """
    nets = [p._modules["net"] for p in (model.var_zeta, model.var_eta) if p is not None]
    shapes = [n.log_value.shape for n in nets if isinstance(n, LogVariance) and n.broadcast]
    axes = [i for i, n in enumerate(misfit.shape) if n > 1 and any(s[i] == 1 for s in shapes)]
    if axes:
        misfit, count = (v.sum(axes, keepdim=True).expand_as(v) for v in (misfit, count))
    if bool((count > 0).all()):
        return misfit / count
    space = tuple(range(1, misfit.ndim))
    everywhere = misfit.sum(space, keepdim=True) / count.sum(space, keepdim=True)
    return torch.where(count > 0, misfit / count, everywhere)
