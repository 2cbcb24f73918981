"""Clusters of nodes: connected, of like size, the same each time."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from pyro_msde import SensorGraph


def random_graph(seed, n=80, radius=0.16):
    """Points in the unit square, joined where they are near, with some of them alone."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(size=(n, 2))
    distance = np.linalg.norm(x[:, None] - x, axis=-1)
    weights = np.where(distance < radius, np.exp(-np.square(distance / radius)), 0.0)
    np.fill_diagonal(weights, 0)
    return weights


def lattice(*shape):
    line = [sparse.diags_array([np.ones(n - 1)] * 2, offsets=[1, -1]) for n in shape]
    return line[0] if len(line) == 1 else sparse.kronsum(line[1], line[0])


@pytest.mark.parametrize("seed", range(6))
def test_clusters_are_connected_and_numbered_by_their_middle_nodes(seed):
    weights = random_graph(seed)
    parts = connected_components(weights)[0]
    for count in (parts, parts + 7, parts + 25):
        graph = SensorGraph(weights, coarse=count)
        labels = graph.clusters
        assert graph.num_coarse == count == len(set(labels.tolist()))
        for k in range(count):
            nodes = labels == k
            assert connected_components(weights[np.ix_(nodes, nodes)])[0] == 1
        middles = graph.coarse_index[0]
        assert (labels[middles] == np.arange(count)).all()
        assert (np.diff(middles) > 0).all()
        assert SensorGraph(weights, coarse=count) == graph


@pytest.mark.parametrize(("shape", "count"), [((120,), 12), ((16, 12), 16), ((10, 10), 10)])
def test_clusters_of_lattices_are_of_like_size(shape, count):
    """Those of a square differ by processor: its modes come in pairs, turned as rounding has it."""
    sizes = np.bincount(SensorGraph(lattice(*shape), coarse=count).clusters)
    mean = sizes.mean()
    assert (sizes >= 0.4 * mean).all()
    assert (sizes < 2 * mean).all()


def test_clusters_of_a_chain_are_intervals():
    labels = SensorGraph(lattice(60), coarse=7).clusters
    assert (np.diff(labels) >= 0).all()


def test_strong_edges_hold_together():
    """Two cliques of five joined by one weak edge."""
    weights = np.kron(np.eye(2), np.ones((5, 5)) - np.eye(5))
    weights[4, 5] = weights[5, 4] = 1e-3
    assert SensorGraph(weights, coarse=2).clusters.tolist() == [0] * 5 + [1] * 5


def test_clusters_may_be_given():
    labels = [2, 2, 0, 0, 1, 1, 1]
    graph = SensorGraph(lattice(7), coarse=labels)
    assert graph.clusters.tolist() == labels
    assert graph.coarse == (3,)
    assert [labels[i] for i in graph.coarse_index[0]] == [0, 1, 2]
    assert SensorGraph(**graph.to_dict()) == graph
    assert SensorGraph(lattice(7), coarse=graph.clusters[::-1]) != graph


def test_single_nodes_are_clusters_of_their_own():
    weights = np.zeros((6, 6))
    weights[:3, :3] = 1 - np.eye(3)  # nodes 3, 4 and 5 are alone
    assert SensorGraph(weights, coarse=4).clusters.tolist() == [0, 0, 0, 1, 2, 3]
    message = "coarse=3: the graph falls into 4 parts that no edge joins, 3 of them single nodes"
    with pytest.raises(ValueError, match=message):
        SensorGraph(weights, coarse=3)


@pytest.mark.parametrize(
    ("coarse", "message"),
    [
        (0, "coarse=0: give a whole number, from 1 to 7"),
        (8, "coarse=8: give a whole number, from 1 to 7"),
        (2.5, "coarse=2.5: give a whole number"),
        ([0, 1], "coarse: int64 (2,), but the graph has 7 nodes"),
        ([0.0] * 7, "coarse: float64 (7,)"),
        ([0, 0, 0, 0, 1, 1, 3], "coarse: clusters from 0 to 3, 3 of them with nodes"),
        ([-1, 0, 0, 0, 1, 1, 1], "coarse: clusters from -1 to 1"),
    ],
)
def test_bad_clusters_are_named(coarse, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SensorGraph(lattice(7), coarse=coarse)
