"""Last weights of a network, in which it is linear: of each point, or varying with some inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pyro_msde.networks.growing import grow_from

__all__ = ["LocalReadout", "VaryingReadout", "innermost", "read_out", "read_out_changed"]


class _Readout(nn.Module):
    """A network with more last weights than its own; the rest of it is the network's."""

    network: Any

    @property
    def rank(self) -> int:
        """Rank of the shared quadratic path."""
        return int(getattr(self.network, "rank", 0))

    def set_polynomial(self, linear: Tensor, quadratic: Tensor) -> None:
        """Put values in the shared linear and quadratic paths; see `PolynomialMLP`."""
        self.network.set_polynomial(linear, quadratic)

    def grow_from(self, smaller: _Readout, gaps: Sequence[tuple[int, int]] = ()) -> None:
        """Go on from a smaller one's network; the weights beside it are learned anew."""
        grow_from(self.network, smaller.network, gaps)

    def forward(self, x: Tensor) -> Tensor:
        """(..., input) to (..., output)."""
        return read_out(self.features(x), self.readout())

    def features(self, x: Tensor) -> Tensor:
        """φ(x), (..., p)."""
        raise NotImplementedError

    def readout(self) -> Tensor:
        """W, with which the network is φ(x) W."""
        raise NotImplementedError


class LocalReadout(_Readout):
    """f_j(x) = φ(x) (W + W_j): a network whose last weights differ from point to point.

    What all points share learns from all of them; W_j, which start at zero, from point j alone.
    Beside an obstacle, or where the mean flow differs, dynamics are not those of elsewhere.
    Inputs are (..., point, input), outputs (..., point, output).

    Args:
        network: φ and W, such as a `PolynomialMLP`.
        num_points: How many points.
    """

    def __init__(self, network: Any, num_points: int) -> None:
        super().__init__()
        self.network = network
        self.local = nn.Parameter(torch.zeros(num_points, *network.readout().shape))

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


class VaryingReadout(_Readout):
    """f(x) = φ(x) Σ_k m_k(x) W_k: a network whose last weights are polynomials of some inputs.

    The m_k are one, those inputs, and their products of two. Dynamics that depend on a number which
    is fixed along a trajectory, as a flow's do on its Reynolds number, are then the network's at
    each of its values, with weights that change smoothly from one to the next. W₀ is the network's;
    the others start at zero.

    Args:
        network: φ and W₀, such as a `PolynomialMLP` or a `LocalReadout`.
        inputs: Which of its inputs the weights depend on.
    """

    def __init__(self, network: Any, inputs: slice) -> None:
        super().__init__()
        self.network, self.inputs = network, inputs
        count = inputs.stop - inputs.start
        shape = count + count * (count + 1) // 2, *network.readout().shape
        self.varying = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        """(..., input) to (..., output)."""
        return self._combined(x, read_out(self.network.features(x), self._side_by_side()))

    def changed(self, x: Tensor, changes: Tensor) -> Tensor:
        """As `forward`, with other weights for each path; the products need not be made for that.

        Args:
            x: (sample, ..., input).
            changes: Of the W_k, (sample, p, output).
        """
        features = self.network.features(x)
        beside = torch.cat(changes.split(self.network.readout().shape[-2], -2), -1)
        values = read_out(features, self._side_by_side()) + _each_its_own(features, beside)
        return self._combined(x, values)

    def _side_by_side(self) -> Tensor:
        """The W_k, (..., p, k × output)."""
        return torch.cat([self.network.readout(), *self.varying], -1)

    def _combined(self, x: Tensor, values: Tensor) -> Tensor:
        """Σ_k m_k(x) of values (..., k × output)."""
        monomials = self._monomials(x)
        values = values.unflatten(-1, (monomials.shape[-1], -1))
        return (monomials[..., None] * values).sum(-2)

    def features(self, x: Tensor) -> Tensor:
        """Products of φ(x) with each m_k, (..., p)."""
        products = self._monomials(x)[..., None] * self.network.features(x)[..., None, :]
        return products.flatten(-2)

    def readout(self) -> Tensor:
        """All W_k, (p, output), or (point, p, output) if the network's are such."""
        return torch.cat([self.network.readout(), *self.varying], -2)

    @torch.no_grad()
    def set_readout(self, weights: Tensor) -> None:
        """Let the W_k be these, shaped as `readout` gives them."""
        own, *varying = weights.split(self.network.readout().shape[-2], -2)
        self.network.set_readout(own)
        self.varying.copy_(torch.stack(varying))

    def _monomials(self, x: Tensor) -> Tensor:
        """m_k(x), (..., k)."""
        r = x[..., self.inputs]
        i, j = torch.triu_indices(r.shape[-1], r.shape[-1], device=r.device)
        return torch.cat([torch.ones_like(r[..., :1]), r, r[..., i] * r[..., j]], -1)


def innermost(network: Any) -> Any:
    """The network itself, where others add to its last weights."""
    while isinstance(network, _Readout):
        network = network.network
    return network


def read_out(features: Tensor, weights: Tensor) -> Tensor:
    """φ W (..., output), of features (..., p).

    Args:
        features: φ (..., p), or (..., point, p) where each point has weights of its own.
        weights: W (p, output), or (point, p, output).
    """
    if weights.ndim == 2:
        return features @ weights
    return torch.einsum("...jp,jpo->...jo", features, weights)


def read_out_changed(network: Any, x: Tensor, changes: Tensor) -> Tensor:
    """What a network says with other last weights for each path, (sample, ..., output).

    Args:
        network: A `LinearReadout`.
        x: (sample, ..., input).
        changes: Of its weights, (sample, p, output), the same at all points.
    """
    if isinstance(network, VaryingReadout):
        return network.changed(x, changes)
    features, weights = network.features(x), network.readout()
    if weights.ndim > 2:
        return read_out(features, weights) + _each_its_own(features, changes)
    return _each_its_own(features, weights + changes)


def _each_its_own(features: Tensor, weights: Tensor) -> Tensor:
    """Features (sample, ..., p) times weights (sample, p, output)."""
    return features @ weights.reshape(len(weights), *(1,) * (features.ndim - 3), *weights.shape[1:])
