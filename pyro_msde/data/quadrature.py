"""Quadrature in time for the drift residual: stratified random nodes (eq. 27).

Random nodes leave no gap that a network could hide a bad drift in, and the estimate of the
integral has no bias whatever their number.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Quadrature", "StratifiedQuadrature"]


class Quadrature(Protocol):
    """Anything that gives nodes and weights for ∫ f(t) v(t) dt over each segment."""

    def draw(self, num_nodes: int) -> tuple[Tensor, Tensor]:
        """Nodes and weights, each (segment, num_nodes) float64."""
        ...


class StratifiedQuadrature:
    """One uniform node in each of `num_nodes` equal parts of each segment.

    Args:
        edges: (segment, e) float64, increasing, the first and last bounding the segment.
        density: (segment, e − 1) v between neighbouring edges.
        shared_offsets: The segments are equally long: draw the same offsets for all of them, so
            that interpolation weights can be shared.
    """

    def __init__(self, edges: Tensor, density: Tensor, *, shared_offsets: bool = False) -> None:
        self.edges = edges
        self.density = density
        self.shared_offsets = shared_offsets

    def draw(self, num_nodes: int) -> tuple[Tensor, Tensor]:
        """Nodes and weights, each (segment, num_nodes) float64."""
        edges = self.edges
        rows = 1 if self.shared_offsets else edges.shape[0]
        jitter = torch.rand(rows, num_nodes, dtype=edges.dtype, device=edges.device)
        strata = torch.arange(num_nodes, dtype=edges.dtype, device=edges.device)
        start, length = edges[:, :1], edges[:, -1:] - edges[:, :1]
        nodes = start + (strata + jitter) / num_nodes * length
        interval = torch.searchsorted(edges, nodes, right=True) - 1
        interval = interval.clamp(0, self.density.shape[1] - 1)
        return nodes, self.density.gather(1, interval) * length / num_nodes
