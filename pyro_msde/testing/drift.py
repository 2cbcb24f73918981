"""What is asked of a drift, and of one that offers the optional protocols."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pyro_msde.networks import false_claim, random_states
from pyro_msde.protocols import LastLayer, PolynomialDrift, SolvableLastLayer, StencilDrift

__all__ = ["check_drift"]


def check_drift(drift: nn.Module, num_latent: int, *, num_covariates: int = 0) -> list[str]:
    """Try a drift at random states, on the device and with the dtype of its tensors.

    Args:
        drift: Module of (z, t, covariates), as `pyro_msde.protocols.Drift` says.
        num_latent: Latent states.
        num_covariates: Covariates that it takes.

    Returns:
        Names of the optional protocols that it offers. `PolynomialDrift` is one for drifts that are
        zero before training only.

    Raises:
        AssertionError: Its values are wrong in shape or kind, depend on other rows, have no
            gradient, or something that it says by a protocol is not true.
    """
    tensors = [v for v in drift.state_dict().values() if v.is_floating_point()]
    z, t, covariates = random_states(num_latent, num_covariates, (tensors or [torch.empty(0)])[0])
    value = _check_values(drift, z, t, covariates)
    _check_rows(drift, z, t, covariates, value)
    _check_gradients(drift, z, t, covariates)
    offered: list[str] = []
    for protocol in (LastLayer, SolvableLastLayer, StencilDrift, PolynomialDrift):
        if not isinstance(drift, protocol) or (protocol is PolynomialDrift and bool(value.any())):
            continue
        try:
            wrong = false_claim(drift, protocol, z, t, covariates)
        except NotImplementedError:  # a network within it offers less
            continue
        if wrong is not None:
            raise AssertionError(f"{wrong}. Override what {protocol.__name__} asks for as well.")
        offered.append(protocol.__name__)
    return offered


@torch.no_grad()
def _check_values(drift: Any, z: Tensor, t: Tensor, covariates: Tensor | None) -> Tensor:
    value: Tensor = drift(z, t, covariates=covariates)
    if value.shape != z.shape or value.dtype != z.dtype or value.device != z.device:
        raise AssertionError(
            f"drift: {value.dtype} {tuple(value.shape)} on {value.device} for z {z.dtype} "
            f"{tuple(z.shape)} on {z.device}. Return a drift like z; times are float64."
        )
    if not bool(value.isfinite().all()):
        raise AssertionError("drift: not finite at states of unit size.")
    samples = torch.stack([z, -z, 2 * z])[:, None]
    together = drift(samples, t, covariates=covariates)
    alone = torch.stack([drift(x[0], t, covariates=covariates) for x in samples])[:, None]
    if together.shape != alone.shape or not torch.allclose(together, alone, 1e-4, 1e-5):
        raise AssertionError(
            "drift: differs where samples lie to the left of z's axes. Count axes from the right."
        )
    row = drift(z, t[:1], covariates=covariates)
    if not torch.allclose(row, drift(z, t[:1].expand_as(t), covariates=covariates), 1e-4, 1e-5):
        raise AssertionError("drift: one row of times must serve all segments. Broadcast t.")
    return value


@torch.no_grad()
def _check_rows(drift: Any, z: Tensor, t: Tensor, covariates: Tensor | None, value: Tensor) -> None:
    other = z.clone()
    other[1:] += 1.0
    other[:, 1:] += 1.0
    changed = drift(other, t, covariates=covariates)
    if not torch.allclose(changed[0, 0], value[0, 0], 1e-4, 1e-5):
        raise AssertionError(
            "drift: of one state depends on other segments or times. Leave out what averages over "
            "rows, as batch normalisation does."
        )


def _check_gradients(drift: Any, z: Tensor, t: Tensor, covariates: Tensor | None) -> None:
    wanted = [p for p in drift.parameters() if p.requires_grad]
    with torch.enable_grad():
        at = z.clone().requires_grad_()
        value = drift(at, t, covariates=covariates)
        if not value.requires_grad:
            raise AssertionError("drift: has no gradient. Compute it with torch, without no_grad.")
        slopes = torch.autograd.grad(value.square().sum(), [at, *wanted], allow_unused=True)
    if not all(bool(x.isfinite().all()) for x in slopes if x is not None):
        raise AssertionError("drift: its gradient is not finite at states of unit size.")
