"""What an optimiser is given: parameters with rates and decay, and gradients of bounded length."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pyro_msde.networks import PolynomialMLP, SmoothingKernel
from pyro_msde.priors import LogVariance, Part, posterior_of
from pyro_msde.protocols import Guide, Model, Module
from pyro_msde.runs import Recipe

__all__ = ["GradientClipping", "parameter_groups", "set_rates"]

_MEMORY = 0.02  # share of the latest gradient in the running average of their lengths

Parameters = dict[int, nn.Parameter]


def parameter_groups(model: Model, guide: Guide, recipe: Recipe) -> list[dict[str, Any]]:
    """Groups for an optimiser: variances, kernel, decaying networks, the rest.

    Args:
        model: The model.
        guide: Its guide, whose autoguide over θ has its parameters already.
        recipe: Of which kernel_rate, variance_rate and weight_decay are read.

    Returns:
        Parameters, the multiple of the learning rate ("factor") and the decay of each group.
    """
    modules = [m for root in (model, guide) for m in root.modules()]
    variances = _parameters_of(m for m in modules if isinstance(m, LogVariance))
    variances |= _of_random_variances(model, guide)
    decaying = _parameters_of(
        m.network for m in modules if isinstance(m, PolynomialMLP) and m.reluctant
    )
    kernels = _parameters_of(m for m in modules if isinstance(m, SmoothingKernel))
    kernel_rate = recipe.kernel_rate
    if kernel_rate is None:
        kernel_rate = max([float(p.detach().abs().max()) for p in kernels.values()] or [1.0])
    special = {**variances, **kernels, **decaying}
    rest = {k: p for k, p in _parameters_of((model, guide)).items() if k not in special}
    groups = [
        (rest, 1.0, 0.0),
        (decaying, 1.0, recipe.weight_decay),
        (kernels, kernel_rate, 0.0),
        (variances, recipe.variance_rate, 0.0),
    ]
    return [
        {"params": list(p.values()), "factor": factor, "weight_decay": decay}
        for p, factor, decay in groups
        if p
    ]


def set_rates(optimiser: torch.optim.Optimizer, recipe: Recipe, step: int, steps: int) -> None:
    """Give each group its learning rate, rate × factor × schedule, for a step of so many.

    The schedule is ½ (1 + cos(π step / steps)), or .9 to the number of whole 2000 steps.
    """
    if recipe.schedule == "cosine":
        shape = 0.5 * (1 + math.cos(math.pi * step / steps))
    else:
        shape = 0.9 ** (step // 2000)
    for group in optimiser.param_groups:
        group["lr"] = recipe.learning_rate * shape * group["factor"]


def _of_random_variances(model: Model, guide: Guide) -> Parameters:
    """Parameters of q(θ) for variances with a prior, where the autoguide keeps sites apart."""
    sites = tuple(
        m.site
        for m in model.modules()
        if isinstance(m, Part) and m.is_random and isinstance(m._modules["net"], LogVariance)
    )
    theta = posterior_of(guide)
    if theta is None or not sites:
        return {}
    named = theta.named_parameters()
    return {id(p): p for name, p in named if name.removesuffix("_unconstrained").endswith(sites)}


def _parameters_of(modules: Iterable[Module]) -> Parameters:
    return {id(p): p for module in modules for p in module.parameters()}


class GradientClipping:
    """Shortens gradients to at most `factor` times a running average of their lengths.

    After one outlier Adam would move every parameter, variances above all.

    Args:
        factor: Multiple of the usual length.

    Attributes:
        usual: The running average; None before the first gradient, which is left as it is.
    """

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.usual: Tensor | None = None

    @torch.no_grad()
    def __call__(self, parameters: Iterable[nn.Parameter]) -> None:
        """Scale the gradients in place, all alike; no number leaves the device."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        length = torch.stack([g.norm() for g in gradients]).norm()
        usual = length if self.usual is None else self.usual.to(length.device)
        kept = torch.minimum(length, self.factor * usual)
        for g in gradients:
            g.mul_(kept / length.clamp(min=torch.finfo(length.dtype).tiny))
        self.usual = usual + _MEMORY * (kept - usual)
