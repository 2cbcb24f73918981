"""What the library asks of replaceable parts: any object with a protocol's methods will do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

__all__ = ["Drift", "LastLayer", "PolynomialDrift", "StencilDrift"]


class Drift(Protocol):
    """γ(z, t): the ELBO and forecasts call it. What it offers beyond is asked for by name."""

    def __call__(self, z: Tensor, t: Tensor, parameters: Tensor | None = None) -> Tensor:
        """Drift of z (..., segment, time, latent), shaped alike; t (segment, time).

        `parameters` (segment, p) are the trajectories'.
        """


@runtime_checkable
class LastLayer(Protocol):
    """A drift whose networks are linear in their last weights; the jackknife calls it.

    γ = offset + joined({name: φ_name W_name}), where known physics may be the offset.
    """

    def features(self, z: Tensor, t: Tensor, parameters: Tensor | None = None) -> dict[str, Tensor]:
        """Features φ (..., p) of each network."""

    def offset(self, z: Tensor, t: Tensor, parameters: Tensor | None = None) -> Tensor | float:
        """The part of the drift that has no last weights."""

    def readout(self) -> dict[str, Tensor]:
        """Last weights W (p, output) of each network."""

    def joined(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """Drift (..., latent) from an output φ W (..., output) of each network; linear."""

    def split(self, values: Tensor) -> dict[str, Tensor]:
        """Outputs of each network from a drift; the inverse of `joined`."""


@runtime_checkable
class PolynomialDrift(Protocol):
    """A drift with a polynomial of the states around each coarse point; the regression sets it."""

    has_quadratic: bool

    def neighbourhoods(self, zeta: Tensor, *common: Tensor) -> Tensor:
        """Inputs x (..., point, m) from ζ (..., n_ζ) and numbers (..., any) all points share."""

    def set_polynomial(self, linear: Tensor, quadratic: Tensor) -> None:
        """Let it be A x + xᵀ Q x, with A (channel, m) and Q (channel, m, m) symmetric."""


@runtime_checkable
class StencilDrift(Protocol):
    """A drift that sees of each coarse point the states around it; the region is drawn in these."""

    middle: Sequence[int]  # where in its stencil a coarse point finds its own channels

    def stencils(self, z: Tensor) -> Tensor:
        """Stencils (..., point, k) from states (..., latent), whose first are (channel, point)."""
