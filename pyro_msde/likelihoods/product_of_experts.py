"""Product-of-Experts likelihood (Ilersich & Nair 2025, eqs. 6, 15–24, 30–31).

The experts p(y|ζ) = N(T_p ζ, S_ζ⁻¹) and p(y − T_p ζ|η) = N(D(η), S_η⁻¹) multiply to

    p(y|ζ, η) = N( T_p ζ + Σ_y S_η D(η), Σ_y ),        Σ_y = (S_ζ + S_η)⁻¹.

S_ζ and S_η are not separately identified; Σ_y and Σ_y S_η D(η) are. With diagonal precisions,
written here by the experts' variances v_ζ and v_η, Σ_y S_η = v_ζ / (v_ζ + v_η).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

__all__ = ["ProductOfExperts", "product_mean", "product_variance"]


def product_variance(var_zeta: Tensor, var_eta: Tensor | None) -> Tensor:
    """Σ_y of diagonal experts, elementwise; the macroscale expert's alone without the other."""
    return var_zeta if var_eta is None else var_zeta * var_eta / (var_zeta + var_eta)


def product_mean(
    macro: Tensor, detail: Tensor | None, var_zeta: Tensor, var_eta: Tensor | None
) -> Tensor:
    """T_p ζ + Σ_y S_η D(η) of diagonal experts, elementwise."""
    if detail is None or var_eta is None:
        return macro
    return macro + var_zeta / (var_zeta + var_eta) * detail


class ProductOfExperts(TorchDistribution):
    """Fields of a segment given its latent states, independent over time given them.

    batch_shape (...,), event_shape (time, channel, *space).

    Args:
        macro: (..., time, channel, *space) T_p ζ.
        detail: Same shape, D(η), or None without a microscale state.
        var_zeta: (channel, *space) variance of the macroscale expert.
        var_eta: (channel, *space) variance of the microscale expert, or None.
        weight: (..., time) weight of each snapshot's log density: the inverse of how often
            segments include it, so that minibatches estimate (27) without bias. None: ones.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012
    support = constraints.real
    has_rsample = True

    def __init__(
        self,
        macro: Tensor,
        detail: Tensor | None,
        var_zeta: Tensor,
        var_eta: Tensor | None,
        *,
        weight: Tensor | None = None,
    ) -> None:
        self.mean_field = product_mean(macro, detail, var_zeta, var_eta)
        self.var = product_variance(var_zeta, var_eta)
        self.weight = weight
        split = macro.ndim - self.var.ndim - 1
        super().__init__(macro.shape[:split], macro.shape[split:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(..., time, channel, *space)."""
        return self.mean_field

    @property
    def variance(self) -> Tensor:
        """Σ_y, expanded to the mean's shape."""
        return self.var.expand(self.mean_field.shape)

    def expand(self, batch_shape: Any, _instance: Any = None) -> ProductOfExperts:
        """The same law over a larger batch."""
        batch_shape = torch.Size(batch_shape)
        if batch_shape == self.batch_shape:
            return self
        new = self._get_checked_instance(ProductOfExperts, _instance)  # type: ignore[no-untyped-call]
        new.mean_field = self.mean_field.expand(batch_shape + self.event_shape)
        new.var = self.var
        new.weight = self.weight
        TorchDistribution.__init__(new, batch_shape, self.event_shape, validate_args=False)
        return new

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        """Reparametrised draws (sample, ..., time, channel, *space)."""
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(shape, dtype=self.mean_field.dtype, device=self.mean_field.device)
        return self.mean_field + self.var.sqrt() * noise

    def log_prob(self, value: Tensor) -> Tensor:
        """Weighted sum over the segment's snapshots of log p(y_i | z_i), (...,)."""
        space = tuple(range(-self.var.ndim, 0))
        misfit = ((value - self.mean_field).square() / self.var).sum(space)
        constant = self.var.log().sum() + self.var.numel() * math.log(2 * math.pi)
        log_density = -0.5 * (misfit + constant)
        if self.weight is not None:
            log_density = log_density * self.weight
        return log_density.sum(-1)
