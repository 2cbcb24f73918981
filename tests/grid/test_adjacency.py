"""Graphs in all forms, read into one matrix; what is none is named."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch

import pyro_msde
from pyro_msde import SensorGraph
from pyro_msde.grid.adjacency import adjacency_matrix, neighbours_in_order

# 0–1, 0–2, 1–2, 2–3 and node 4 alone
EDGES = np.array([[0, 0, 1, 2], [1, 2, 2, 3]])
WEIGHTS = np.array([1.0, 0.5, 2.0, 3.0])
MATRIX = np.zeros((5, 5))
MATRIX[EDGES[0], EDGES[1]] = WEIGHTS
MATRIX += MATRIX.T
BOTH = np.concatenate([EDGES, EDGES[::-1]], 1)

networkx = pytest.importorskip("networkx")


def network():
    graph = networkx.Graph()
    graph.add_nodes_from("edcba")  # in this order nodes are numbered
    for i, j, w in zip(*EDGES, WEIGHTS, strict=True):
        graph.add_edge("edcba"[i], "edcba"[j], weight=w)
    return graph


@pytest.mark.parametrize(
    ("adjacency", "options"),
    [
        (MATRIX, {}),
        (torch.from_numpy(MATRIX), {}),
        (scipy.sparse.csr_array(MATRIX), {}),
        (scipy.sparse.lil_matrix(MATRIX), {}),
        (scipy.sparse.coo_array((WEIGHTS.repeat(2) / 2, EDGES.repeat(2, 1)), shape=(5, 5)), None),
        (EDGES, {"weights": WEIGHTS, "num_nodes": 5}),
        (EDGES[::-1], {"weights": WEIGHTS, "num_nodes": 5}),
        (BOTH, {"weights": np.tile(WEIGHTS, 2), "num_nodes": 5}),
        (network(), {}),
    ],
    ids=["dense", "tensor", "csr", "lil", "sums", "edges", "turned", "both ways", "networkx"],
)
def test_all_forms_of_a_weighted_graph_are_one(adjacency, options):
    if options is None:  # half of each edge, given twice, one triangle only
        adjacency, options = adjacency + adjacency.T, {}
    np.testing.assert_array_equal(adjacency_matrix(adjacency, **options).toarray(), MATRIX)
    graph = SensorGraph(adjacency, **options)
    assert repr(graph) == "SensorGraph(5 nodes, 4 edges, channels=1)"
    assert graph == SensorGraph(MATRIX)
    assert graph != SensorGraph(2 * MATRIX)
    assert graph.edges.tolist() == EDGES.tolist()


@pytest.mark.parametrize("integers", [True, False])
def test_matrices_without_weights_and_of_counts(integers):
    ones = (MATRIX > 0).astype(int if integers else float)
    np.testing.assert_array_equal(adjacency_matrix(ones).toarray(), ones)
    np.testing.assert_array_equal(adjacency_matrix(EDGES, num_nodes=5).toarray(), ones)
    assert adjacency_matrix(EDGES).shape == (4, 4)  # who has no edge is not known of
    counts = 3 * ones
    np.testing.assert_array_equal(adjacency_matrix(counts).toarray(), counts)


@pytest.mark.parametrize("edge", [[[0], [1]], [[1], [0]]])
def test_one_edge_of_two_nodes_is_an_edge(edge):
    for graph in (SensorGraph(np.array(edge)), SensorGraph(torch.tensor(edge))):
        assert graph.edges.tolist() == [[0], [1]]
        assert repr(graph) == "SensorGraph(2 nodes, 1 edges, channels=1)"
    np.testing.assert_array_equal(adjacency_matrix(edge).toarray(), [[0, 1], [1, 0]])
    with pytest.raises(ValueError, match="node 0 has an edge to itself"):
        SensorGraph([[0], [0]])
    alone = SensorGraph(np.eye(2))  # a matrix, of which there is a table only
    assert alone.edges.shape == (2, 0)
    assert SensorGraph(**alone.to_dict()) == alone


def test_an_index_table_is_edges_too_where_clusters_are_asked_for():
    ring = np.stack([np.arange(-1, 5) % 6, np.arange(1, 7) % 6], 1)
    matrix = adjacency_matrix(ring).toarray()
    np.testing.assert_array_equal(matrix, np.roll(np.eye(6), 1, 1) + np.roll(np.eye(6), -1, 1))
    own = np.column_stack([np.arange(6), ring])
    np.testing.assert_array_equal(adjacency_matrix(own).toarray(), matrix)
    assert neighbours_in_order(ring).tolist() == ring.tolist()
    assert SensorGraph(ring).half_width(2) == 0  # in order
    assert SensorGraph(ring, coarse=3) == SensorGraph(matrix, coarse=3)


def test_what_has_neighbours_in_order_is_read_as_ever():
    equal = np.roll(np.eye(4, dtype=int), 1, 1)  # a directed ring
    assert neighbours_in_order(equal).tolist() == [[1], [2], [3], [0]]
    assert neighbours_in_order([[1, 0], [0, 1]]).tolist() == [[0], [1]]
    assert neighbours_in_order(EDGES) is None
    assert neighbours_in_order(MATRIX) is None
    assert neighbours_in_order(MATRIX > 0) is None
    assert neighbours_in_order(scipy.sparse.csr_array(equal)) is None


def test_graphs_without_an_edge():
    for graph in (
        SensorGraph(np.zeros((3, 3))),
        SensorGraph([[], []], num_nodes=3),
        SensorGraph(networkx.empty_graph(3)),
    ):
        assert graph.shape == graph.coarse == (3,)
        y = torch.randn(1, 3)
        operators = graph.operators(graph.kernel("lanczos"))
        torch.testing.assert_close(operators.smooth(y), y)
        torch.testing.assert_close(operators.prolong(operators.restrict(y)), y)
        assert torch.equal(graph.stencil(2)(y)[:, 0], y[0])


def test_positions_are_given_or_the_networks_own():
    places = np.arange(10.0).reshape(5, 2)
    graph = network()
    assert SensorGraph(graph).positions is None
    by_node = dict(zip("edcba", places, strict=True))
    networkx.set_node_attributes(graph, by_node, "pos")
    for made in (
        SensorGraph(graph),
        SensorGraph(network(), positions=by_node),
        SensorGraph(MATRIX, positions=places),
        SensorGraph(MATRIX, positions=places.tolist()),
    ):
        np.testing.assert_array_equal(made.positions, places)
        again = SensorGraph(**made.to_dict())
        assert again == made
        assert again != SensorGraph(MATRIX)
    with pytest.raises(ValueError, match="positions: none for node 'a'"):
        SensorGraph(network(), positions={k: v for k, v in by_node.items() if k != "a"})
    with pytest.raises(ValueError, match=r"positions: shape \(4, 2\), but the graph has 5 nodes"):
        SensorGraph(MATRIX, positions=places[:4])
    places[3, 1] = np.nan
    with pytest.raises(ValueError, match="positions: node 3 has"):
        SensorGraph(MATRIX, positions=places)


def changed(*changes):
    matrix = MATRIX.copy()
    for place, value in changes:
        matrix[place] = value
    return matrix


@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_array])
@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (changed(((2, 2), 1.0)), "adjacency: node 2 has an edge to itself"),
        (changed(((0, 1), -1.0)), "the weight from node 0 to 1 is -1.0. Weights say"),
        (changed(((3, 2), np.nan)), "the weight from node 3 to 2 is nan. Give finite"),
        (changed(((3, 2), np.inf)), "the weight from node 3 to 2 is inf. Give finite"),
        (
            changed(((1, 2), 0.0)),
            "not symmetric: the weight from node 1 to 2 is 0, that from 2 to 1 is 2.",
        ),
    ],
)
def test_bad_matrices_are_named(matrix, message, form):
    with pytest.raises(ValueError, match=re.escape(message)):
        SensorGraph(form(matrix))


@pytest.mark.parametrize(
    ("edges", "options", "message"),
    [
        ([[0, 1, 2], [1, 2, 2]], {}, "node 2 has an edge to itself"),
        ([[0, 1, 0], [1, 2, 1]], {}, "the edge from 0 to 1 is given twice"),
        ([[0, 1, 1], [1, 2, 0]], {}, "not symmetric: the weight from node 1 to 2 is 1, that"),
        ([[0, 1, 2], [1, 2, -1]], {}, "edge 2 has the end -1; nodes run from 0 to 2"),
        (MATRIX[:, :4], {}, "float64 entries are neither indices nor a 0/1 matrix"),
        (scipy.sparse.csr_array(MATRIX[:, :4]), {}, "a sparse matrix of shape (5, 4)"),
        (EDGES, {"num_nodes": 3}, "edge 3 has the end 3; nodes run from 0 to 2"),
        (EDGES, {"num_nodes": 0}, "num_nodes=0: give a whole number"),
        (EDGES, {"weights": WEIGHTS[:3]}, "weights: shape (3,), but there are 4 edges"),
        (EDGES, {"weights": [1, 2, 0, 3]}, "weights: edge 2 has 0.0. Give finite numbers above 0"),
        (EDGES, {"weights": [1, np.nan, 1, 3]}, "weights: edge 1 has nan"),
        (EDGES + 0.5, {"weights": WEIGHTS}, "edges (2, E) of float64"),
        (EDGES * 10**6, {}, "adjacency: 3000001 nodes. Give from 1 to 8192"),
        (MATRIX, {"num_nodes": 5}, "weights, num_nodes: these go with edges (2, E)"),
        (network(), {"weights": WEIGHTS}, "weights, num_nodes: these go with edges (2, E)"),
        ([[1, 2], [0], [0]], {}, "adjacency: not one rectangular array"),
        ("graph", {}, "adjacency: <U5 entries"),
        (None, {}, "adjacency: got None"),
        ([0, 1, 2], {}, "adjacency: shape (3,); expected (n, k) indices"),
        (networkx.DiGraph([(0, 1)]), {}, "a directed graph. Pass graph.to_undirected()"),
        (networkx.MultiGraph([(0, 1), (0, 1)]), {}, "parallel edges. Pass networkx.Graph(graph)"),
        (networkx.Graph([(0, 0)]), {}, "node 0 has an edge to itself"),
        (networkx.Graph(), {}, "adjacency: 0 nodes"),
        (scipy.sparse.csr_array(np.eye(3) * 1j), {}, "weights of complex128"),
    ],
)
def test_bad_graphs_are_named(edges, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SensorGraph(edges, **options)


def test_networkx_is_imported_by_nobody_but_the_user():
    files = Path(pyro_msde.__file__).parent.rglob("*.py")
    assert not any(re.search(r"(import|from) networkx", f.read_text("utf-8")) for f in files)
