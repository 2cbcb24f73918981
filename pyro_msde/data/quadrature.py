"""Quadrature in time for the drift residual: stratified random nodes (eq. 27).

Random nodes leave no gap that a network could hide a bad drift in, and the estimate of the
integral has no bias whatever their number.

A path that is pinned at observations is pulled to the next one the harder the nearer it is: in a
layer before it that is the thinner the noisier the path (`pyro_msde.sde.bridge`). There half of the
nodes are crowded: with x the distance from the next observation as a share of the interval, as many
of them fall into each of the cells between x = 1, ½, ¼, … 2⁻¹⁷ and 0. Uniform nodes alone estimate
the residual with a relative standard deviation of 2.3, 11 and 72 a node where the noise of an
interval is 84, 8400 and 840 000 times the variance at its ends; these with 1.2, 1.0 and 1.3
(`tests/data/test_quadrature.py`).
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

__all__ = ["Quadrature", "StratifiedQuadrature"]

_CELLS = 18


class Quadrature(Protocol):
    """Anything that gives nodes and weights for ∫ f(t) v(t) dt over each segment."""

    def draw(self, num_nodes: int) -> tuple[Tensor, Tensor]:
        """Nodes and weights, each (segment, num_nodes) float64."""
        ...


class StratifiedQuadrature:
    """One random node in each of `num_nodes` equal parts of each segment.

    Args:
        edges: (segment, e) float64, increasing, the first and last bounding the segment.
        density: (segment, e − 1) v between neighbouring edges.
        pinned: (segment, m) float64, increasing, of the same bounds: times before which half of the
            nodes are crowded, those of a part in the intervals that it begins in. None: all nodes
            are uniform.
        shared_offsets: The segments are equally long: draw the same offsets for all of them, so
            that interpolation weights can be shared.
    """

    def __init__(
        self,
        edges: Tensor,
        density: Tensor,
        *,
        pinned: Tensor | None = None,
        shared_offsets: bool = False,
    ) -> None:
        self.edges = edges
        self.density = density
        self.pinned = pinned
        self.shared_offsets = shared_offsets

    def to(self, device: Any) -> StratifiedQuadrature:
        """The same on another device."""
        return StratifiedQuadrature(
            self.edges.to(device),
            self.density.to(device),
            pinned=None if self.pinned is None else self.pinned.to(device),
            shared_offsets=self.shared_offsets,
        )

    def evenly(self) -> StratifiedQuadrature:
        """The same with uniform nodes only, whose weights sum to the integral of v."""
        return StratifiedQuadrature(self.edges, self.density, shared_offsets=self.shared_offsets)

    def draw(self, num_nodes: int) -> tuple[Tensor, Tensor]:
        """Nodes and weights, each (segment, num_nodes) float64."""
        edges = self.edges
        start, length = edges[:, :1], edges[:, -1:] - edges[:, :1]
        strata = torch.arange(num_nodes, dtype=edges.dtype, device=edges.device)
        nodes = start + self._within(strata) / num_nodes * length
        weight = length / num_nodes
        if self.pinned is not None:
            begin, end, _ = _around(self.pinned, nodes)
            order = torch.rand(self._rows, num_nodes, device=edges.device).argsort(-1)
            left, share = _crowded(self._within(order.to(edges.dtype)) / num_nodes)
            nodes, weight = end - left * (end - begin), weight / share
        return nodes, self.density.gather(1, _around(edges, nodes)[2]) * weight

    @property
    def _rows(self) -> int:
        """How many rows of random numbers there are."""
        return 1 if self.shared_offsets else self.edges.shape[0]

    def _within(self, strata: Tensor) -> Tensor:
        """Somewhere in each stratum, (segment or 1, num_nodes)."""
        size = (self._rows, strata.shape[-1])
        return strata + torch.rand(size, dtype=strata.dtype, device=strata.device)


def _crowded(uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Distances from the next observation, and their density, of numbers uniform in [0, 1)."""
    ends = 0.5 ** torch.arange(_CELLS - 1, -1, -1, dtype=uniform.dtype, device=uniform.device)
    width = torch.diff(ends, prepend=ends.new_zeros(1))
    mass = 0.5 * width + 0.5 / _CELLS
    after = mass.cumsum(0)
    cell = torch.searchsorted(after, uniform, right=True).clamp(max=_CELLS - 1)
    inside = (after[cell] - uniform) / mass[cell]
    return ends[cell] - inside * width[cell], mass[cell] / width[cell]


def _around(edges: Tensor, at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The edges on either side of times, and the interval's number; each shaped as the times."""
    interval = torch.searchsorted(edges, at, right=True) - 1
    interval = interval.clamp(0, edges.shape[1] - 2)
    return edges.gather(1, interval), edges.gather(1, interval + 1), interval
