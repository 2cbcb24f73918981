"""Last weights of a network, in which it is linear: the same at all points, or others at each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pyro_msde.networks.growing import grow_from

__all__ = ["LocalReadout", "read_out"]


class LocalReadout(nn.Module):
    """f_j(x) = φ(x) (W + W_j): a network whose last weights differ from point to point.

    What all points share learns from all of them; W_j, which start at zero, from point j alone.
    Beside an obstacle, or where the mean flow differs, dynamics are not those of elsewhere.

    Args:
        network: φ and W, such as a `PolynomialMLP`.
        num_points: How many points.
    """

    def __init__(self, network: Any, num_points: int) -> None:
        super().__init__()
        self.network = network
        self.local = nn.Parameter(torch.zeros(num_points, *network.readout().shape))

    @property
    def rank(self) -> int:
        """Rank of the shared quadratic path."""
        return int(getattr(self.network, "rank", 0))

    def set_polynomial(self, linear: Tensor, quadratic: Tensor) -> None:
        """Put values in the shared linear and quadratic paths; see `PolynomialMLP`."""
        self.network.set_polynomial(linear, quadratic)

    def grow_from(self, smaller: LocalReadout, gaps: Sequence[tuple[int, int]] = ()) -> None:
        """Go on from what a smaller one's points share; the W_j are learned anew."""
        grow_from(self.network, smaller.network, gaps)

    def forward(self, x: Tensor) -> Tensor:
        """(..., point, input) to (..., point, output)."""
        return read_out(self.features(x), self.readout())

    def features(self, x: Tensor) -> Tensor:
        """φ(x), (..., point, p)."""
        features: Tensor = self.network.features(x)
        return features

    def readout(self) -> Tensor:
        """W + W_j, (point, p, output)."""
        weights: Tensor = self.network.readout() + self.local
        return weights

    @torch.no_grad()
    def set_readout(self, weights: Tensor) -> None:
        """Let W + W_j be these, (point, p, output); W is left alone."""
        self.local.copy_(weights - self.network.readout())


def read_out(features: Tensor, weights: Tensor) -> Tensor:
    """φ W (..., output), of features (..., p).

    Args:
        features: φ (..., p), or (..., point, p) where each point has weights of its own.
        weights: W (p, output), or (point, p, output).
    """
    if weights.ndim == 2:
        return features @ weights
    return torch.einsum("...jp,jpo->...jo", features, weights)
