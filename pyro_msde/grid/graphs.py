"""Sensors without a grid: fields on the nodes of a graph, some or all of which are coarse points.

Two kinds of graphs have different operators, and drifts see different things of them: with as many
neighbours each, in an order that has a meaning (`ordered_neighbours`), and with weighted edges, any
number each (`weighted_edges`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from pyro_msde.checks import check_whole
from pyro_msde.grid.adjacency import adjacency_matrix, neighbours_in_order
from pyro_msde.grid.filling import depth_on_graph, filled_on_graph
from pyro_msde.grid.neighbour_sums import NeighbourSums
from pyro_msde.grid.neighbours import Stencil
from pyro_msde.grid.networkx_graphs import node_positions
from pyro_msde.grid.ordered_neighbours import GraphOperators, OrderedNeighbours
from pyro_msde.grid.unseen import share_left, share_left_of_states
from pyro_msde.grid.weighted_edges import ClusterOperators, WeightedEdges

__all__ = ["SensorGraph"]


class SensorGraph:
    """Nodes, their neighbours and the channels of the fields on them; stands in for a `Grid`.

    An index table, or a matrix of zeros and ones with equally many in each row, says of each node
    which neighbours it has in which order: the drift takes each of them by itself, and every node
    is a coarse point. All other graphs have undirected edges with weights, and numbers of
    neighbours that may differ or be zero: the drift takes weighted sums over neighbours. Of these
    the coarse points are clusters of nodes, if `coarse` says how many. Then an index table or a
    matrix is read as such edges, too.

    Args:
        adjacency: Index table (n, k) of neighbours; matrix (n, n), dense or of scipy.sparse, of
            zeros and ones or of positive weights, the stronger the more alike the nodes are; edges
            (2, E), each once or each in both directions; or a graph of networkx, in the order of
            its nodes, whose edges may have a "weight".
        channels: Values per node.
        coarse: Coarse points, each a cluster of nodes; or (n,) the number of each node's cluster,
            from 0 on. None: every node is one.
        weights: (E,) of the edges (2, E). None: one each.
        num_nodes: Of edges (2, E), where the last nodes have none.
        positions: (n, 2) where nodes are, for pictures and `multiscale(located=True)`. None: those
            that a graph of networkx has as "pos".

    Attributes:
        channels: Values per node.
        positions: (n, 2) float64, or None.

    Raises:
        ValueError: What is none of these; self-loops, weights that are negative or NaN, edges in
            one direction only; more clusters than nodes or fewer than connected parts; positions
            of another shape or not finite.
    """

    ndim = 1
    stride = (1,)
    periodic = (False,)
    regular = False  # nodes lie on no axes
    has_waves = False
    mask = None
    padding = ((0, 0),)

    def __init__(
        self,
        adjacency: Any,
        *,
        channels: int = 1,
        coarse: int | ArrayLike | None = None,
        weights: ArrayLike | Tensor | None = None,
        num_nodes: int | None = None,
        positions: Any = None,
    ) -> None:
        self.channels = check_whole("channels", channels, 1, 2**20)
        table = None
        if coarse is None and weights is None and num_nodes is None:
            table = neighbours_in_order(adjacency)
        self._neighbours: OrderedNeighbours | WeightedEdges
        if table is not None:
            self._neighbours = OrderedNeighbours(table)
        else:
            matrix = adjacency_matrix(adjacency, weights, num_nodes)
            self._neighbours = WeightedEdges(matrix, coarse)
        self.positions = node_positions(adjacency, positions, self.num_points)

    @property
    def clusters(self) -> NDArray[np.int64]:
        """(n,) the coarse point of each node."""
        return self._neighbours.labels

    @property
    def edges(self) -> NDArray[np.int64]:
        """(2, E) nodes that are joined, each pair once."""
        return self._neighbours.edges

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
        weights = torch.from_numpy(self._neighbours.edge_weights)
        return filled_on_graph(torch.from_numpy(self.edges), weights, fields, observed)

    def unseen_points(self, observed: Tensor, dtype: torch.dtype) -> Tensor:
        """Share of the variance left at each node, shaped as `observed` (..., channel, node)."""
        weights = torch.from_numpy(self._neighbours.edge_weights)
        depth = depth_on_graph(torch.from_numpy(self.edges), weights, observed, dtype)
        return share_left(depth)

    def unseen_states(self, observed: Tensor, dtype: torch.dtype) -> Tensor:
        """Share left of each state and, last, of microscale states, (..., num_zeta + 1)."""
        labels = torch.from_numpy(self.clusters).to(observed.device)
        sizes = labels.bincount().to(dtype)

        def mean(nodes: Tensor) -> Tensor:
            """Over each cluster."""
            total = nodes.new_zeros(*nodes.shape[:-1], len(sizes))
            return total.index_add(-1, labels, nodes) / sizes

        return share_left_of_states(self, self.unseen_points(observed, dtype), mean)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n,)."""
        return (self.num_points,)

    data_shape = shape

    @property
    def coarse(self) -> tuple[int, ...]:
        """(number of coarse points,)."""
        return (self.num_coarse,)

    @property
    def num_points(self) -> int:
        """Nodes."""
        return len(self.clusters)

    @property
    def num_coarse(self) -> int:
        """Clusters."""
        return int(self.clusters.max()) + 1

    @property
    def num_zeta(self) -> int:
        """Size of the macroscale state, channels · coarse points."""
        return self.channels * self.num_coarse

    @property
    def field_shape(self) -> tuple[int, ...]:
        """Shape of one snapshot, (channel, node)."""
        return (self.channels, self.num_points)

    @property
    def coordinates(self) -> tuple[NDArray[np.float64], ...]:
        """Numbers of the nodes."""
        return (np.arange(self.num_points, dtype=np.float64),)

    @property
    def coarse_index(self) -> tuple[NDArray[np.int64], ...]:
        """The middle node of each cluster."""
        return (self._neighbours.middles,)

    @property
    def coarse_coordinates(self) -> tuple[NDArray[np.float64], ...]:
        """Numbers of these nodes."""
        return (self.coordinates[0][self.coarse_index[0]],)

    def locations(self) -> Tensor:
        """(coarse point, 2) means of the clusters' positions, in [−1, 1].

        Raises:
            ValueError: The nodes have no positions.
        """
        if self.positions is None:
            raise ValueError(
                "located: sensors on a graph have no coordinates. Give them: "
                "SensorGraph(…, positions=…)."
            )
        low, high = self.positions.min(0), self.positions.max(0)
        scaled = 2 * (self.positions - low) / np.where(high > low, high - low, 1.0) - 1
        sums = np.zeros((self.num_coarse, 2))
        np.add.at(sums, self.clusters, scaled)
        means = sums / np.bincount(self.clusters)[:, None]
        return torch.as_tensor(means, dtype=torch.get_default_dtype())

    def half_width(self, most: int) -> int:
        """Steps along edges that the drift sees, at most so many; 0 of neighbours in order."""
        return self._neighbours.half_width(most)

    def stencil(self, half_width: int) -> Stencil | NeighbourSums:
        """Gathers each coarse point with its neighbours, or with sums over them."""
        return self._neighbours.stencil(half_width)

    def kernel(self, smoothing: str = "", radius: int = 0) -> Tensor:
        """κ at the start, (channel, K); a graph knows no radius."""
        return self._neighbours.kernel(smoothing).expand(self.channels, -1).clone()

    def operators(self, kernel: Tensor) -> GraphOperators | ClusterOperators:
        """Smoothing, restriction and prolongation with a kernel (..., channel, K).

        Raises:
            ValueError: A kernel of another shape.
        """
        expected = (self.channels, self._neighbours.kernel_size)
        if kernel.shape[-2:] != expected:
            raise ValueError(
                f"kernel: shape {tuple(kernel.shape)} does not end in (channel, K) = {expected}"
            )
        return self._neighbours.operators(kernel)

    def flatten(self, coarse_field: Tensor) -> Tensor:
        """(..., num_zeta) from (..., channel, coarse point)."""
        return coarse_field.flatten(-2)

    def unflatten(self, zeta: Tensor) -> Tensor:
        """(..., channel, coarse point) from (..., num_zeta)."""
        return zeta.unflatten(-1, (self.channels, self.num_coarse))

    def to_dict(self) -> dict[str, Any]:
        """Arguments that give this graph again, lists and numbers that JSON can hold."""
        described = {**self._neighbours.to_dict(), "channels": self.channels}
        if self.positions is not None:
            described["positions"] = self.positions.tolist()
        return described

    def __eq__(self, other: object) -> bool:
        """Same neighbours, coarse points, channels and positions."""
        return isinstance(other, SensorGraph) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        """Of sizes only."""
        return hash((self.channels, self.num_points, self.num_coarse))

    def __deepcopy__(self, memo: dict[int, Any]) -> SensorGraph:
        """Itself: nothing changes a graph, and what it has computed is large."""
        return self

    def __repr__(self) -> str:
        """Sizes."""
        return f"SensorGraph({self._neighbours}, channels={self.channels})"
