"""Whether what a drift says of itself is true: its optional protocols, tried at random states.

Some steps look into a drift: the jackknife moves its last weights, a regression sets its
polynomial, the region looks at its stencils. A drift offers a protocol of `pyro_msde.protocols` by
having its methods. A subclass inherits the methods, and its own `forward` may make them wrong; so
they are compared with what the drift does at a few states.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from pyro_msde.data import num_inputs_of
from pyro_msde.isolation import Isolation
from pyro_msde.networks.readouts import read_out
from pyro_msde.priors import Part, part_of
from pyro_msde.protocols import (
    LastLayer,
    Model,
    PolynomialDrift,
    SolvableLastLayer,
    StencilDrift,
)

__all__ = ["drift_of", "false_claim", "offers", "refusal"]

_SEGMENTS, _TIMES = 2, 3  # of the states at which a claim is tried
_CLOSE = 1e-4  # of the largest number: float32's rounding is a hundredth of it


def drift_of(model: Model) -> Any:
    """The network of the model's drift, or None. With a prior its weights are the start's."""
    part = getattr(model, "drift", None)
    return part._modules["net"] if isinstance(part, Part) else part


def offers(model: Model, protocol: type) -> bool:
    """Whether the model's drift offers a protocol, and what it says by it is true."""
    return refusal(model, protocol) is None


def refusal(model: Model, protocol: type) -> str | None:
    """Why the model's drift does not offer a protocol; None where it does.

    Args:
        model: Model with `drift` and `num_latent`.
        protocol: `LastLayer`, `SolvableLastLayer`, `PolynomialDrift` or `StencilDrift`.
    """
    drift = drift_of(model)
    part = part_of(model, "drift")
    if protocol is not StencilDrift and part is not None and part.is_random:
        return "the drift has a prior"
    if not isinstance(drift, protocol):
        return f"{type(drift).__name__} does not offer {protocol.__name__}"
    like = next((v for v in model.state_dict().values() if v.is_floating_point()), torch.empty(0))
    states = random_states(model.num_latent, num_inputs_of(model), like)
    try:
        return false_claim(drift, protocol, *states)
    except (AttributeError, NotImplementedError) as error:  # of a network within it
        return f"{type(drift).__name__}: {error}"


def random_states(
    num_latent: int, num_covariates: int, like: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Z (segment, time, latent), t (segment, time) and covariates of unit size, always the same."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(_SEGMENTS, _TIMES, num_latent, generator=generator).to(like)
    t = torch.rand(_SEGMENTS, _TIMES, dtype=torch.float64, generator=generator).to(like.device)
    covariates = torch.rand(_SEGMENTS, num_covariates, generator=generator).to(like)
    return z, t, covariates if num_covariates else None


def false_claim(
    drift: Any, protocol: type, z: Tensor, t: Tensor, covariates: Tensor | None = None
) -> str | None:
    """What a drift says by a protocol and is not true, in words; None if it is true.

    Args:
        drift: It has the protocol's methods. A copy is tried.
        protocol: `LastLayer`, `SolvableLastLayer`, `PolynomialDrift` or `StencilDrift`.
        z: (segment, time, latent).
        t: (segment, time) float64.
        covariates: (segment, p).

    Raises:
        NotImplementedError: A network within it offers less than the protocol asks for.
    """
    claims: dict[type, Any] = {
        LastLayer: _of_last_layer,
        SolvableLastLayer: _of_solvable_last_layer,
        PolynomialDrift: _of_polynomial,
        StencilDrift: _of_stencils,
    }
    with torch.inference_mode(False), Isolation(0, z.device).turn():
        wrong: str | None = claims[protocol](drift, z.clone(), t.clone(), covariates)
    return None if wrong is None else f"{type(drift).__name__}.{wrong}"


def _of_last_layer(drift: Any, z: Tensor, t: Tensor, covariates: Tensor | None) -> str | None:
    drift = deepcopy(drift).requires_grad_()  # its parameters may be held
    if hasattr(drift, "awake"):
        drift.awake = True  # a network that rests is one all the same
    with torch.enable_grad():
        parameters = list(drift.parameters())
        last = torch.autograd.grad(
            sum(W.sum() for W in drift.readout().values()), parameters, allow_unused=True
        )
        with torch.no_grad():  # at zero, where they start, any function of φ W looks linear
            for parameter, slope in zip(parameters, last, strict=True):
                if slope is not None:
                    parameter.add_(torch.randn_like(parameter))
        value = drift(z, t, covariates=covariates)
        features, weights = drift.features(z, t, covariates), drift.readout()
        said = drift.joined(
            {name: read_out(phi.detach(), weights[name]) for name, phi in features.items()}
        )
        if not _close(said + drift.offset(z, t, covariates), value):
            return "forward: is not offset + joined(φ W)"
        v = torch.randn_like(value)
        if not _close(drift.joined(drift.split(v)), v):
            return "split: joined does not undo it"
        # of the parameters of which W is made only
        slopes = [
            torch.autograd.grad((v * x).sum(), parameters, allow_unused=True) for x in (said, value)
        ]
    for one, other in zip(*slopes, strict=True):
        if one is not None and (other is None or not _close(other, one)):
            return "features: are not the drift's derivative by its last weights"
    return None


def _of_solvable_last_layer(
    drift: Any, z: Tensor, t: Tensor, covariates: Tensor | None
) -> str | None:
    if wrong := _of_last_layer(drift, z, t, covariates):
        return wrong
    drift = deepcopy(drift)
    weights = {name: torch.randn_like(W) for name, W in drift.readout().items()}
    drift.set_readout(weights)
    found = drift.readout()
    right = all(_close(found[name], W) for name, W in weights.items())
    return None if right else "set_readout: the last weights are others then"


@torch.no_grad()
def _of_polynomial(drift: Any, z: Tensor, t: Tensor, covariates: Tensor | None) -> str | None:
    if drift(z, t, covariates=covariates).any():
        return "forward: is not zero before training, as where physics are known"
    common = [] if covariates is None else [covariates[:, None].expand(*z.shape[:-1], -1)]
    x = drift.neighbourhoods(z, *common)
    outputs = z.shape[-1] // x.shape[-2]
    A, u = torch.randn(outputs, x.shape[-1]).to(x), torch.randn(x.shape[-1]).to(x)
    Q = A.new_zeros(outputs, len(u), len(u))
    Q[-1] = torch.outer(u, u) if drift.has_quadratic else 0.0
    drift = deepcopy(drift)
    drift.set_polynomial(A, Q)
    expected = x @ A.mT + torch.einsum("...i,kij,...j->...k", x, Q, x)
    right = _close(drift(z, t, covariates=covariates), expected.mT.flatten(-2))
    return None if right else "set_polynomial: forward is not that polynomial then"


@torch.no_grad()
def _of_stencils(drift: Any, z: Tensor, t: Tensor, covariates: Tensor | None) -> str | None:
    middle = drift.stencils(z)[..., drift.middle].mT.flatten(-2)
    right = torch.equal(middle, z[..., : middle.shape[-1]])
    return None if right else "middle: is not where a point finds itself in its stencil"


def _close(value: Tensor, wanted: Tensor) -> bool:
    """Equal but for rounding; values that are not finite are not."""
    return value.shape == wanted.shape and bool(
        (value - wanted).abs().max() <= _CLOSE * wanted.abs().max()
    )
