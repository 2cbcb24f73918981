"""Graphs as they come, read into one symmetric matrix of the edges' weights.

A dense or sparse matrix, the two ends of each edge, an index table of neighbours, or a graph of
networkx.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pyro_msde.checks import check_whole
from pyro_msde.data import as_array, to_numpy
from pyro_msde.grid.neighbours import adjacency_table
from pyro_msde.grid.networkx_graphs import edges_of_network, is_network

__all__ = ["adjacency_matrix", "neighbours_in_order"]

Array = NDArray[Any]

_MOST_NODES = 2**13  # of which all eigenvectors are computed: half a gigabyte
_LARGEST = 1e150  # weight: sums of larger ones may overflow
_ROUNDING = 1e-12  # relative difference of two weights that are meant to be equal


def neighbours_in_order(adjacency: Any) -> Any:
    """An index table, where `adjacency` gives each node the same number of neighbours in order.

    Args:
        adjacency: As `adjacency_matrix` takes it.

    Returns:
        int64 (n, k): an index table as it is; of a 0/1 matrix with so many ones in each row their
        places. None where it is something else.

    Raises:
        ValueError: An index table with indices out of range.
    """
    if sparse.issparse(adjacency) or is_network(adjacency):
        return None
    array = _plain(adjacency)
    if _is_matrix(array):
        counts = array.sum(1)
        same = np.isin(array, (0, 1)).all() and counts[0] > 0 and (counts == counts[0]).all()
        return adjacency_table(array) if same else None
    return None if _is_edges(array) else adjacency_table(array)


def adjacency_matrix(
    adjacency: Any, weights: Any = None, num_nodes: int | None = None
) -> sparse.csr_array:
    """Weights of the edges, (n, n) symmetric, zero on the diagonal.

    Args:
        adjacency: A matrix (n, n) of weights or of zeros and ones, dense or of scipy.sparse; edges
            (2, E), each once, or each in both directions; an index table (n, k) of neighbours, of
            which repeated ones and the node itself count as none; or an undirected graph of
            networkx, in the order of its nodes, whose edges may have a "weight".
        weights: (E,) of the edges (2, E). None: one each.
        num_nodes: Of edges (2, E). None: up to the last node that has an edge.

    Raises:
        ValueError: Something else, NaN, negative weights, self-loops, edges in one direction only,
            or too many nodes.
    """
    has_list = not sparse.issparse(adjacency) and not is_network(adjacency)
    array = _plain(adjacency) if has_list else None
    if weights is not None or num_nodes is not None:
        if array is None or array.ndim != 2 or len(array) != 2:
            raise ValueError(
                "weights, num_nodes: these go with edges (2, E). A matrix or a graph of networkx "
                "has its own; leave them out."
            )
        return _of_edges(array, weights, num_nodes)
    if array is None:
        if is_network(adjacency):
            ends, own_weights, count = edges_of_network(adjacency)
            _check_nodes(count)
            return _of_edges(ends, own_weights, count)
        matrix = sparse.csr_array(adjacency, copy=True)
    elif _is_matrix(array):
        matrix = sparse.csr_array(array)
    elif _is_edges(array):
        return _of_edges(array, None, None)
    else:
        table = adjacency_table(array).numpy()
        node = np.repeat(np.arange(len(table)), table.shape[1])
        ones = np.ones(table.size)
        matrix = sparse.csr_array((ones, (node, table.ravel())), shape=(len(table),) * 2)
        matrix.sum_duplicates()
        matrix.data[:] = 1.0
        matrix.setdiag(0)
    return _checked(matrix)


def _plain(adjacency: Any) -> Array:
    array = as_array(adjacency, "adjacency")
    if array.dtype.kind not in "fiub":
        raise ValueError(
            f"adjacency: {array.dtype} entries are neither indices nor a 0/1 matrix nor weights. "
            "Pass numbers, a scipy.sparse matrix or a networkx graph."
        )
    if array.ndim != 2 or (array.size == 0 and array.shape != (2, 0)):
        raise ValueError(
            f"adjacency: shape {array.shape}; expected (n, k) indices, an (n, n) matrix, or (2, E) "
            "edges"
        )
    return array


def _is_matrix(array: Array) -> bool:
    """Whether it is a matrix of weights: an index table may be square, too."""
    if array.shape[0] != array.shape[1]:
        return False
    if array.dtype.kind == "f" or np.isin(array, (0, 1)).all():
        return True
    return not np.diagonal(array).any() and bool((array == array.T).all())


def _is_edges(array: Array) -> bool:
    """Whether it is (2, E): no index table of two nodes, whose indices are 0 and 1.

    A single column is an edge: a table of it would leave both nodes alone, or be the same edge.
    """
    whole = array.dtype.kind in "iu" or array.size == 0
    return len(array) == 2 and whole and (array.shape[1] < 2 or array.max() > 1)


def _of_edges(edges: Array, weights: Any, num_nodes: int | None) -> sparse.csr_array:
    if edges.size and edges.dtype.kind not in "iu":
        raise ValueError(f"adjacency: edges (2, E) of {edges.dtype}. Pass whole numbers.")
    edges = edges.astype(np.int64)
    last = int(edges.max(initial=-1))
    n = last + 1 if num_nodes is None else check_whole("num_nodes", num_nodes, 1, _MOST_NODES)
    _check_nodes(n)
    bad = np.argwhere((edges < 0) | (edges >= n))
    if bad.size:
        end, place = bad[0]
        raise ValueError(
            f"adjacency: edge {place} has the end {edges[end, place]}; nodes run from 0 to {n - 1}"
        )
    values: Array = np.ones(edges.shape[1])
    if weights is not None:
        values = to_numpy(weights, "weights").astype(np.float64)
        if values.shape != edges.shape[1:]:
            raise ValueError(
                f"weights: shape {values.shape}, but there are {edges.shape[1]} edges. Give one "
                "number each."
            )
        wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
        if wrong.size:
            raise ValueError(
                f"weights: edge {wrong[0]} has {values[wrong[0]]}. Give finite numbers above 0."
            )
    ids = edges[0] * n + edges[1]
    numbers, counts = np.unique(ids, return_counts=True)
    if (counts > 1).any():
        i, j = divmod(int(numbers[counts.argmax()]), n)
        raise ValueError(f"adjacency: the edge from {i} to {j} is given twice. Give it once.")
    matrix = sparse.csr_array((values, (edges[0], edges[1])), shape=(n, n))
    back = np.isin(edges[1] * n + edges[0], ids)
    if not back.any():  # each edge once
        matrix = sparse.csr_array(matrix + matrix.T)
    return _checked(matrix)


def _check_nodes(count: int) -> None:
    if not 1 <= count <= _MOST_NODES:
        raise ValueError(f"adjacency: {count} nodes. Give from 1 to {_MOST_NODES}.")


def _checked(matrix: sparse.csr_array) -> sparse.csr_array:
    """Canonical, without stored zeros."""
    if matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"adjacency: a sparse matrix of shape {matrix.shape}. Pass a square one.")
    _check_nodes(matrix.shape[0])
    if matrix.dtype.kind not in "fiub":
        raise ValueError(f"adjacency: weights of {matrix.dtype}. Pass real numbers.")
    matrix = matrix.astype(np.float64)
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    for wrong, what in (
        (~(abs(matrix.data) < _LARGEST), "is {}. Give finite weights, and 0 where no edge is."),
        (matrix.data < 0, "is {}. Weights say how strongly nodes are joined: give positive ones."),
    ):
        at = np.flatnonzero(wrong)
        if at.size:
            ends = f"from node {row[at[0]]} to {matrix.indices[at[0]]}"
            raise ValueError(f"adjacency: the weight {ends} {what.format(matrix.data[at[0]])}")
    loop = np.flatnonzero(matrix.indices == row)
    if loop.size:
        raise ValueError(
            f"adjacency: node {row[loop[0]]} has an edge to itself. Leave self-loops out."
        )
    one_sided = abs(matrix - matrix.T) > _ROUNDING * max(matrix.data, default=0.0)
    if one_sided.nnz:
        i, j = (int(ends[0]) for ends in one_sided.nonzero())
        raise ValueError(
            f"adjacency: not symmetric: the weight from node {i} to {j} is {matrix[i, j]:g}, "
            f"that from {j} to {i} is {matrix[j, i]:g}. Pass (A + A.T) / 2, or each edge once, or "
            "all in both directions."
        )
    return sparse.csr_array((matrix + matrix.T) / 2)
