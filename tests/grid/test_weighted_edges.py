"""Operators of clusters by the contract of those on grids; sums over neighbours against loops."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from torch.testing import assert_close

from pyro_msde import Grid, SensorGraph
from pyro_msde.grid import ClusterOperators
from pyro_msde.protocols import Places

ROUNDING = {"rtol": 1e-12, "atol": 1e-12}  # float64 sums of at most 10³ terms of size 1


def lopsided(n=23, seed=0):
    """Unequal weights and degrees, two parts and a node alone."""
    rng = np.random.default_rng(seed)
    weights = np.triu(rng.uniform(0.2, 3, (n, n)) * (rng.uniform(size=(n, n)) < 0.2), 1)
    weights[:9, 9:] = 0
    weights[-1] = weights[:, -1] = 0
    for i in [*range(8), *range(9, n - 2)]:  # no more parts than that
        weights[i, i + 1] = 0.7
    return weights + weights.T


def ring(n):
    eye = np.eye(n)
    return np.roll(eye, 1, 1) + np.roll(eye, -1, 1)


CASES = {
    "lopsided": SensorGraph(lopsided(), coarse=7, channels=2),
    "all coarse": SensorGraph(lopsided(), channels=3),
    "given clusters": SensorGraph(lopsided(), coarse=np.arange(23) % 5),
    "ring": SensorGraph(ring(24), coarse=6),
    "one cluster": SensorGraph(ring(5), coarse=1),
}
contract = pytest.mark.parametrize("graph", CASES.values(), ids=CASES.keys())


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def problem(graph, batch=(2,)):
    size = graph.kernel().shape[-1]
    return (
        draw(graph.channels, size, seed=1),
        draw(*batch, graph.channels, *graph.shape, seed=2),
        draw(*batch, graph.channels, *graph.coarse, seed=3),
    )


def dense_smoothing(kernel, weights, num_parts, num_coarse):
    """S by powers of (1 + τ L)⁻¹, without eigenvectors; (channel, node, node)."""
    n = len(weights)
    laplacian = (np.diag(weights.sum(1)) - weights) / weights.max()
    wanted = max(0.5, min(num_coarse - num_parts, (n - num_parts) / 2)) + num_parts

    def resolvent(log_tau):
        return np.linalg.inv(np.eye(n) + np.exp(log_tau) * laplacian)

    R = resolvent(brentq(lambda x: np.square(resolvent(x)).sum() - wanted, -15, 15, xtol=1e-14))
    low = np.linalg.eigvalsh(R)[0]
    Q = (R - low * np.eye(n)) / (1 - low)
    power = np.linalg.matrix_power
    d = kernel.shape[1] - 1
    basis = [comb(d, k) * power(Q, k) @ power(np.eye(n) - Q, d - k) for k in range(d + 1)]
    return np.einsum("ck,kij->cij", kernel.numpy(), np.stack(basis))


@pytest.mark.parametrize(
    ("name", "weights", "parts"), [("lopsided", lopsided(), 3), ("ring", ring(24), 1)]
)
def test_operators_are_the_dense_matrices(name, weights, parts):
    graph = CASES[name]
    kernel, y, zeta = problem(graph)
    S = dense_smoothing(kernel, weights, parts, graph.num_coarse)
    E = np.eye(graph.num_coarse)[graph.clusters]
    operators = graph.operators(kernel)
    close = {"rtol": 1e-9, "atol": 1e-9}  # τ is found to 1e-14, and inverted matrices lose digits
    smoothed = np.einsum("cij,bcj->bci", S, y)
    assert_close(operators.smooth(y), torch.from_numpy(smoothed), **close)
    means = torch.from_numpy(smoothed @ E / E.sum(0))
    assert_close(operators.restrict(y), means, **close)
    prolonged = torch.from_numpy(np.einsum("cij,bcj->bci", S, zeta.numpy() @ E.T))
    assert_close(operators.prolong(zeta), prolonged, **close)


@contract
def test_restrict_samples_the_smoothed_field(graph):
    kernel, y, _ = problem(graph)
    operators = graph.operators(kernel)
    assert isinstance(operators, ClusterOperators)
    assert_close(operators.sample(operators.smooth(y)), operators.restrict(y), **ROUNDING)


@contract
def test_prolong_is_adjoint_to_restrict_under_the_clusters_sizes(graph):
    kernel, y, zeta = problem(graph, batch=())
    operators = graph.operators(kernel)
    sizes = torch.from_numpy(np.bincount(graph.clusters))
    coarse = (sizes * operators.restrict(y) * zeta).sum()
    fine = (y * operators.prolong(zeta)).sum()
    assert abs(coarse - fine) < 1e-13 * y.norm() * zeta.norm() * kernel.norm() * len(sizes)


@contract
def test_smoothing_is_its_own_adjoint(graph):
    kernel, y, _ = problem(graph)
    S = graph.operators(kernel).smooth
    assert_close((y[0] * S(y[1])).sum(), (S(y[0]) * y[1]).sum(), **ROUNDING)


@contract
@pytest.mark.parametrize("smoothing", ["gaussian", "lanczos"])
def test_constants_on_each_connected_part_are_kept(graph, smoothing):
    operators = graph.operators(graph.kernel(smoothing).double())
    level = torch.full((graph.channels, *graph.shape), 1.5, dtype=torch.float64)
    coarse = torch.full((graph.channels, *graph.coarse), 1.5, dtype=torch.float64)
    assert_close(operators.smooth(level), level, **ROUNDING)
    assert_close(operators.restrict(level), coarse, **ROUNDING)
    assert_close(operators.prolong(coarse), level, **ROUNDING)


def test_parts_keep_constants_of_their_own():
    graph = CASES["lopsided"]
    part = torch.tensor([1.0] * 9 + [-2.0] * 13 + [5.0], dtype=torch.float64).expand(2, 23)
    operators = graph.operators(graph.kernel("lanczos").double())
    assert_close(operators.smooth(part), part.contiguous(), **ROUNDING)
    assert_close(operators.prolong(operators.restrict(part)), part.contiguous(), **ROUNDING)


@contract
def test_a_batch_is_the_loop_over_it(graph):
    kernel, y, zeta = problem(graph, batch=(2, 3))
    operators = graph.operators(kernel)
    for operator, fields in ((operators.smooth, y), (operators.prolong, zeta)):
        looped = torch.stack([torch.stack([operator(one) for one in row]) for row in fields])
        assert_close(operator(fields), looped, **ROUNDING)
    kernels = torch.stack([kernel, 2 * kernel])[:, None]  # draws to the left
    both = graph.operators(kernels).restrict(y[0])
    single = operators.restrict(y[0])
    assert_close(both, torch.stack([single, 2 * single]), **ROUNDING)


@contract
def test_float32_stays_float32(graph):
    kernel, y, zeta = problem(graph)
    exact, operators = graph.operators(kernel), graph.operators(kernel.float())
    for name, field in (("smooth", y), ("restrict", y), ("prolong", zeta)):
        result, expected = getattr(operators, name)(field.float()), getattr(exact, name)(field)
        assert result.dtype == torch.float32
        # rounding of sums of as many terms as there are nodes
        assert_close(result.double(), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_gradients_in_kernel_and_field():
    graph = CASES["lopsided"]
    kernel, y, zeta = (x.requires_grad_() for x in problem(graph, batch=()))
    check = torch.autograd.gradcheck
    assert check(lambda k, field: graph.operators(k).smooth(field), (kernel, y))
    assert check(lambda k, field: graph.operators(k).restrict(field), (kernel, y))
    assert check(lambda k, field: graph.operators(k).prolong(field), (kernel, zeta))


def test_where_all_nodes_are_coarse_nothing_is_lost():
    graph = CASES["all coarse"]
    operators = graph.operators(graph.kernel("lanczos").double())
    y = draw(4, 3, 23)
    assert_close(operators.prolong(operators.restrict(y)), y, **ROUNDING)


@pytest.mark.parametrize("waves", [1, 2, 3])
def test_resolved_waves_pass_as_on_a_grid(waves):
    """On a ring T_p T_r lets waves pass up to .6 of the Nyquist frequency, the Gaussian fewer."""
    graph, grid = SensorGraph(ring(100), coarse=10), Grid(100, 10)
    x = 2 * torch.pi * torch.arange(100, dtype=torch.float64) / 100
    wave = torch.cos(waves * x + 0.3)[None]
    loss = {}
    for name in ("gaussian", "lanczos"):
        for places in (graph, grid):
            operators = places.operators(places.kernel(name, 5).double())
            error = (operators.prolong(operators.restrict(wave)) - wave).norm() / wave.norm()
            loss[name, places is graph] = float(error)
    assert loss["lanczos", True] < (0.1 if waves < 3 else 0.2)
    assert loss["lanczos", True] < 0.5 * loss["gaussian", True]
    assert loss["lanczos", False] < 0.1


def test_scaling_all_weights_changes_nothing():
    """Only ratios count: of clusters, of smoothing, of the sums that the drift sees."""
    graphs = [SensorGraph(s * lopsided(), coarse=7) for s in (1.0, 1e-12, 1e90)]
    y = draw(1, 23)
    assert len({tuple(g.clusters) for g in graphs}) == 1
    for graph in graphs[1:]:
        for of in (
            lambda g: g.operators(g.kernel("lanczos").double()).prolong(y[:, :7]),
            lambda g: g.stencil(2)(y[:, :7]),
        ):
            assert_close(of(graph), of(graphs[0]), rtol=1e-5, atol=1e-5)  # κ is float32


def test_the_stencil_sums_over_neighbouring_clusters():
    weights, graph = lopsided(), CASES["lopsided"]
    labels = graph.clusters
    A = np.zeros((7, 7))
    for i, j in zip(*np.nonzero(weights), strict=True):
        if labels[i] != labels[j]:
            A[labels[i], labels[j]] += weights[i, j] / (labels == labels[i]).sum()
    d = A.sum(1)
    A, d = A / d[d > 0].mean(), d / d[d > 0].mean()
    zeta = draw(5, 2, 7)
    stencil = graph.stencil(2)
    once = np.einsum("kl,bcl->bck", A, zeta)
    twice = np.einsum("kl,bcl->bck", A, once)
    expected = np.stack([zeta, once, twice, d * zeta.numpy()], -1)  # (batch, channel, point, K)
    seen = stencil(zeta).unflatten(-1, (2, stencil.num_neighbours)).movedim(-2, 1)
    assert_close(seen, torch.from_numpy(expected), **ROUNDING)
    assert stencil(zeta.float()).dtype == torch.float32
    assert stencil.state_dict() == {}
    assert graph.stencil(0).num_neighbours == 1
    with pytest.raises(ValueError, match="zeta: last axis has 6 points, the graph 7"):
        stencil(zeta[..., :6])


def test_a_stencil_of_points_that_are_alike_has_no_strengths():
    stencil = SensorGraph(3 * ring(24)).stencil(1)
    zeta = draw(1, 24)
    mean = (zeta[0].roll(1) + zeta[0].roll(-1)) / 2
    assert_close(stencil(zeta), torch.stack([zeta[0], mean], -1))


def test_heat_on_a_graph_is_linear_in_what_the_drift_sees():
    """−L y of unequal degrees, which no function of a node and its neighbours' mean is."""
    weights = lopsided()
    graph = SensorGraph(weights)
    y = draw(1, 23)
    seen = graph.stencil(1)(y).numpy()
    flow = (weights - np.diag(weights.sum(1))) @ y[0].numpy()
    coefficients = np.linalg.lstsq(seen, flow, rcond=None)[0]
    np.testing.assert_allclose(seen @ coefficients, flow, atol=1e-12)
    assert seen.shape == (23, 3)


