"""Grid: sizes, coarse points, coordinates, flattening, errors."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch

from pyro_msde.grid import BOUNDARIES, Grid


def test_numbers_stand_for_one_axis():
    grid = Grid(1000, 20)
    assert grid == Grid((1000,), (20,), boundary=("periodic",))
    assert (grid.ndim, grid.stride, grid.field_shape) == (1, (50,), (1, 1000))


def test_counts_of_points_and_states():
    grid = Grid((320, 80), (32, 8), channels=2, boundary="replicate")
    assert grid.stride == (10, 10)
    assert (grid.num_points, grid.num_coarse, grid.num_zeta) == (25600, 256, 512)


@pytest.mark.parametrize(
    ("boundary", "expected"),
    [
        ("periodic", [0, 4, 8]),
        ("dirichlet", [2, 6, 10]),
        ("neumann", [2, 6, 10]),
        ("antisymmetric", [2, 6, 10]),
        ("replicate", [2, 6, 10]),
    ],
)
def test_coarse_points_of_an_even_stride(boundary, expected):
    (index,) = Grid(12, 3, boundary=boundary).coarse_index
    assert index.tolist() == expected


def test_coarse_points_of_an_odd_stride_are_centred_on_a_bounded_axis():
    periodic, bounded = Grid((15, 15), (3, 5), boundary=("periodic", "neumann")).coarse_index
    assert periodic.tolist() == [0, 5, 10]
    assert bounded.tolist() == [1, 4, 7, 10, 13]


@pytest.mark.parametrize(
    ("boundary", "expected"),
    [
        ("periodic", [2.0, 2.25, 2.5, 2.75]),  # upper left out
        ("dirichlet", [2.2, 2.4, 2.6, 2.8]),  # the zeros lie on 2 and 3
        ("neumann", [2.125, 2.375, 2.625, 2.875]),
        ("antisymmetric", [2.125, 2.375, 2.625, 2.875]),
        ("replicate", [2.125, 2.375, 2.625, 2.875]),
    ],
)
def test_coordinates(boundary, expected):
    grid = Grid(4, 2, boundary=boundary, lower=2.0, upper=3.0)
    np.testing.assert_allclose(grid.coordinates[0], expected, rtol=1e-15)  # rounding
    np.testing.assert_allclose(
        grid.coarse_coordinates[0], np.array(expected)[grid.coarse_index[0]], rtol=1e-15
    )


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_coordinates_may_run_down(boundary):
    up = Grid(6, 3, boundary=boundary, lower=-90.0, upper=30.0)
    down = Grid(6, 3, boundary=boundary, lower=90.0, upper=-30.0)
    for name in ("coordinates", "coarse_coordinates"):
        (x,), (negative,) = getattr(up, name), getattr(down, name)
        np.testing.assert_allclose(negative, -x, rtol=1e-14)  # rounding
    np.testing.assert_allclose(down.locations(), up.locations(), rtol=1e-6, atol=1e-6)  # float32


def test_flatten_is_channel_major_and_unflatten_undoes_it():
    grid = Grid((6, 15), (3, 5), channels=2)
    field = torch.randn(7, 4, 2, 3, 5)
    zeta = grid.flatten(field)
    assert zeta.shape == (7, 4, 30)
    assert zeta[1, 2, 1 * 15 + 2 * 5 + 3] == field[1, 2, 1, 2, 3]
    assert torch.equal(grid.unflatten(zeta), field)


def test_json_round_trip():
    grid = Grid((6, 15), (3, 5), channels=2, boundary=("periodic", "dirichlet"), lower=(0, -1))
    assert Grid(**json.loads(json.dumps(grid.to_dict()))) == grid


def test_equal_grids_hash_alike_and_cannot_be_changed():
    grid = Grid(6, 3)
    assert hash(grid) == hash(Grid((6,), (3,)))
    with pytest.raises(AttributeError):
        grid.channels = 2


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (
            (1000, 30),
            {},
            "n_y=1000 not divisible by n_c=30 on axis 0; choose one of 8, 10, 20, 25, ",
        ),
        (((12, 7), (3, 2)), {}, "n_y=7 not divisible by n_c=2 on axis 1; choose one of 1, 7"),
        (((12, 12), 3), {}, "coarse: 1 axes (3,), but shape has 2"),
        ((12, 0), {}, "coarse[0]=0: give a whole number, at least 1"),
        ((12.0, 3), {}, "shape[0]=12.0: give a whole number, at least 1"),
        (((), ()), {}, "shape: 0 axes"),
        ((12, 3), {"channels": -1}, "channels=-1: give a whole number, from 1 to"),
        ((12, 3), {"boundary": "circular"}, "choose one of periodic, dirichlet, neumann, anti"),
        ((12, 3), {"boundary": ("periodic",) * 2}, "boundary: 2 given for 1 axes"),
        ((12, 3), {"lower": 1.0, "upper": 1.0}, "upper: 1.0 is not apart from lower=1.0 on axis 0"),
        ((12, 3), {"lower": (0.0, 0.0)}, "lower: 2 given for 1 axes"),
    ],
)
def test_errors_name_the_argument_and_the_mend(arguments, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Grid(*arguments, **options)


def test_fields_of_another_shape_are_refused():
    grid = Grid((6, 15), (3, 5), channels=2)
    with pytest.raises(ValueError, match=r"coarse_field: .*\(2, 3, 5\)"):
        grid.flatten(torch.zeros(2, 5, 3))
    with pytest.raises(ValueError, match=r"zeta: .* num_zeta = 30"):
        grid.unflatten(torch.zeros(4, 32))
