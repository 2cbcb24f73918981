"""Fields on graphs with neighbours in order: operators against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from pyro_msde.grid import Grid, SensorGraph
from pyro_msde.protocols import Places

TABLE = np.array([[1, 4], [0, 2], [3, 3], [4, 0], [2, 1]])


def dense(kernel, table):
    """S by hand, (channel, node, node)."""
    channels, nodes = len(kernel), len(table)
    matrix = np.zeros((channels, nodes, nodes))
    for c in range(channels):
        for j, row in enumerate(table):
            for k, i in enumerate([j, *row]):
                matrix[c, j, i] += kernel[c, k]
    return matrix


def test_operators_are_the_matrices():
    rng = np.random.default_rng(0)
    graph = SensorGraph(TABLE, channels=2)
    kernel, y = rng.standard_normal((2, 3)), rng.standard_normal((4, 7, 2, 5))
    operators = graph.operators(torch.from_numpy(kernel))
    S = dense(kernel, TABLE)
    expected = torch.from_numpy(np.einsum("cji,stci->stcj", S, y))
    assert_close(operators.smooth(torch.from_numpy(y)), expected)
    assert_close(operators.restrict(torch.from_numpy(y)), expected)
    assert_close(operators.sample(expected), expected)
    zeta = rng.standard_normal((4, 2, 5))
    prolonged = operators.prolong(torch.from_numpy(zeta))
    assert_close(prolonged, torch.from_numpy(np.einsum("cji,scj->sci", S, zeta)))


def test_grids_and_graphs_are_places():
    graph, grid = SensorGraph(TABLE, channels=2), Grid((6, 4), (3, 2), boundary="neumann")
    for places in (graph, grid):
        assert isinstance(places, Places)
        stencil, kernel = places.stencil(places.half_width(1)), places.kernel("gaussian", 2)
        y = torch.randn(places.field_shape)
        zeta = places.flatten(places.operators(kernel).restrict(y))
        assert zeta.shape == (places.num_zeta,)
        states = zeta.reshape(places.channels, places.num_coarse)
        seen = stencil(states).unflatten(-1, (places.channels, -1))
        assert torch.equal(seen[..., stencil.centre], states.T)
    assert (graph.half_width(3), grid.half_width(3)) == (0, 3)


def test_kernel_starts_as_a_mean():
    graph = SensorGraph(TABLE, channels=3)
    kernel = graph.kernel()
    assert_close(kernel.sum(1), torch.ones(3))
    constant = torch.full((3, 5), 2.5)
    assert_close(graph.operators(kernel).smooth(constant), constant)


def test_the_own_node_comes_first_wherever_it_stood():
    own = np.column_stack([TABLE[:, 0], np.arange(5), TABLE[:, 1]])
    assert SensorGraph(own) == SensorGraph(TABLE)
    assert SensorGraph(**SensorGraph(TABLE).to_dict()) == SensorGraph(TABLE)
    assert SensorGraph(TABLE) != SensorGraph(TABLE, channels=2)
    assert repr(SensorGraph(TABLE)) == "SensorGraph(5 nodes, 2 neighbours each, channels=1)"


def test_bad_graphs_are_named():
    with pytest.raises(ValueError, match="node 1 is 1 times among its own neighbours"):
        SensorGraph(np.array([[1], [1], [0]]))
    with pytest.raises(ValueError, match="channels=0: give"):
        SensorGraph(TABLE, channels=0)
    with pytest.raises(ValueError, match="kernel: shape"):
        SensorGraph(TABLE).operators(torch.ones(1, 4))
