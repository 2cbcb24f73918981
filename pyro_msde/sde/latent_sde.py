"""Path of an Itô SDE dz = γ(z, t) dt + L dβ with C = L Lᵀ, diagonal in some axes (eq. 29)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyro_msde.sde.axes import along, turned, turned_back
from pyro_msde.sde.integration import integrate

__all__ = ["LatentSDE"]


class LatentSDE(TorchDistribution):
    """Latent path on a grid of times: simulated by torchsde, scored by Euler–Maruyama.

    batch_shape (segment,), event_shape (time, latent).

    Args:
        drift: γ(z, t), from z (..., segment, time, latent) and t (segment, time) float64 to z's
            shape.
        diffusion: (latent,) the diagonal of C, per unit of the times, along `noise_axes`.
        times: (segment, time) float64.
        initial_mean: (latent,) mean of p(z(t₀)).
        initial_var: (latent,) variance of p(z(t₀)), diagonal.
        initial_weight: (segment,) weight of KL(q(z(t₀)) ‖ p(z(t₀))) in the drift residual. None:
            the guide's initial law stands for the prior's (the paper's footnote 2).
        max_step: Longest integration step of `rsample`; None: one step between times.
        noise_axes: (latent, latent) orthogonal, in whose columns C is diagonal; None: the states.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012
    support = constraints.independent(constraints.real, 2)
    has_rsample = True

    def __init__(
        self,
        drift: Callable[[Tensor, Tensor], Tensor],
        diffusion: Tensor,
        times: Tensor,
        *,
        initial_mean: Tensor,
        initial_var: Tensor,
        initial_weight: Tensor | None = None,
        max_step: float | None = None,
        noise_axes: Tensor | None = None,
    ) -> None:
        self.drift = drift
        self.diffusion = diffusion
        self.times = times
        self.initial_mean = initial_mean
        self.initial_var = initial_var
        self.initial_weight = initial_weight
        self.max_step = max_step
        self.noise_axes = noise_axes
        event_shape = torch.Size((times.shape[-1], diffusion.shape[-1]))
        super().__init__(times.shape[:-1], event_shape, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> LatentSDE:
        """The same law for a larger batch of segments."""
        batch_shape = torch.Size(batch_shape)
        if batch_shape == self.batch_shape:
            return self
        new = self._get_checked_instance(LatentSDE, _instance)  # type: ignore[no-untyped-call]
        new.__dict__.update(self.__dict__)
        new.times = self.times.expand(batch_shape + self.times.shape[-1:])
        TorchDistribution.__init__(new, batch_shape, self.event_shape, validate_args=False)
        return new

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        """Simulated paths (sample, segment, time, latent)."""
        shape = torch.Size(sample_shape) + self.batch_shape + self.event_shape[-1:]
        noise = torch.randn(shape, dtype=self.diffusion.dtype, device=self.diffusion.device)
        start = self.initial_mean + self.initial_var.sqrt() * noise
        drift, start = along(self.drift, self.noise_axes), turned(start, self.noise_axes)
        path = integrate(drift, self.diffusion, start, self.times, max_step=self.max_step)
        return turned_back(path, self.noise_axes)

    def log_prob(self, value: Tensor) -> Tensor:
        """Euler–Maruyama transition density on the grid, with p(z(t₀)); (sample, segment)."""
        step = torch.diff(self.times, dim=-1).to(value.dtype)[..., None]
        before = value[..., :-1, :]
        mean = before + self.drift(before, self.times[..., :-1]) * step
        reached, mean = (turned(x, self.noise_axes) for x in (value[..., 1:, :], mean))
        path = _normal_log_density(reached, mean, self.diffusion * step).sum(-1)
        start = _normal_log_density(value[..., 0, :], self.initial_mean, self.initial_var)
        return path + start


def _normal_log_density(value: Tensor, mean: Tensor, var: Tensor) -> Tensor:
    """Sum over the last axis of the log density of a diagonal normal."""
    return -0.5 * ((value - mean).square() / var + var.log() + math.log(2 * math.pi)).sum(-1)
