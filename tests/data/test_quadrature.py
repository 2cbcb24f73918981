"""Stratified quadrature: no bias, weights that follow the density, shared offsets."""

from __future__ import annotations

import pytest
import torch
from oracles.tolerance import standard_errors
from torch.testing import assert_close

from pyro_msde.data.quadrature import StratifiedQuadrature


def tensor(x):
    return torch.tensor(x, dtype=torch.float64)


EDGES = tensor([[0.0, 0.3, 0.5, 1.1], [2.0, 2.4, 2.9, 4.0]])
DENSITY = tensor([[1.0, 3.0, 0.5], [2.0, 0.25, 1.5]])


def integrals(power):
    """∫ t^power v(t) dt over each segment."""
    by_interval = torch.diff(EDGES ** (power + 1), dim=1) / (power + 1)
    return (by_interval * DENSITY).sum(1)


@pytest.mark.parametrize("num_nodes", [1, 5])
@pytest.mark.parametrize("power", [0, 1, 3])
def test_no_bias_for_polynomials_whatever_the_number_of_nodes(num_nodes, power):
    repeats = 40_000
    edges, density = EDGES.repeat(repeats, 1), DENSITY.repeat(repeats, 1)
    nodes, weights = StratifiedQuadrature(edges, density).draw(num_nodes)
    estimates = (nodes**power * weights).sum(1).reshape(repeats, 2)
    error = (estimates.mean(0) - integrals(power)) * repeats**0.5 / estimates.std(0)
    assert error.abs().max() < standard_errors(2)


def test_shared_offsets_have_no_bias_either():
    repeats = 8_000
    edges = tensor([[0.0, 0.5, 0.8], [2.0, 2.1, 2.8]])
    density = tensor([[1.0, 3.0], [2.0, 0.25]])
    quadrature = StratifiedQuadrature(edges, density, shared_offsets=True)
    draws = [quadrature.draw(2) for _ in range(repeats)]
    estimates = torch.stack([(t**2 * w).sum(1) for t, w in draws])
    exact = (torch.diff(edges**3, dim=1) / 3 * density).sum(1)
    error = (estimates.mean(0) - exact) * repeats**0.5 / estimates.std(0)
    assert error.abs().max() < standard_errors(2)


def test_each_node_lies_in_its_stratum_and_carries_its_interval_s_density():
    num_nodes = 7
    nodes, weights = StratifiedQuadrature(EDGES, DENSITY).draw(num_nodes)
    assert nodes.shape == weights.shape == (2, num_nodes)
    assert nodes.dtype == weights.dtype == torch.float64
    for row in range(2):
        start, end = EDGES[row, 0].item(), EDGES[row, -1].item()
        width = (end - start) / num_nodes
        for k in range(num_nodes):
            t = nodes[row, k].item()
            assert start + k * width <= t <= start + (k + 1) * width
            inside = [j for j in range(3) if EDGES[row, j] <= t < EDGES[row, j + 1]]
            assert weights[row, k].item() == pytest.approx(DENSITY[row, inside[0]] * width)


def test_nodes_on_an_edge_take_the_interval_to_the_right(monkeypatch):
    """Offsets of zero put nodes on edges; the right end belongs to the last interval."""
    edges = tensor([[0.0, 0.25, 0.5, 1.0]])
    density = tensor([[1.0, 2.0, 4.0]])
    quadrature = StratifiedQuadrature(edges, density)
    monkeypatch.setattr(torch, "rand", torch.zeros)
    nodes, weights = quadrature.draw(4)
    assert nodes.tolist() == [[0.0, 0.25, 0.5, 0.75]]
    assert weights.tolist() == [[0.25, 0.5, 1.0, 1.0]]
    monkeypatch.setattr(torch, "rand", torch.ones)
    nodes, weights = quadrature.draw(4)
    assert nodes.tolist() == [[0.25, 0.5, 0.75, 1.0]]
    assert weights.tolist() == [[0.5, 1.0, 1.0, 1.0]]


