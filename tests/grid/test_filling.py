"""Filled gaps and their depth against dense solutions, closed forms and fields that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from pyro_msde.grid import Grid, ScaleOperators, SensorGraph, lanczos_kernel
from pyro_msde.grid.filling import depth

GRIDS = [
    Grid(60, 12),
    Grid(60, 12, boundary="dirichlet", channels=2),
    Grid((12, 15), (3, 5), boundary=("periodic", "neumann")),
    Grid((12, 15), (3, 5), boundary=[("antisymmetric", "neumann"), "antisymmetric"]),
]


def laplacian(n, periodic):
    """Differences to both neighbours, (n, n); at ends that are no ring only one."""
    L = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    if periodic:
        L[0, -1] -= 1
        L[-1, 0] -= 1
    else:
        L[0, 0] = L[-1, -1] = 1
    return L


def screened(grid):
    """1 − σ²Δ of one channel, (points, points)."""
    total = np.eye(grid.num_points)
    for axis, (n, ring, stride) in enumerate(
        zip(grid.shape, grid.periodic, grid.stride, strict=True)
    ):
        parts = [np.eye(m) for m in grid.shape]
        parts[axis] = stride**2 * laplacian(n, ring)
        product = parts[0]
        for part in parts[1:]:
            product = np.kron(product, part)
        total = total + product
    return total


def solved_in_gaps(A, known, observed, source):
    """x with A x = source where it is not observed."""
    x = known.copy()
    gaps = ~observed
    x[gaps] = np.linalg.solve(
        A[np.ix_(gaps, gaps)], source - A[np.ix_(gaps, observed)] @ known[observed]
    )
    return x


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_gaps_are_filled_with_the_least_squares_state_and_a_smooth_rest(grid):
    rng = np.random.default_rng(0)
    y, observed = (
        rng.standard_normal((3, *grid.field_shape)),
        rng.random((3, *grid.field_shape)) > 0.4,
    )
    found = grid.filled(torch.tensor(y * observed), torch.tensor(observed)).numpy()
    kernel = lanczos_kernel(grid, 4, torch.float64)
    units = grid.unflatten(torch.eye(grid.num_zeta, dtype=torch.float64))
    T = ScaleOperators(kernel, grid).prolong(units).flatten(1).mT.numpy()
    sigma = np.prod(grid.stride)
    for field, seen, filled in zip(y, observed, found, strict=True):
        m = seen.ravel()
        normal = T.T @ (m[:, None] * T) + 1e-2 * sigma * np.eye(grid.num_zeta)
        resolved = T @ np.linalg.solve(normal, T.T @ (m * field.ravel()))
        expected = field.ravel().copy()
        for c in range(grid.channels):
            part = slice(c * grid.num_points, (c + 1) * grid.num_points)
            rest = np.where(m[part], field.ravel()[part] - resolved[part], 0)
            x = resolved[part] + solved_in_gaps(screened(grid), rest, m[part], 0.0)
            expected[part] = np.where(m[part], expected[part], x)
        # conjugate gradients stop at 1e-4 of the right side
        np.testing.assert_allclose(filled.ravel(), expected, atol=5e-3)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_gaps_in_common_are_filled_as_each_by_itself(grid):
    """With a matrix, which is exact, and by conjugate gradients, which stop at 1e-4."""
    rng = np.random.default_rng(3)
    y = torch.tensor(rng.standard_normal((40, 2, *grid.field_shape)))
    observed = torch.tensor(rng.random(grid.field_shape) > 0.1)
    together = grid.filled(y * observed, observed.expand_as(y))
    one = [grid.filled(field * observed, observed) for field in y.flatten(0, 1)]
    assert_close(together.flatten(0, 1), torch.stack(one), atol=5e-3, rtol=0)
    assert_close(together[:, :, observed], y[:, :, observed], atol=0, rtol=0)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_depth_solves_its_equation(grid):
    observed = np.random.default_rng(1).random((2, *grid.field_shape)) > 0.7
    found = depth(grid, torch.tensor(observed), torch.float64).numpy()
    for w, seen in zip(
        found.reshape(-1, grid.num_points), observed.reshape(-1, grid.num_points), strict=True
    ):
        expected = solved_in_gaps(screened(grid), np.zeros(grid.num_points), seen, 1.0)
        np.testing.assert_allclose(w, expected, atol=1e-3)


def test_steep_fronts_are_filled_between_single_missing_points():
    """A front far below the coarse spacing, of which three points in ten are missing."""
    grid = Grid(600, 12)
    x = torch.arange(600, dtype=torch.float64) / 600
    y = torch.tanh(torch.sin(2 * torch.pi * x) / 0.1)[None]
    observed = torch.rand(1, 600, generator=torch.Generator().manual_seed(0)) > 0.3
    error = (grid.filled(y.where(observed, 0), observed) - y)[~observed]
    assert error.square().mean().sqrt() < 0.01  # the coarse grid alone leaves 0.1
    assert_close(grid.filled(y.where(observed, 0), observed)[observed], y[observed])


def test_nothing_observed_is_filled_with_the_reference_and_has_depth_one():
    grid = Grid((12, 15), (3, 5), boundary="neumann")
    nothing = torch.zeros(2, *grid.field_shape, dtype=torch.bool)
    assert not grid.filled(torch.zeros(nothing.shape), nothing).any()
    assert_close(grid.unseen_points(nothing, torch.float64), torch.ones(nothing.shape).double())
    assert_close(grid.unseen_states(nothing, torch.float64), torch.ones(2, 16).double())


def test_a_complete_field_leaves_nothing_unseen():
    grid = Grid(60, 12, channels=2)
    everything = torch.ones(3, *grid.field_shape, dtype=torch.bool)
    assert not grid.unseen_states(everything, torch.float32).any()


def test_a_wide_gap_is_deeper_than_single_points_as_many():
    """Of 60 points 20 are missing: one in three, or all in a row."""
    grid = Grid(60, 6)
    single, row = torch.ones(2, 1, 60, dtype=torch.bool)
    single[:, ::3] = False
    row[:, 20:40] = False
    sparse, wide = grid.unseen_states(torch.stack([single, row]), torch.float64)
    assert sparse[:-1].max() < 1e-3
    assert wide[3] > 0.3 > 1e-2 > wide[0]  # coarse point 30 is in the middle, 0 far from it


def test_land_does_not_count():
    """Coarse points 0, 10, …: the land from 20 to 45 leaves nothing to see around 30."""
    mask = np.ones(60, dtype=bool)
    mask[20:45] = False
    grid = Grid(60, 6, mask=mask)
    share = grid.unseen_states(torch.tensor(mask)[None], torch.float64)
    assert_close(share, torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]).double())


def test_states_of_a_graph_are_as_unseen_as_the_nodes_of_their_cluster():
    ring = [[(i - 1) % 40, (i + 1) % 40] for i in range(40)]
    observed = torch.ones(1, 40, dtype=torch.bool)
    observed[:, 5:25] = False
    points = SensorGraph(ring).unseen_points(observed, torch.float64)
    A = laplacian(40, True) + 1e-2 * np.eye(40)
    w = solved_in_gaps(A, np.zeros(40), observed[0].numpy(), 1e-2)
    np.testing.assert_allclose(points[0], w**2 / (w**2 + 0.1) * 1.1, atol=1e-3)
    mean = points.mean()
    last = mean / (mean + 0.03) * 1.03
    states = SensorGraph(ring).unseen_states(observed, torch.float64)
    assert_close(states, torch.cat([points[0], last[None]]))
    clusters = SensorGraph(ring, coarse=np.repeat(np.arange(8), 5))
    states = clusters.unseen_states(observed, torch.float64)
    assert_close(states, torch.cat([points[0].reshape(8, 5).mean(1), last[None]]))
