"""Where the ELBO wants its variances, all else fixed, in closed form.

Of the drift residual only C depends on C. With e = z − μ, u = μ̇ − γ(z, t) + ½ Σ̇ Σ⁻¹ e and
v = ½ Σ⁻¹ e, both for diagonal Σ,

    ½ ∫ E[(u − C v)²] / C dt    is least at    C = √( ∫ E u² dt / ∫ E v² dt ),

and the likelihood's Σ_y at the mean square of y − μ_y, for a given share of the experts. Training
ends somewhere near; how near tells whether widths are the objective's or the schedule's. Σ_y, which
nothing else depends on then, is put there at the end: it stops far above where training is short.
Points that were never observed have the variance of the others and, deep among their like, that of
the field itself, as no observation has taught the states there anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pyro_msde.data import SegmentBatch
from pyro_msde.inference.finishing import EncodedSegments
from pyro_msde.likelihoods import FieldNormal
from pyro_msde.priors import LogVariance, Part, part_of, starting_values
from pyro_msde.protocols import BoundModel, Guide, Model, Places
from pyro_msde.sde import GaussianMarginals, sample_moments

__all__ = [
    "ObservationVarianceStep",
    "VarianceOptima",
    "has_observation_variances",
    "observes_normals",
    "variance_optima",
]


@dataclass(frozen=True)
class VarianceOptima:
    """Variances as they are and where the ELBO is largest, in scaled units.

    Attributes:
        diffusion: (latent,) the diagonal of C.
        diffusion_optimum: (latent,) likewise, equal where C has one parameter.
        observation: (channel, *space) Σ_y.
        observation_optimum: (channel, *space) likewise.
    """

    diffusion: Tensor
    diffusion_optimum: Tensor
    observation: Tensor
    observation_optimum: Tensor

    @property
    def gaps(self) -> dict[str, float]:
        """Mean log ratio of each to its optimum: above zero where it is too large."""
        pairs = {
            "diffusion": (self.diffusion, self.diffusion_optimum),
            "observation": (self.observation, self.observation_optimum),
        }
        return {k: float((value / best).log().mean()) for k, (value, best) in pairs.items()}


@torch.no_grad()
def variance_optima(
    model: Model, guide: Guide, batches: Iterable[SegmentBatch], *, num_nodes: int = 64
) -> VarianceOptima:
    """Optima over some minibatches at one draw of θ each; the residual's is that of β = 1 too.

    Args:
        model: The generative model.
        guide: Its guide.
        batches: Segments in scaled units, weighted as they are drawn.
        num_nodes: Quadrature nodes a segment.

    Raises:
        ValueError: The guide's covariance is not diagonal, or no batches.
    """
    sums: dict[str, Any] = dict.fromkeys(("u", "v", "misfit", "count"), 0.0)
    theta = None
    for batch in batches:
        theta = model.bind(guide.read_theta())
        q = guide.path_marginals(batch, theta)
        times, weights = q.quadrature.draw(num_nodes)
        mean, mean_dot, cov, cov_dot = q.moments(times)
        if cov.ndim != mean.ndim:
            raise ValueError("guide: its covariance is not diagonal, the optimum no closed form.")
        e = cov.sqrt() * torch.randn_like(mean)
        z = torch.stack([mean + e, mean - e])
        signed = torch.stack([e, -e])
        drift = theta.drift(z, times, covariates=batch.covariates)
        u = mean_dot - drift + 0.5 * cov_dot / cov * signed
        v = 0.5 * signed / cov
        for name, value in (("u", u), ("v", v)):
            square = value.square().mean(0) * weights[..., None].to(mean.dtype)
            sums[name] += square.sum((0, 1))
        misfit, count = _misfit(theta, q, batch)
        sums["misfit"] += misfit
        sums["count"] += count
    if theta is None:
        raise ValueError("batches: empty. Pass at least one.")
    u, v = (_shared(model, sums[name]) for name in ("u", "v"))
    observation = theta.observe(torch.zeros_like(theta.diffusion)).variance
    factor = _pooled(sums["misfit"], sums["count"], model)
    return VarianceOptima(theta.diffusion, (u / v).sqrt(), observation, observation * factor)


def has_observation_variances(model: Model) -> bool:
    """Whether fields are normal and the variances `LogVariance`s, learned and without priors."""
    parts = [part_of(model, name) for name in ("var_zeta", "var_eta")]
    if parts[0] is None or not all(_is_learned(part) for part in parts if part is not None):
        return False
    return observes_normals(model)


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
    """

    changes_weights: ClassVar[bool] = True

    def __init__(self, model: Any) -> None:
        self.model = model
        self.misfit: Any = 0.0
        self.count: Any = 0.0

    @torch.no_grad()
    def add(self, part: EncodedSegments) -> None:
        """Add to the sum of squared errors in units of Σ_y, and to that of their weights."""
        misfit, count = _misfit(part.bound, part.marginals, part.batch)
        self.misfit, self.count = self.misfit + part.share * misfit, self.count + part.share * count

    @torch.no_grad()
    def end(self) -> None:
        """Change the variances, unless there were no segments."""
        if not isinstance(self.misfit, Tensor):
            return
        factor = _pooled(self.misfit, self.count, self.model)
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


def _misfit(theta: BoundModel, q: GaussianMarginals, batch: SegmentBatch) -> tuple[Tensor, Tensor]:
    """Weighted sums of (y − μ_y)²/Σ_y over observations and of their weights, (channel, *space)."""
    path = sample_moments(q.mean, q.at_times.cov, torch.randn_like(q.mean))
    law = theta.observe(path)
    square = (batch.values - law.mean).square() / law.variance
    w = batch.observation_weight.reshape(*square.shape[:2], *(1,) * (square.ndim - 2))
    if batch.observed is None:
        return (w * square).sum((0, 1)), w.sum().expand(square.shape[2:])
    return (w * square).where(batch.observed, 0).sum((0, 1)), (w * batch.observed).sum((0, 1))


def _shared(model: Any, values: Tensor) -> Tensor:
    """(latent,) sums over the states that share a parameter of C, at each of them."""
    net = model.diffusion._modules["net"]
    index = net.index if isinstance(net, LogVariance) else None
    if index is None:
        return values
    total = values.new_zeros(int(index.max()) + 1).index_add(0, index, values)
    return total[index]


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
