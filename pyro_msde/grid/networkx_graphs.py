"""Graphs of networkx: their edges and the positions of their nodes.

They are only asked for what they hold, so that networkx need not be installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.data import to_numpy

__all__ = ["edges_of_network", "is_network", "node_positions"]

Array = NDArray[Any]


def is_network(adjacency: Any) -> bool:
    """Whether it is a graph of networkx, or behaves like one."""
    return all(hasattr(adjacency, name) for name in ("nodes", "edges", "is_directed", "adj"))


def edges_of_network(graph: Any) -> tuple[Array, Array, int]:
    """Edges (2, E), their weights (E,) and the number of nodes, which are numbered in order.

    Raises:
        ValueError: The graph is directed, or has parallel edges.
    """
    if graph.is_directed():
        raise ValueError("adjacency: a directed graph. Pass graph.to_undirected().")
    if graph.is_multigraph():
        raise ValueError("adjacency: a graph with parallel edges. Pass networkx.Graph(graph).")
    number = {node: i for i, node in enumerate(graph.nodes)}
    edges = [(number[a], number[b], w) for a, b, w in graph.edges(data="weight", default=1.0)]
    ends = np.array([edge[:2] for edge in edges], dtype=np.int64).reshape(-1, 2).T
    weights = to_numpy([edge[2] for edge in edges], "weights") if edges else np.empty(0)
    return ends, weights, len(number)


def node_positions(adjacency: Any, positions: Any, num_nodes: int) -> Array | None:
    """(n, 2) float64 where nodes are, if anybody says.

    Args:
        adjacency: A graph of networkx may have a "pos" at each node, or something else.
        positions: (n, 2), or of networkx' nodes a dict.
        num_nodes: n.

    Raises:
        ValueError: Another shape, or numbers that are not finite.
    """
    if positions is None and is_network(adjacency):
        own = dict(adjacency.nodes(data="pos"))
        positions = None if any(place is None for place in own.values()) else own
    if positions is None:
        return None
    if isinstance(positions, Mapping):
        nodes = list(adjacency.nodes) if is_network(adjacency) else list(range(num_nodes))
        missing = [node for node in nodes if node not in positions]
        if missing:
            raise ValueError(f"positions: none for node {missing[0]!r}. Give one for each node.")
        positions = [positions[node] for node in nodes]
    places = to_numpy(positions, "positions").astype(np.float64)
    if places.shape != (num_nodes, 2):
        raise ValueError(
            f"positions: shape {places.shape}, but the graph has {num_nodes} nodes. Give two "
            f"coordinates for each, {(num_nodes, 2)}."
        )
    bad = np.flatnonzero(~np.isfinite(places).all(1))
    if bad.size:
        raise ValueError(f"positions: node {bad[0]} has {places[bad[0]]}. Give finite numbers.")
    return places
