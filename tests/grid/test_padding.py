import json
import re

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from pyro_msde.data import cropped, padded
from pyro_msde.grid import Grid, positions_at


def test_sizes_that_do_not_divide_are_padded_at_both_ends():
    grid = Grid((37, 49), (6, 8), boundary="neumann")
    assert grid.shape == (42, 56)
    assert grid.data_shape == (37, 49)
    assert grid.padding == ((3, 2), (4, 3))
    assert grid.stride == (7, 7)
    assert grid.field_shape == (1, 42, 56)
    assert [len(x) for x in grid.coordinates] == [37, 49]


def test_positions_are_those_of_the_fields_points():
    whole = Grid((37, 49), (1, 1), boundary="neumann", lower=(0.0, 9.0), upper=(37.0, -40.0))
    grid = Grid((37, 49), (6, 8), boundary="neumann", lower=(0.0, 9.0), upper=(37.0, -40.0))
    for x, expected in zip(grid.coordinates, whole.coordinates, strict=True):
        np.testing.assert_array_equal(x, expected)
    # every seventh point from the fourth of the padded axis on, whose first is at -3 or 4 + 9
    first, second = grid.coarse_coordinates
    np.testing.assert_allclose(first, 0.5 + np.arange(6) * 7, rtol=1e-14)  # rounding
    np.testing.assert_allclose(second, 9 - 0.5 - (np.arange(8) * 7 - 1), rtol=1e-14)
    assert [index.tolist() for index in grid.coarse_index] == [
        [0, 7, 14, 21, 28, 35],
        [-1, 6, 13, 20, 27, 34, 41, 48],
    ]


@pytest.mark.parametrize(
    ("boundary", "expected"),
    [
        ((("dirichlet", "neumann"),), (0, 1)),
        ((("replicate", "dirichlet"),), (1, 0)),
        ((("antisymmetric", "neumann"),), (0, 1)),
        (("replicate",), (1, 0)),
        ({0: "neumann", 1: (("neumann", "dirichlet"),)}, (1, 0)),
    ],
)
def test_no_point_is_put_beyond_a_wall(boundary, expected):
    grid = Grid(11, 3, channels=2, boundary=boundary)
    assert grid.padding == (expected,)


@pytest.mark.parametrize(
    ("n", "n_c", "boundary", "message"),
    [
        (37, 6, "dirichlet", "choose one of 1, 37. Points are added only where no wall holds"),
        (37, 6, "antisymmetric", "choose one of 1, 37. Points are added only where no wall holds"),
        (37, 6, "periodic", "choose one of 1, 37"),
        # with 30 coarse points each stands for two: eight of them would see nothing
        (
            37,
            30,
            "neumann",
            "n_y=37 not divisible by n_c=30 on axis 0; choose one of 8, 9, 10, 13, 19, 37",
        ),
        (7, 9, "neumann", "n_y=7 not divisible by n_c=9 on axis 0; choose one of"),
    ],
)
def test_what_cannot_be_padded_is_refused_with_numbers_that_can(n, n_c, boundary, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        Grid(n, n_c, boundary=boundary)
    for number in re.findall(r"\d+", str(caught.value).partition("one of")[2]):
        Grid(n, int(number), boundary=boundary)
    assert ("wall" in str(caught.value)) == (boundary in ("dirichlet", "antisymmetric"))


@pytest.mark.parametrize("n", range(1, 24))
def test_every_coarse_point_has_points_of_the_fields_about_it(n):
    for n_c in range(1, n + 1):
        try:
            grid = Grid(n, n_c, boundary="neumann")
        except ValueError:
            continue
        (before, after), (stride,) = grid.padding[0], grid.stride
        cell = (np.arange(n) + before) // stride
        assert set(cell) == set(range(n_c))
        assert before + n + after == stride * n_c
        assert abs(before - after) <= 1


def test_json_round_trip_with_a_mask():
    mask = np.ones((11, 13), bool)
    mask[2:5, 3] = False
    grid = Grid((11, 13), (3, 4), boundary="neumann", mask=mask)
    assert grid.mask.shape == (1, 11, 13)
    again = Grid(**json.loads(json.dumps(grid.to_dict())))
    assert again == grid
    np.testing.assert_array_equal(again.mask[0], mask)


def test_a_padded_grid_is_not_the_larger_one():
    assert Grid(11, 3, boundary="neumann") != Grid(12, 3, boundary="neumann")


def test_cropping_undoes_padding():
    padding = ((2, 0), (1, 3))
    fields = torch.randn(2, 3, 5, 7)
    larger = padded(fields, padding)
    expected = np.pad(fields.numpy(), ((0, 0), (0, 0), *padding))
    assert_close(larger, torch.as_tensor(expected), rtol=0, atol=0)
    assert torch.equal(cropped(larger, padding), fields)
    assert padded(fields, ((0, 0), (0, 0))) is fields
    assert not padded(torch.ones(5, 7, dtype=torch.bool), padding)[:2].any()


def test_positions_beyond_the_ends_go_on_evenly():
    x = np.array([4.0, 3.5, 3.0])
    np.testing.assert_allclose(positions_at(x, np.array([-2, 0, 2, 3])), [5.0, 4.0, 3.0, 2.5])
    names = np.array(["a", "b"])
    assert positions_at(names, np.array([-1, 1, 4])).tolist() == ["a", "b", "b"]
