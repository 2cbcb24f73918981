"""Nodes with as many neighbours each, in an order that has a meaning; each its own coarse point.

    (S y)_j = Σ_k κ_k y_{A(j, k)},      T_r = S,      T_p = Sᵀ,

with A(j, 0) = j and A(j, 1), A(j, 2), … the neighbours of node j (Ilersich & Nair 2025, eq. 10, for
any adjacency): one kernel κ for all nodes, as on a grid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_msde.grid.neighbours import Stencil

__all__ = ["GraphOperators", "OrderedNeighbours"]


class OrderedNeighbours:
    """What a `SensorGraph` asks of neighbours in order.

    Attributes:
        table: (n, K) int64, the nodes themselves in column 0.
        labels: (n,) the coarse point of each node: itself.
        middles: (n,) likewise the node of each coarse point.
    """

    def __init__(self, table: Tensor) -> None:
        self.table = _own_node_first(table)
        self.labels = self.middles = np.arange(len(table))

    @property
    def edges(self) -> NDArray[np.int64]:
        """(2, E) nodes that are joined in either direction, each pair once."""
        node = np.repeat(self.labels, self.table.shape[1] - 1)
        pairs = np.sort([node, self.table[:, 1:].flatten().numpy()], axis=0)
        return np.unique(pairs[:, pairs[0] != pairs[1]], axis=1)

    @property
    def edge_weights(self) -> NDArray[np.float64]:
        """(E,) ones."""
        return np.ones(self.edges.shape[1])

    @property
    def kernel_size(self) -> int:
        """K."""
        return self.table.shape[1]

    def half_width(self, most: int) -> int:
        """0: the table says which neighbours there are."""
        return 0

    def stencil(self, half_width: int) -> Stencil:
        """Gathers each node with its neighbours."""
        return Stencil(self.table)

    def kernel(self, smoothing: str) -> Tensor:
        """κ at the start, (K,): one half for the node, its neighbours share the other."""
        count = self.table.shape[1] - 1
        return torch.tensor([0.5] + [0.5 / count] * count if count else [1.0])

    def operators(self, kernel: Tensor) -> GraphOperators:
        """Smoothing, restriction and prolongation with κ (..., channel, K)."""
        return GraphOperators(kernel, self.table)

    def to_dict(self) -> dict[str, Any]:
        """The table; of two nodes alone the matrix, since their table would be an edge."""
        alone = self.table.shape == (2, 1)
        return {"adjacency": [[1, 0], [0, 1]] if alone else self.table.tolist()}

    def __eq__(self, other: object) -> bool:
        """Same neighbours in the same order."""
        return isinstance(other, OrderedNeighbours) and torch.equal(self.table, other.table)

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        """Sizes."""
        nodes, size = self.table.shape
        return f"{nodes} nodes, {size - 1} neighbours each"


def _own_node_first(table: Tensor) -> Tensor:
    """Table (n, K) with the nodes themselves in column 0.

    Raises:
        ValueError: Some nodes are among their neighbours and others are not, or one is twice.
    """
    nodes = torch.arange(len(table))[:, None]
    among = (table == nodes).sum(1)
    if (among == 0).all():
        return torch.cat([nodes, table], 1)
    if not (among == 1).all():
        node = int((among != among.mode().values).int().argmax())
        raise ValueError(
            f"adjacency: node {node} is {int(among[node])} times among its own neighbours. Put "
            "every node among its neighbours once, or none."
        )
    others = table[table != nodes].reshape(len(table), -1)
    return torch.cat([nodes, others], 1)


class GraphOperators:
    """The three operators of one kernel, as `ScaleOperators` on a grid.

    Args:
        kernel: κ, (..., channel, K).
        table: (n, K) each node and its neighbours.
    """

    def __init__(self, kernel: Tensor, table: Tensor) -> None:
        nodes, size = table.shape
        index = table.to(kernel.device).expand(*kernel.shape[:-1], nodes, size)
        weights = kernel[..., None, :].expand_as(index)
        empty = kernel.new_zeros(*kernel.shape[:-1], nodes, nodes)
        self._matrix = empty.scatter_add(-1, index, weights)

    def smooth(self, y: Tensor) -> Tensor:
        """S y, (..., channel, node), from y (..., channel, node)."""
        return torch.einsum("...ci,...cji->...cj", y, self._matrix)

    def sample(self, smoothed: Tensor) -> Tensor:
        """T_r y from S y: the same, as every node is a coarse point."""
        return smoothed

    def restrict(self, y: Tensor) -> Tensor:
        """T_r y, (..., channel, node)."""
        return self.smooth(y)

    def prolong(self, zeta_field: Tensor) -> Tensor:
        """T_p ζ = Sᵀ ζ, (..., channel, node)."""
        return torch.einsum("...cj,...cji->...ci", zeta_field, self._matrix)