def test_offsets_are_shared_only_when_asked():
    edges = tensor([[0.0, 0.3, 1.0], [5.0, 5.3, 6.0], [9.0, 9.3, 10.0]])
    density = tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    shared, weights = StratifiedQuadrature(edges, density, shared_offsets=True).draw(5)
    offsets = shared - edges[:, :1]
    assert shared.shape == weights.shape == (3, 5)
    assert_close(offsets, offsets[:1].expand(3, 5), rtol=0, atol=1e-14)
    assert_close(weights.sum(1) > 0, torch.ones(3, dtype=torch.bool))
    own = StratifiedQuadrature(edges, density).draw(5)[0] - edges[:, :1]
    assert (own[0] != own[1]).all()


def test_draws_follow_torch_s_seed():
    torch.manual_seed(7)
    first = StratifiedQuadrature(EDGES, DENSITY).draw(5)
    torch.manual_seed(7)
    assert_close(StratifiedQuadrature(EDGES, DENSITY).draw(5), first, rtol=0, atol=0)
    assert (StratifiedQuadrature(EDGES, DENSITY).draw(5)[0] != first[0]).all()


def test_strata_lower_the_variance():
    """Of a smooth integrand, as 1 / n³: the order tells strata from plain Monte Carlo (1 / n)."""
    repeats = 4_000
    edges = tensor([[0.0, 1.0]]).repeat(repeats, 1)
    density = torch.ones(repeats, 1, dtype=torch.float64)
    spread = []
    for num_nodes in (4, 16):
        nodes, weights = StratifiedQuadrature(edges, density).draw(num_nodes)
        spread.append((nodes.sin() * weights).sum(1).var().item())
    ratio = spread[0] / spread[1]
    # exactly 64 to leading order; each variance has a relative standard error of √(2 / 4000)
    assert ratio == pytest.approx(64, rel=standard_errors(1) * 0.032 + 0.03)


@pytest.mark.parametrize("num_nodes", [1, 2, 5])
@pytest.mark.parametrize("power", [0, 1, 3])
def test_nodes_crowded_before_observations_have_no_bias(num_nodes, power):
    repeats = 40_000
    edges, density = EDGES.repeat(repeats, 1), DENSITY.repeat(repeats, 1)
    pinned = edges[:, [0, 2, 3]]
    quadrature = StratifiedQuadrature(edges, density, pinned=pinned)
    nodes, weights = quadrature.draw(num_nodes)
    assert nodes.shape == weights.shape == (2 * repeats, num_nodes)
    assert (nodes >= edges[:, :1]).all()
    assert (nodes <= edges[:, -1:]).all()
    estimates = (nodes**power * weights).sum(1).reshape(repeats, 2)
    error = (estimates.mean(0) - integrals(power)) * repeats**0.5 / estimates.std(0)
    assert error.abs().max() < standard_errors(2)


@pytest.mark.parametrize(
    ("ratio", "uniform", "crowded"), [(84.0, 2.3, 1.2), (8400.0, 11.0, 1.0), (840_000.0, 72.0, 1.3)]
)
def test_crowded_nodes_see_the_layer_before_an_observation(ratio, uniform, crowded):
    """Relative standard deviation of ½ a τ²/(1 + a τ(1 − τ)) a node, as the module states it.

    By scipy 2.32, 11.35 and 72.5 of uniform nodes. Of 200 000 draws the others are within 3 %.
    """
    torch.manual_seed(0)
    edges = tensor([[0.0, 1.0]]).repeat(200_000, 1)
    ones = torch.ones_like(edges[:, 1:])

    def deviation(quadrature):
        nodes, weights = quadrature.draw(1)
        value = (0.5 * ratio * nodes**2 / (1 + ratio * nodes * (1 - nodes)) * weights).sum(1)
        return float(value.std() / value.mean())

    assert deviation(StratifiedQuadrature(edges, ones, pinned=edges)) < 1.05 * crowded
    if ratio < 1e5:  # of rarer peaks so many draws say nothing
        assert deviation(StratifiedQuadrature(edges, ones)) > 0.7 * uniform


def test_crowded_nodes_hardly_change_the_integral_of_a_constant():
    """Of 64 nodes in 63 intervals: .4 %, by the strata that the cells' bounds fall into."""
    torch.manual_seed(0)
    edges = torch.linspace(0, 1, 64, dtype=torch.float64).repeat(2000, 1)
    _, weights = StratifiedQuadrature(edges, torch.ones_like(edges[:, 1:]), pinned=edges).draw(64)
    assert float(weights.sum(1).std()) < 0.006