def test_graphs_are_places_with_locations():
    rng = np.random.default_rng(0)
    where = rng.uniform(-3, 5, (23, 2))
    graph = SensorGraph(lopsided(), coarse=7, positions=where)
    assert isinstance(graph, Places)
    scaled = 2 * (where - where.min(0)) / np.ptp(where, axis=0) - 1
    expected = np.stack([scaled[graph.clusters == k].mean(0) for k in range(7)])
    np.testing.assert_allclose(graph.locations(), expected, rtol=1e-6)
    assert (graph.half_width(8), graph.half_width(1)) == (2, 1)
    zeta = draw(3, graph.num_zeta)
    assert_close(graph.flatten(graph.unflatten(zeta)), zeta)


def test_gaps_are_filled_by_neighbours():
    """Node 2 of a chain 0 – 1 – 2 – 3 – 4 is as near to 1 as the weights say."""
    weights = np.diag([1.0, 3.0, 1.0, 1.0], 1)
    weights += weights.T
    graph = SensorGraph(weights)
    y = torch.tensor([[0.0, 1.0, 9.0, 2.0, 5.0]], dtype=torch.float64)
    observed = torch.tensor([[True, True, False, True, True]])
    filled = graph.filled(y, observed)
    assert torch.equal(filled[observed], y[observed])
    w = np.array([3.0, 1.0]) / 1.5  # one on average
    expected = (w[0] * 1 + w[1] * 2) / (w.sum() + 0.01)
    np.testing.assert_allclose(filled[0, 2], expected, rtol=1e-6)
