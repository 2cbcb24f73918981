"""Predictive law of fields as an equal mixture of normals, one for each path (App. F).

    p(y) = 1/S Σ_s N(y; μ_y(z_s), Σ_y),        z_s a draw of the latent state

with μ_y, Σ_y the product of the experts. Points are independent given the draw.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_msde.experts import product_mean, product_variance
from pyro_msde.scaling import Scaling

__all__ = ["Mixture", "decoded"]


@dataclass(frozen=True)
class Mixture:
    """Normals at each point, in the fields' units; results keep the layout, without the draws.

    Attributes:
        mean: (draw of θ, sample, batch, time, channel, *space).
        var: (draw of θ, 1, 1, 1, channel, *space).
    """

    mean: Tensor
    var: Tensor

    def moments(self) -> dict[str, Tensor]:
        """Mean and the three variances, each (batch, time, channel, *space).

        "mean"; "reconstruction", "propagated" and "parameter" add up to the variance (34). The
        variance between θ's conditional means holds 1/M of the variance within; it is taken off, so
        that a point estimate has no parameter variance and an ensemble's is unbiased before
        clipping.
        """
        mean = self.mean
        draws, paths = mean.shape[:2]
        average = mean.mean((0, 1))
        total = (mean - average).square().sum((0, 1)) / max(1, draws * paths - 1)
        parameter = torch.zeros_like(total)
        if draws > 1:
            between = mean.mean(1).var(0)
            within = mean.var(1).mean(0) if paths > 1 else torch.zeros_like(total)
            parameter = torch.minimum((between - within / paths).clamp(min=0), total)
        return {
            "mean": average,
            "reconstruction": self.var.mean((0, 1)).expand_as(average).clone(),
            "propagated": total - parameter,
            "parameter": parameter,
        }

    def cdf(self, values: Tensor) -> Tensor:
        """Distribution function at values (batch, time, channel, *space), shaped as they are."""
        return torch.special.ndtr((values - self.mean) / self.var.sqrt()).mean((0, 1))

    def quantile(self, level: float) -> Tensor:
        """Quantile at each point, (batch, time, channel, *space), by bisection.

        Args:
            level: Inside (0, 1).
        """
        mean, sd = self.mean.flatten(0, 1), self.var.flatten(0, 1).sqrt()
        if sd.shape[0] not in (1, mean.shape[0]):
            sd = sd.repeat_interleave(mean.shape[0] // sd.shape[0], 0)
        z = float(torch.special.ndtri(torch.tensor(level, dtype=torch.float64)))
        each = mean + z * sd
        low, high = each.amin(0), each.amax(0)
        for _ in range(24):
            middle = 0.5 * (low + high)
            below = torch.special.ndtr((middle - mean) / sd).mean(0) < level
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return 0.5 * (low + high)

    def draws(self, generator: torch.Generator) -> Tensor:
        """One field for each path, (sample, batch, time, channel, *space)."""
        noise = torch.randn(self.mean.shape, generator=generator, dtype=self.mean.dtype)
        return (self.mean + self.var.sqrt() * noise).flatten(0, 1)

    def log_density(self, values: Tensor) -> Tensor:
        """Log of N(y; μ_y(z_s), Σ_y) of each draw, (sample, batch, time, channel, *space).

        Args:
            values: y, (batch, time, channel, *space).
        """
        misfit = (values - self.mean).square() / self.var
        return -0.5 * (misfit + self.var.log() + math.log(2 * math.pi)).flatten(0, 1)


@torch.no_grad()
def decoded(model: Any, thetas: Sequence[Any], paths: Tensor, scaling: Scaling) -> Mixture:
    """The law of the fields given latent states, on the CPU.

    Args:
        model: With `grid` and `expert_means`.
        thetas: Draws of θ as the model's `read_parameters` returns them.
        paths: (draw of θ, sample, batch, time, latent) in scaled units.
        scaling: Units of the fields.
    """
    means, variances = [], []
    scale = scaling.field_scale(torch.empty(0, dtype=paths.dtype), model.grid.ndim)
    for theta, z in zip(thetas, paths, strict=True):
        macro, detail = model.expert_means(theta, z.to(theta.diffusion.device))
        mean = product_mean(macro, detail, theta.var_zeta, theta.var_eta).cpu()
        means.append(mean * scale)
        var = product_variance(theta.var_zeta, theta.var_eta).cpu() * scale.square()
        variances.append(var.expand(1, 1, 1, *var.shape))
    return Mixture(torch.stack(means), torch.stack(variances))
