"""Equal mixtures of Gaussians over sampled paths, point by point (Ilersich & Nair 2025, App. F).

    p(y) = (1/N) Σ_i N(μ_i, Σ),    mean (33) = average of μ_i,    variance (34) = Σ + SampleVar{μ_i}

The sample variance is split by the law of total variance into what differs among paths of one draw
of θ (propagated) and the rest (parameter).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

__all__ = ["Mixture"]

_STEPS = 60  # of a root search: more than float64 can bisect


@dataclass(frozen=True, eq=False)
class Mixture:
    """Predictive distribution at some of a forecast's times.

    Normals and moments are held in scaled units, of which the dtype holds the squares; methods take
    and give fields in the user's.

    Attributes:
        where: Which times.
        means: (draw of θ, sample, batch, chunk, *field) μ, in scaled units.
        variances: (draw of θ, 1, 1, 1, *field) Σ, in scaled units.
        scale: Of the scaled units in the user's, float64, broadcast to fields.
    """

    where: slice
    means: Tensor
    variances: Tensor
    scale: Tensor

    @property
    def mean(self) -> Tensor:
        """(batch, chunk, *field), eq. (33)."""
        return self._in_units(self.moments["mean"])

    @property
    def sd(self) -> Tensor:
        """(batch, chunk, *field), root of eq. (34)."""
        m = self.moments
        return self._in_units((m["reconstruction"] + m["propagated"] + m["parameter"]).sqrt())

    @cached_property
    def moments(self) -> dict[str, Tensor]:
        """Mean and three parts of the variance, (batch, chunk, *field) each, in scaled units."""
        return _split_variance(self.means, self.variances)

    def cdf(self, values: Tensor) -> Tensor:
        """Distribution function at values (batch, chunk, *field), shaped as these."""
        z = (self._scaled(values) - self.means) / self.variances.sqrt()
        return torch.special.ndtr(z).mean((0, 1))

    def quantile(self, level: float) -> Tensor:
        """(batch, chunk, *field), level inside (0, 1)."""
        normals = (self.means.flatten(0, 1), self.variances.flatten(0, 1))
        return self._in_units(_mixture_quantile(level, *normals))

    def log_density(self, values: Tensor) -> Tensor:
        """Log of N(y; μ_i, Σ) of each normal, (sample, batch, chunk, *field), in the user's units.

        Args:
            values: y, (batch, chunk, *field).
        """
        misfit = (self._scaled(values) - self.means).square() / self.variances
        volume = 2 * self.scale.log().to(misfit.dtype)
        constant = self.variances.log() + volume + math.log(2 * math.pi)
        return -0.5 * (misfit + constant).flatten(0, 1)

    def sample(self, generator: torch.Generator) -> Tensor:
        """A draw from each of the normals, (sample, batch, chunk, *field), those of θ side by side.

        Draws at different points and times are of one path, and otherwise independent.
        """
        noise = torch.randn(self.means.shape, generator=generator, dtype=self.means.dtype)
        return self._in_units(self.means + self.variances.sqrt() * noise).flatten(0, 1)

    def _in_units(self, fields: Tensor) -> Tensor:
        """Fields in the user's units, in the normals' dtype."""
        return fields * self.scale.to(fields.dtype)

    def _scaled(self, values: Tensor) -> Tensor:
        """The user's values in scaled units: divided first, as their dtype may hold more."""
        return (values / self.scale).to(self.means.dtype)


def _split_variance(mean: Tensor, var: Tensor) -> dict[str, Tensor]:
    """Mean and the three variances, (batch, chunk, *field), from (θ, sample, batch, …).

    Propagated is the unbiased variance within draws of θ, so that parameter is what the mixture has
    beyond it: (K − 1)/K of the posterior's for K independent draws, all of it for the jackknife's,
    which come in opposite pairs and have no mean of their own. A single path for each θ tells the
    two not apart, and counts as parameter.
    """
    draws, paths = mean.shape[:2]
    average = mean.mean((0, 1))
    total = (mean - average).square().sum((0, 1)) / max(1, draws * paths - 1)
    propagated = torch.zeros_like(total)
    if draws == 1:
        propagated = total
    elif paths > 1:
        propagated = torch.minimum(mean.var(1).mean(0), total)
    return {
        "mean": average,
        "reconstruction": var.mean((0, 1)).expand_as(average).clone(),
        "propagated": propagated,
        "parameter": total - propagated,
    }


def _mixture_quantile(level: float, mean: Tensor, var: Tensor) -> Tensor:
    """Quantile over axis 0 of an equal mixture of normals.

    From that of a normal with its moments, Newton's steps where they stay between the bounds known
    and halve the step before, bisection of these elsewhere. A point is done once its step is small
    beside the narrowest normal; the others go on by themselves.
    """
    z = float(torch.special.ndtri(torch.tensor(level, dtype=torch.float64)))
    shape, eps = mean.shape[1:], torch.finfo(mean.dtype).eps
    sd = var.sqrt()
    if sd.shape[0] not in (1, mean.shape[0]):
        sd = sd.repeat_interleave(mean.shape[0] // sd.shape[0], 0)
    mean, sd = mean.flatten(1), sd.expand(-1, *shape).flatten(1)
    each = mean + z * sd
    low, high = each.amin(0), each.amax(0)
    enough = eps ** (2 / 3) * sd.amin(0) + 4 * eps * torch.maximum(low.abs(), high.abs())
    total = (sd.square().mean(0) + mean.var(0, correction=0)).sqrt()
    x, step = (mean.mean(0) + z * total).clamp(low, high), high - low
    found, left = torch.empty_like(x), torch.arange(len(x), device=x.device)
    for _ in range(_STEPS):
        u = (x - mean) / sd
        off = torch.special.ndtr(u).mean(0) - level
        low, high = torch.where(off < 0, x, low), torch.where(off < 0, high, x)
        density = ((-0.5 * u.square()).exp() / sd).mean(0) / math.sqrt(2 * math.pi)
        newton = x - off / density  # not a number where both are zero
        good = (newton >= low) & (newton <= high) & ((newton - x).abs() <= 0.5 * step)
        new = torch.where(good, newton, 0.5 * (low + high))
        done = step <= enough
        step, x = torch.where(done, step, (new - x).abs()), torch.where(done, x, new)
        if 2 * int(done.sum()) >= len(done):
            found[left[done]] = x[done]
            going = ~done
            left, x, step, low, high, enough, mean, sd = (
                t[..., going] for t in (left, x, step, low, high, enough, mean, sd)
            )
            if len(left) == 0:
                break
    found[left] = x
    return found.reshape(shape)
