"""Priors over θ: any part of a model becomes random with one call."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import torch
from pyro.distributions import Normal
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn

from pyro_msde.checks import check_number
from pyro_msde.priors.horseshoe import Horseshoe
from pyro_msde.priors.laws import add_site
from pyro_msde.priors.parts import Part, flatten_parameters, is_positive, parameter_values
from pyro_msde.protocols import Module

__all__ = [
    "Horseshoe",
    "bayesian",
    "described_priors",
    "fan_in_normal",
    "initial_values",
    "starting_values",
]


def fan_in_normal(scale: float) -> Callable[[nn.Module], TorchDistributionMixin]:
    """Normal(0, scale/√fan_in) for the weights of each layer, Normal(0, scale) for its biases.

    A scale that is not positive and finite is refused by `bayesian`.
    """

    def prior(net: nn.Module) -> TorchDistributionMixin:
        sd = check_number("scale", scale) * _units(net)
        return Normal(torch.zeros_like(sd), sd).to_event(1)

    return prior


def bayesian(
    part: Part,
    prior: TorchDistributionMixin | Callable[[nn.Module], TorchDistributionMixin] | Horseshoe,
) -> Part:
    """Put a prior on all parameters of a model's part, in place.

    They become one site, named `<part>.theta`, a vector. Variances and diffusions are the values
    themselves there, not their logarithms, so they ask for a positive prior.

    Args:
        part: Part of a model, such as `model.drift`.
        prior: A scalar distribution, the same for all; one with the vector's shape; a function
            from the network to such a distribution, as `fan_in_normal` gives; or a `Horseshoe`,
            whose scales become sites too.

    Returns:
        The part itself.

    Raises:
        ValueError: Not a part, one that is random already, no distribution, or one whose shape,
            support or width does not fit.
    """
    if not isinstance(part, Part):
        raise ValueError(
            f"part: got {type(part).__name__}. Pass a part of a model, such as model.drift."
        )
    if part.is_random:
        raise ValueError("part: has a prior already. Build a new model for another one.")
    net: Any = part._modules["net"]
    if isinstance(prior, Horseshoe):
        _check_support(prior, below_zero=True, positive=is_positive(net))
        start = flatten_parameters(net)
        part.scales_start = prior.start(start, _units(net))
        _freeze(net)
        prior.attach(part, _units(net))
        part.prior = repr(prior)
        return part
    # the mixin: LogNormal and other transformed laws are no TorchDistribution
    is_law = isinstance(prior, TorchDistributionMixin)
    law: Any = prior if is_law or isinstance(prior, type) or not callable(prior) else prior(net)
    if not isinstance(law, TorchDistributionMixin):
        raise ValueError(
            f"prior: {prior!r} is no Pyro distribution. Pass one, such as pyro.distributions."
            "Normal(0.0, 1.0), fan_in_normal(1.0) or a Horseshoe."
        )
    count = len(flatten_parameters(net))
    if law.batch_shape == () and law.event_shape == ():
        law = law.expand([count]).to_event(1)
    if law.event_shape != (count,) or law.batch_shape != ():
        raise ValueError(
            f"prior: event shape {tuple(law.event_shape)}, batch shape {tuple(law.batch_shape)} "
            f"for {count} parameters. Give a scalar prior or one of event shape ({count},)."
        )
    below = [bool(law.support.check(torch.full((count,), v)).any()) for v in (-1e-6, -1.0)]
    positive = is_positive(net)
    _check_support(prior, below_zero=any(below), positive=positive)
    values = _start(net).cpu()
    room = bool(law.support.check(values).all())
    if not room or not bool(law.log_prob(values).isfinite().all()):
        raise ValueError(
            f"prior: {_described(law)} has no {'finite density at' if room else 'room for'} the "
            f"part's values, which are from {float(values.min()):.3g} to "
            f"{float(values.max()):.3g} and where guides start. Choose a wider prior."
        )
    _freeze(net)
    add_site(part, "theta", law)
    part.prior = _described(law)
    return part


def initial_values(part: Part) -> dict[str, Tensor]:
    """Where guides start, by site: the parameters from before the prior, and scales to match."""
    net: Any = part._modules["net"]
    theta = _start(net)
    values = {"theta": theta}
    values |= {name: value.to(theta) for name, value in part.scales_start.items()}
    return {part.site_of(name): value for name, value in values.items()}


def starting_values(model: Module) -> dict[str, Tensor]:
    """`initial_values` of all of a model's parts that have a prior, for its `bind`."""
    parts = [m for m in model.modules() if isinstance(m, Part) and m.is_random]
    return {name: value for part in parts for name, value in initial_values(part).items()}


def described_priors(model: Module) -> dict[str, str]:
    """The priors of a model's parts in words, by site."""
    parts = (m for m in model.modules() if isinstance(m, Part))
    return {part.site: part.prior for part in parts if part.prior is not None}


def _start(net: nn.Module) -> Tensor:
    """Where guides start: the parameters, or variances themselves, (parameter,)."""
    flat = flatten_parameters(net)
    return flat.exp() if is_positive(net) else flat


def _described(law: Any) -> str:
    """A distribution by its kind and parameters: numbers, or a digest of many."""
    kinds = [type(law).__name__]
    while hasattr(law, "base_dist"):
        law = law.base_dist
        kinds.append(type(law).__name__)
    values = []
    for name in sorted(law.arg_constraints):
        if isinstance(value := getattr(law, name, None), Tensor):
            each = value.detach().cpu().reshape(-1)
            same = bool((each == each[0]).all())
            digest = blake2b(each.numpy().tobytes(), digest_size=8).hexdigest()
            values.append(f"{name}={float(each[0]):g}" if same else f"{name}#{digest}")
    return f"{' of '.join(kinds)}({', '.join(values)})"


def _units(net: nn.Module) -> Tensor:
    """1/√fan-in of each weight, one for each bias, (parameter,)."""
    units = [
        torch.full((p.numel(),), 1 / (p[0].numel() ** 0.5 if p.ndim > 1 else 1.0))
        for p in parameter_values(net).values()
    ]
    return torch.cat(units).to(flatten_parameters(net))


def _check_support(prior: Any, *, below_zero: bool, positive: bool) -> None:
    if positive and below_zero:
        raise ValueError(
            f"prior: {type(prior).__name__} has support below zero, the parameters are variances. "
            "Choose LogNormal, InverseGamma or another positive prior."
        )


def _freeze(net: nn.Module) -> None:
    """Turn every parameter of the network into a buffer of the same name and value."""
    for module in net.modules():
        for name, value in list(module._parameters.items()):
            if value is not None:  # such as the bias of a layer without one
                del module._parameters[name]
                module.register_buffer(name, value.detach().clone())
