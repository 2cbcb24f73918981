"""Clusters of a graph's nodes: the coarse points of fields on it.

Nodes are near each other if heat that starts at one reaches the same nodes as heat from the other:
rows of the slow modes, damped (a diffusion map, Coifman & Lafon 2006). Ward's method (1963) joins
them, and k-means improves what it has joined. Nothing is drawn at random.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import cut_tree, ward

from pyro_msde.checks import check_whole
from pyro_msde.data import as_array

__all__ = ["cluster_labels", "joined_nodes", "middle_nodes"]

Array = NDArray[Any]
Integers = NDArray[np.int64]

_SWEEPS = 100  # of k-means at most; a few are enough


def cluster_labels(coarse: Any, num_nodes: int) -> int | Integers:
    """How many clusters are wanted, or the cluster of each node if they are given.

    Args:
        coarse: A number of clusters, or (n,) numbers of them from 0 on, each with a node.
        num_nodes: n.

    Raises:
        ValueError: Another number, shape or numbering.
    """
    array = as_array(coarse, "coarse")
    if array.ndim == 0:
        return check_whole("coarse", coarse, 1, num_nodes)
    if array.shape == (1,) and num_nodes > 1:  # as of a grid with one axis
        return check_whole("coarse", array[0], 1, num_nodes)
    if array.shape != (num_nodes,) or array.dtype.kind not in "iu":
        raise ValueError(
            f"coarse: {array.dtype} {array.shape}, but the graph has {num_nodes} nodes. Give a "
            "number of clusters, or the number of each node's cluster."
        )
    labels = array.astype(np.int64)
    if labels.min() < 0 or labels.max() >= num_nodes or len(np.unique(labels)) <= labels.max():
        raise ValueError(
            f"coarse: clusters from {labels.min()} to {labels.max()}, {len(np.unique(labels))} of "
            "them with nodes. Number them from 0 on, without gaps."
        )
    return labels


def joined_nodes(places: Array, count: int) -> Integers:
    """Cluster (n,) of each node, so many in all, numbered in the order of their middle nodes.

    Args:
        places: (n, m) where nodes are, near each other if they are alike.
        count: How many.
    """
    n = len(places)
    if count == n:
        return np.arange(n)
    labels: Integers = cut_tree(ward(places), count)[:, 0].astype(np.int64)
    squares = np.square(places).sum(1)[:, None]
    for _ in range(_SWEEPS):
        centres = _centres(places, labels)
        nearest = (squares - 2 * places @ centres.T + np.square(centres).sum(1)).argmin(1)
        if (nearest == labels).all() or len(np.unique(nearest)) < count:
            break
        labels = nearest
    order = middle_nodes(places, labels).argsort()
    return np.asarray(order.argsort()[labels])


def middle_nodes(places: Array, labels: Integers) -> Integers:
    """(cluster,) the node of each cluster that is nearest to its mean."""
    distance = np.square(places - _centres(places, labels)[labels]).sum(1)
    order = np.lexsort((np.arange(len(labels)), distance.round(12), labels))
    return np.asarray(order[np.unique(labels[order], return_index=True)[1]])


def _centres(places: Array, labels: Integers) -> Array:
    sums = np.zeros((labels.max() + 1, places.shape[1]))
    np.add.at(sums, labels, places)
    return sums / np.bincount(labels)[:, None]
