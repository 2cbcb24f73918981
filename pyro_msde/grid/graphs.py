"""Sensors without a grid: fields on the nodes of a graph, each node its own coarse point.

    (S y)_j = Σ_k κ_k y_{A(j, k)},      T_r = S,      T_p = Sᵀ,

with A(j, 0) = j and A(j, 1), A(j, 2), … the neighbours of node j (Ilersich & Nair 2025, eq. 10, for
any adjacency): one kernel κ for all nodes, as on a grid.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from pyro_msde.checks import check_whole
from pyro_msde.grid.filling import depth_on_graph, filled_on_graph
from pyro_msde.grid.neighbours import Stencil, adjacency_table
from pyro_msde.grid.unseen import share_left, share_left_of_states

__all__ = ["GraphOperators", "SensorGraph"]


class SensorGraph:
    """Nodes, their neighbours and the channels of the fields on them; stands in for a `Grid`.

    Args:
        adjacency: Index table (n, k) or 0/1 matrix (n, n), see `adjacency_table`. Each node is put
            before its neighbours where it is not among them.
        channels: Values per node.

    Attributes:
        table: (n, K) int64, the nodes themselves in column 0.
        channels: Values per node.

    Raises:
        ValueError: As `adjacency_table`, which names a node whose number of neighbours differs;
            channels that are not a positive integer.
    """

    ndim = 1
    stride = (1,)
    periodic = (False,)
    regular = False  # nodes lie on no axes
    has_waves = False
    mask = None

    def __init__(self, adjacency: ArrayLike | Tensor, *, channels: int = 1) -> None:
        self.channels = check_whole("channels", channels, 1, 2**20)
        self.table = _own_node_first(adjacency_table(adjacency))

    @property
    def admits_constant(self) -> tuple[bool, ...]:
        """True for each channel: graphs have no walls."""
        return (True,) * self.channels

    def filled(self, fields: Tensor, observed: Tensor) -> Tensor:
        """Fields with their gaps filled smoothly; see `pyro_msde.grid.filling`.

        Args:
            fields: (..., channel, node) anomalies.
            observed: Where they are given, shaped alike.
        """
        return filled_on_graph(self.table, fields, observed)

    def unseen_points(self, observed: Tensor, dtype: torch.dtype) -> Tensor:
        """Share of the variance left at each node, shaped as `observed` (..., channel, node)."""
        return share_left(depth_on_graph(self.table, observed, dtype))

    def unseen_states(self, observed: Tensor, dtype: torch.dtype) -> Tensor:
        """Share left of each state and, last, of microscale states, (..., num_zeta + 1)."""
        share = self.unseen_points(observed, dtype)
        return share_left_of_states(self, share, self.operators(self.kernel().to(share)))

    @property
    def shape(self) -> tuple[int, ...]:
        """(n,)."""
        return (len(self.table),)

    coarse = shape

    @property
    def num_points(self) -> int:
        """Nodes."""
        return len(self.table)

    num_coarse = num_points

    @property
    def num_zeta(self) -> int:
        """Size of the macroscale state, channels · nodes."""
        return self.channels * self.num_points

    @property
    def field_shape(self) -> tuple[int, ...]:
        """Shape of one snapshot, (channel, node)."""
        return (self.channels, self.num_points)

    @property
    def coordinates(self) -> tuple[NDArray[np.float64], ...]:
        """Numbers of the nodes."""
        return (np.arange(self.num_points, dtype=np.float64),)

    coarse_coordinates = coordinates

    @property
    def coarse_index(self) -> tuple[NDArray[np.int64], ...]:
        """Every node."""
        return (np.arange(self.num_points),)

    def locations(self) -> Tensor:
        """Refused: nodes have none."""
        raise ValueError("located: sensors on a graph have no coordinates.")

    def half_width(self, most: int) -> int:
        """0: a graph has no width to choose."""
        return 0

    def stencil(self, half_width: int) -> Stencil:
        """Gathers each node with its neighbours."""
        return Stencil(self.table)

    def kernel(self, smoothing: str = "", radius: int = 0) -> Tensor:
        """κ at the start, (channel, K): one half for the node, its neighbours share the other."""
        count = self.table.shape[1] - 1
        weights = torch.tensor([0.5] + [0.5 / count] * count if count else [1.0])
        return weights.expand(self.channels, -1).clone()

    def operators(self, kernel: Tensor) -> GraphOperators:
        """Smoothing, restriction and prolongation with a kernel."""
        return GraphOperators(kernel, self)

    def flatten(self, coarse_field: Tensor) -> Tensor:
        """(..., num_zeta) from (..., channel, node)."""
        return coarse_field.flatten(-2)

    def unflatten(self, zeta: Tensor) -> Tensor:
        """(..., channel, node) from (..., num_zeta)."""
        return zeta.unflatten(-1, self.field_shape)

    def to_dict(self) -> dict[str, Any]:
        """Lists and numbers that JSON can hold."""
        return {"adjacency": self.table.tolist(), "channels": self.channels}

    def __eq__(self, other: object) -> bool:
        """Same neighbours in the same order, same channels."""
        if not isinstance(other, SensorGraph) or self.channels != other.channels:
            return False
        return torch.equal(self.table, other.table)

    def __hash__(self) -> int:
        """Of sizes only."""
        return hash((self.channels, *self.table.shape))

    def __repr__(self) -> str:
        """Sizes."""
        nodes, size = self.table.shape
        return f"SensorGraph({nodes} nodes, {size - 1} neighbours each, channels={self.channels})"


def _own_node_first(table: Tensor) -> Tensor:
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
    """The three operators of one kernel on a graph, as `ScaleOperators` on a grid.

    Args:
        kernel: κ, (channel, K).
        graph: The graph.

    Raises:
        ValueError: A kernel of another shape.
    """

    def __init__(self, kernel: Tensor, graph: SensorGraph) -> None:
        nodes, size = graph.table.shape
        if kernel.shape[-2:] != (graph.channels, size):
            raise ValueError(
                f"kernel: shape {tuple(kernel.shape)} does not end in (channel, neighbours) = "
                f"{(graph.channels, size)}"
            )
        table = graph.table.to(kernel.device).expand(*kernel.shape[:-1], nodes, size)
        weights = kernel[..., None, :].expand_as(table)
        empty = kernel.new_zeros(*kernel.shape[:-1], nodes, nodes)
        self._matrix = empty.scatter_add(-1, table, weights)

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
