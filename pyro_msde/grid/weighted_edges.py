"""Nodes joined by weighted edges, any number each; clusters of them are the coarse points.

With S of `graph_modes` and E the clusters' indicators, (E ζ)_i = ζ of the cluster of node i,

    T_r = M⁻¹ Eᵀ S,        T_p = S E,        M = Eᵀ E, the clusters' sizes:

cluster means of the smoothed field, and their adjoint under these weights, ⟨T_r y, ζ⟩_M =
⟨y, T_p ζ⟩. Where κ gives constants the gain one, both reproduce them.

Between clusters, A_jk = (Eᵀ W E)_jk / M_jj is how strongly k acts on j; the drift sees sums over
neighbours with these weights (`neighbour_sums`).
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from pyro_msde.checks import check_whole
from pyro_msde.grid.clusters import cluster_labels, joined_nodes, middle_nodes
from pyro_msde.grid.graph_modes import Modes, faithful_gains, gaussian_gains
from pyro_msde.grid.neighbour_sums import NeighbourSums

__all__ = ["ClusterOperators", "WeightedEdges"]

Array = NDArray[Any]

_HOPS = 2  # that the drift sees unless told otherwise


class WeightedEdges:
    """What a `SensorGraph` asks of weighted edges.

    Attributes:
        adjacency: (n, n) weights, symmetric, zero on the diagonal.
        modes: Of the graph.
        labels: (n,) the coarse point of each node.
    """

    def __init__(self, adjacency: sparse.csr_array, coarse: Any) -> None:
        """Find the clusters.

        Args:
            adjacency: (n, n) weights, symmetric, zero on the diagonal.
            coarse: How many clusters, or (n,) each node's. None: every node is one.

        Raises:
            ValueError: As `cluster_labels`; fewer clusters than connected parts.
        """
        n = adjacency.shape[0]
        parts, part = connected_components(adjacency, directed=False)
        wanted = cluster_labels(n if coarse is None else coarse, n)
        self.adjacency, self.coarsened = adjacency, coarse is not None
        self._tables: dict[Any, list[Tensor]] = {}
        if not isinstance(wanted, int):
            self.labels = wanted
            self.modes = Modes.of(adjacency, parts, self.num_coarse)
            return
        if wanted < parts:
            alone = int((np.bincount(part) == 1).sum())
            raise ValueError(
                f"coarse={wanted}: the graph falls into {parts} parts that no edge joins, {alone} "
                f"of them single nodes. Give at least {parts}, or join them."
            )
        self.modes = Modes.of(adjacency, parts, wanted)
        self.labels = joined_nodes(self.modes.places(wanted), wanted)

    @property
    def num_coarse(self) -> int:
        """Clusters."""
        return int(self.labels.max()) + 1

    @property
    def kernel_size(self) -> int:
        """Numbers of κ a channel, K."""
        return self.modes.shapes.shape[1]

    @property
    def edges(self) -> NDArray[np.int64]:
        """(2, E) nodes that are joined, each pair once."""
        upper = sparse.coo_array(sparse.triu(self.adjacency))
        return np.stack([upper.row, upper.col]).astype(np.int64)

    @property
    def edge_weights(self) -> NDArray[np.float64]:
        """(E,) theirs, one on average."""
        weights = sparse.coo_array(sparse.triu(self.adjacency)).data
        return np.asarray(weights / weights.mean() if weights.size else weights)

    @cached_property
    def middles(self) -> NDArray[np.int64]:
        """(cluster,) the middle node of each."""
        places = self.modes.places(max(self.num_coarse, 2))  # the first is one for all
        return middle_nodes(places, self.labels)

    def half_width(self, most: int) -> int:
        """Hops from cluster to cluster that the drift sees, at most so many."""
        return min(most, _HOPS)

    def stencil(self, half_width: int) -> NeighbourSums:
        """Each coarse point beside the sums over its neighbours."""
        hops = check_whole("half_width", half_width, 0)
        sizes = np.bincount(self.labels)
        clusters = sparse.csr_array(
            (np.ones(len(self.labels)), (np.arange(len(self.labels)), self.labels))
        )
        between = (clusters.T @ self.adjacency @ clusters).toarray()
        np.fill_diagonal(between, 0.0)
        return NeighbourSums(torch.from_numpy(between / sizes[:, None]), hops)

    def kernel(self, smoothing: str) -> Tensor:
        """κ at the start, (K,): "gaussian", or what lets pass what the coarse points resolve."""
        gaussian = smoothing == "gaussian"
        gains = gaussian_gains() if gaussian else faithful_gains(self.modes, self.labels)
        return torch.as_tensor(gains, dtype=torch.get_default_dtype())

    def operators(self, kernel: Tensor) -> ClusterOperators:
        """Smoothing, restriction and prolongation with κ (..., channel, K)."""
        key = (kernel.device, kernel.dtype)
        if key not in self._tables:  # once, not at every step
            members = np.eye(self.num_coarse)[:, self.labels]
            sizes = members.sum(1)
            arrays = (self.modes.shapes, self.modes.vectors, members @ self.modes.vectors, sizes)
            tables = [torch.as_tensor(x).to(kernel) for x in (*arrays, members / sizes[:, None])]
            self._tables[key] = tables
        return ClusterOperators(kernel, *self._tables[key])

    def to_dict(self) -> dict[str, Any]:
        """Edges, their weights and clusters, as `SensorGraph` takes them."""
        weights = sparse.coo_array(sparse.triu(self.adjacency)).data
        return {
            "adjacency": self.edges.tolist(),
            "weights": weights.tolist(),
            "num_nodes": int(self.adjacency.shape[0]),
            "coarse": self.labels.tolist() if self.coarsened else None,
        }

    def __eq__(self, other: object) -> bool:
        """Same weights, same clusters."""
        return isinstance(other, WeightedEdges) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        """Sizes."""
        nodes, edges = self.adjacency.shape[0], self.adjacency.nnz // 2
        coarse = f", coarse={self.num_coarse}" if self.coarsened else ""
        return f"{nodes} nodes, {edges} edges{coarse}"


class ClusterOperators:
    """The three operators of one κ, as `ScaleOperators` on a grid.

    Args:
        kernel: κ, (..., channel, K).
        shapes: (n, K) the gains of the modes are shapes · κ.
        vectors: U, (n, n).
        sums: Eᵀ U, (cluster, n).
        sizes: The diagonal of M, (cluster,).
        means: M⁻¹ Eᵀ, (cluster, n).
    """

    def __init__(
        self,
        kernel: Tensor,
        shapes: Tensor,
        vectors: Tensor,
        sums: Tensor,
        sizes: Tensor,
        means: Tensor,
    ) -> None:
        self._gains = kernel @ shapes.mT
        self._vectors, self._sums, self._sizes, self._means = vectors, sums, sizes, means

    def smooth(self, y: Tensor) -> Tensor:
        """S y, (..., channel, node), from y (..., channel, node)."""
        return self._amplitudes(y) @ self._vectors.mT

    def sample(self, smoothed: Tensor) -> Tensor:
        """T_r y, (..., channel, cluster), from S y: means over clusters."""
        return smoothed @ self._means.mT

    def restrict(self, y: Tensor) -> Tensor:
        """T_r y, (..., channel, cluster), from y (..., channel, node)."""
        return self._amplitudes(y) @ self._sums.mT / self._sizes

    def prolong(self, zeta_field: Tensor) -> Tensor:
        """T_p ζ, (..., channel, node), from ζ (..., channel, cluster)."""
        return ((zeta_field @ self._sums) * self._gains) @ self._vectors.mT

    def _amplitudes(self, y: Tensor) -> Tensor:
        """Of the modes in S y, (..., channel, mode)."""
        return (y @ self._vectors) * self._gains
