"""Neighbour tables against a loop over padded index arrays; the stencil's gather."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from pyro_msde.grid import BOUNDARIES, Grid, Stencil, adjacency_table, neighbour_table

PAD_MODE = {
    "periodic": "wrap",
    "neumann": "symmetric",
    "antisymmetric": "symmetric",  # the sign is no part of the table
    "replicate": "edge",
}
CASES = [
    *(((7,), (name,)) for name in BOUNDARIES),
    *(((5, 3), pair) for pair in itertools.product(BOUNDARIES, repeat=2)),
    ((3, 5, 4), ("periodic", "dirichlet", "neumann")),
    ((3, 2, 4), ("replicate", "replicate", "dirichlet")),
]


def table_by_loop(shape, q, boundary):
    """Pad the array of point numbers axis by axis, then read off every window."""
    n = int(np.prod(shape))
    numbers = np.arange(n).reshape(shape)
    for axis, name in enumerate(boundary):
        widths = [(0, 0)] * len(shape)
        widths[axis] = (q, q)
        if name == "dirichlet":
            numbers = np.pad(numbers, widths, constant_values=n)
        else:
            numbers = np.pad(numbers, widths, mode=PAD_MODE[name])
    rows = []
    for point in np.ndindex(*shape):
        window = numbers[tuple(slice(i, i + 2 * q + 1) for i in point)]
        rows.append(window.reshape(-1))
    return np.array(rows)


@pytest.mark.parametrize("q", [0, 1, 2])
@pytest.mark.parametrize(("shape", "boundary"), CASES)
def test_table_is_the_windows_of_the_padded_grid(shape, boundary, q):
    table = neighbour_table(shape, q, boundary)
    assert table.dtype == torch.int64
    np.testing.assert_array_equal(table.numpy(), table_by_loop(shape, q, boundary))


def test_five_point_neighbourhoods_at_the_left_end():
    def first(boundary):
        return neighbour_table(6, 2, boundary)[0].tolist()

    assert first("periodic") == [4, 5, 0, 1, 2]
    assert first("dirichlet") == [6, 6, 0, 1, 2]
    assert first("neumann") == [1, 0, 0, 1, 2]
    assert first("antisymmetric") == [1, 0, 0, 1, 2]
    assert first("replicate") == [0, 0, 0, 1, 2]


def test_stencil_wider_than_the_grid_keeps_mirroring():
    assert neighbour_table(2, 3, "neumann")[0].tolist() == [1, 1, 0, 0, 1, 1, 0]


@pytest.mark.parametrize(("boundary", "sign"), [("neumann", 1), ("antisymmetric", -1)])
@pytest.mark.parametrize("n", [21, 15])
def test_mirror_ghosts_of_an_odd_stride_are_samples_of_the_mirrored_fine_field(n, boundary, sign):
    """Fine and coarse grid mirror at the same wall: why the half-sample image was chosen."""
    grid = Grid(n, n // 3, boundary=boundary)
    y = torch.randn(n)
    mirrored = np.pad(y.numpy(), 6, mode="symmetric")
    mirrored[:6] *= sign
    mirrored[-6:] *= sign
    coarse = y[grid.coarse_index[0]]
    neighbours = grid.stencil(2)(coarse[None])
    for j, i in enumerate(grid.coarse_index[0]):
        window = mirrored[i : i + 13 : 3]  # i − 6 … i + 6 of the unpadded field
        np.testing.assert_array_equal(neighbours[j].numpy(), window)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_stencil_gathers_channel_major(boundary):
    table = neighbour_table((5, 3), 1, boundary)
    zeta = torch.randn(7, 4, 2, 15)
    out = Stencil(table)(zeta)
    assert out.shape == (7, 4, 15, 18)
    with_ghost = torch.cat([zeta, torch.zeros(7, 4, 2, 1)], -1)
    for point, neighbour, channel in [(0, 0, 1), (7, 4, 0), (14, 8, 1), (2, 5, 0)]:
        expected = with_ghost[:, :, channel, table[point, neighbour]]
        assert torch.equal(out[:, :, point, channel * 9 + neighbour], expected)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_stencil_of_a_batch_is_the_loop_over_it(boundary):
    stencil = Stencil(neighbour_table(5, 2, boundary))
    zeta = torch.randn(3, 2, 5)
    assert torch.equal(stencil(zeta), torch.stack([stencil(one) for one in zeta]))


@pytest.mark.parametrize("boundary", ["periodic", "dirichlet"])
def test_stencil_gradient(boundary):
    zeta = torch.randn(3, 2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(Stencil(neighbour_table(5, 2, boundary)), zeta)


def test_stencil_keeps_the_dtype_and_is_not_saved():
    stencil = Stencil(neighbour_table(5, 2, "dirichlet"))
    assert stencil(torch.zeros(1, 5, dtype=torch.float64)).dtype == torch.float64
    assert stencil.state_dict() == {}
    assert (stencil.num_coarse, stencil.num_neighbours) == (5, 5)


@pytest.mark.parametrize("shift", [(1, 0), (0, 2), (3, 1)])
def test_periodic_stencil_commutes_with_shifts_of_the_coarse_grid(shift):
    stencil = Stencil(neighbour_table((5, 3), 2, "periodic"))
    field = torch.randn(2, 4, 5, 3)
    shifted = stencil(field.roll(shift, (-2, -1)).flatten(-2))
    out = stencil(field.flatten(-2)).unflatten(-2, (5, 3)).roll(shift, (1, 2)).flatten(1, 2)
    assert_close(shifted, out, rtol=0, atol=0)  # copies only


def test_adjacency_from_a_matrix_and_from_an_index_table():
    matrix = [[1, 0, 0, 1], [0, 1, 1, 0], [1, 1, 0, 0], [0, 1, 0, 1]]
    table = adjacency_table(matrix)
    assert table.tolist() == [[0, 3], [1, 2], [0, 1], [1, 3]]
    assert torch.equal(adjacency_table(table), table)
    assert torch.equal(adjacency_table(torch.tensor(matrix, dtype=torch.bool)), table)
    with_order = [[3, 0], [2, 1], [0, 1], [1, 3]]
    assert adjacency_table(np.array(with_order)).tolist() == with_order


@pytest.mark.parametrize(
    ("adjacency", "message"),
    [
        ([[1, 1, 0], [0, 1, 1], [1, 1, 1]], "node 2 has 3 neighbours, node 0 has 2"),
        ([[0, 1], [1, 2], [2, 3]], "neighbour 1 of node 2 is 3; indices run from 0 to 2"),
        ([[0, -1], [1, 0], [2, 0]], "neighbour 1 of node 0 is -1"),
        ([[0.0, 0.5], [1.0, 0.0]], "neither indices nor a 0/1 matrix"),
        ([0, 1, 2], "adjacency: shape (3,)"),
        (np.zeros((3, 3)), "no node has neighbours"),
    ],
)
def test_adjacency_errors(adjacency, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        adjacency_table(adjacency)


def test_table_and_stencil_errors():
    with pytest.raises(ValueError, match="half_width=-1: give a whole number, at least 0"):
        neighbour_table(5, -1, "periodic")
    with pytest.raises(ValueError, match=r"shape\[1\]=0"):
        neighbour_table((5, 0), 1, "periodic")
    with pytest.raises(ValueError, match="boundary: 'wrap' on axis 0 is unknown"):
        neighbour_table(5, 1, "wrap")
    with pytest.raises(ValueError, match="table: indices outside 0 … 2"):
        Stencil(torch.tensor([[0, 3], [1, 0]]))
    with pytest.raises(ValueError, match="expected int64"):
        Stencil(torch.zeros(3, 2))
    with pytest.raises(ValueError, match="zeta: last axis has 4 points, the table 5"):
        Stencil(neighbour_table(5, 1, "periodic"))(torch.zeros(2, 4))
