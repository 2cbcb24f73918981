"""What lies beyond the ends: against waves that go on there, by end and by channel; errors."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from pyro_msde.grid import Grid, ends_of, operators
from pyro_msde.grid.rings import Ring

N = 7
EXACT = {"rtol": 0, "atol": 1e-12}  # float64, numbers of size 1


@dataclass(frozen=True)
class Odd:
    """The mirror image with its sign changed: zero on the wall, half a spacing beyond the end."""

    wall: float = 0.5

    def ghosts(self, distance, n):
        return distance - 1, -1.0


ODD = Odd()


@pytest.mark.parametrize(
    ("boundary", "wave"),
    [
        ("periodic", lambda p: np.sin(2 * np.pi * p / N + 0.3)),
        ("neumann", lambda p: np.cos(3 * np.pi * (p + 0.5) / N)),
        (ODD, lambda p: np.sin(3 * np.pi * (p + 0.5) / N)),
        ("antisymmetric", lambda p: np.sin(3 * np.pi * (p + 0.5) / N)),
        (("antisymmetric", "neumann"), lambda p: np.sin(1.5 * np.pi * (p + 0.5) / N)),
        ((ODD, "neumann"), lambda p: np.sin(1.5 * np.pi * (p + 0.5) / N)),
        (("neumann", ODD), lambda p: np.cos(1.5 * np.pi * (p + 0.5) / N)),
        ("replicate", lambda p: np.clip(p, 0, N - 1) ** 2),
        ("dirichlet", lambda p: np.where((p >= 0) & (p < N), 3.0, 0.0)),
        (("dirichlet", "replicate"), lambda p: np.where(p < 0, 0, np.minimum(p, N - 1) + 2)),
        # the image in the mirror is of what is there: the zeros beyond the other end too
        (("neumann", "dirichlet"), lambda p: np.where((p >= -N) & (p < N), np.abs(p + 0.5), 0)),
    ],
)
def test_waves_of_the_boundary_go_on_beyond_its_ends(boundary, wave):
    positions = np.arange(-3 * N, 4 * N)
    (ends,) = ends_of([boundary], 1)
    source, weight = ends.sources(positions, N)
    assert ((source >= 0) & (source < N)).all()
    np.testing.assert_allclose(weight * wave(np.arange(N))[source], wave(positions), **EXACT)


@pytest.fixture(params=["matrix", "transforms"])
def _means(request, monkeypatch):
    """T_p and T_r by a matrix, or by transforms as on large grids."""
    if request.param == "transforms":
        monkeypatch.setattr(operators, "_MOST_ENTRIES", 0)
        monkeypatch.setattr(operators, "_MOST_FOLDED", 0)


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


BY_CHANNEL = {
    0: [("dirichlet", ODD), "periodic"],
    1: ["neumann", "periodic"],
    2: [(ODD, "replicate"), "periodic"],
}


@pytest.mark.parametrize("size", [(5, 3), (17, 9), (31, 5)])
@pytest.mark.usefixtures("_means")
def test_operators_of_channels_are_those_of_each_alone_and_adjoint(size):
    grid = Grid((10, 6), (5, 2), channels=3, boundary=BY_CHANNEL)
    kernel, y, zeta = draw(3, *size), draw(2, *grid.field_shape), draw(2, 3, 5, 2)
    both = grid.operators(kernel)
    for c, boundary in BY_CHANNEL.items():
        alone = Grid((10, 6), (5, 2), boundary=boundary).operators(kernel[c : c + 1])
        channel = slice(c, c + 1)
        assert_close(both.smooth(y)[:, channel], alone.smooth(y[:, channel]), **EXACT)
        assert_close(both.restrict(y)[:, channel], alone.restrict(y[:, channel]), **EXACT)
        assert_close(both.prolong(zeta)[:, channel], alone.prolong(zeta[:, channel]), **EXACT)
    coarse, fine = 6 * (both.restrict(y) * zeta).sum(), (y * both.prolong(zeta)).sum()
    assert_close(coarse, fine, rtol=1e-11, atol=1e-9)  # sums of some 10⁴ products


@pytest.mark.usefixtures("_means")
@pytest.mark.parametrize("boundary", [ODD, ("dirichlet", "neumann"), ("replicate", ODD)])
def test_smoothing_is_a_plain_sum_over_ghosts(boundary):
    grid = Grid(12, 4, boundary=[boundary])
    kernel, y = draw(1, 21), draw(5, 1, 12)
    source, weight = grid.ends[0][0].sources(np.arange(-10, 22), 12)
    padded = y[..., source] * torch.from_numpy(weight)
    expected = torch.nn.functional.conv1d(padded, kernel[:, None])
    assert_close(grid.operators(kernel).smooth(y), expected, **EXACT)
    assert_close(grid.operators(kernel).restrict(y), expected[..., 1::3], **EXACT)


def odd_at_both_ends(n, reach):
    """(n + 2 reach, n) by which y goes on as … −y₁ −y₀ | y₀ y₁ …: 2n entries over and over."""
    period = np.concatenate([np.eye(n), -np.eye(n)[::-1]])
    return period[np.arange(-reach, n + reach) % (2 * n)]


def odd_then_even(n, reach):
    """The same, odd at the lower end and even at the upper one: 4n entries over and over."""
    period = np.concatenate([np.eye(n), np.eye(n)[::-1], -np.eye(n), -np.eye(n)[::-1]])
    return period[np.arange(-reach, n + reach) % (4 * n)]


MIRRORS = pytest.mark.parametrize(
    ("boundary", "mirrored"),
    [("antisymmetric", odd_at_both_ends), (("antisymmetric", "neumann"), odd_then_even)],
)


@MIRRORS
@pytest.mark.parametrize("size", [7, 21, 61])  # reaches a part of the axis, two ends, three lengths
@pytest.mark.usefixtures("_means")
def test_operators_at_odd_walls_are_dense_matrices(boundary, mirrored, size):
    n, n_c, stride, half = 12, 4, 3, size // 2
    kernel, y, zeta = draw(1, size), draw(5, 1, n), draw(5, 1, n_c)
    toeplitz = np.zeros((n, n + 2 * half))
    for i in range(n):
        toeplitz[i, i : i + size] = kernel[0]
    smooth = toeplitz @ mirrored(n, half)
    restrict = smooth[1::stride]
    found = Grid(n, n_c, boundary=[boundary]).operators(kernel)
    for name, field, matrix in (
        ("smooth", y, smooth),
        ("restrict", y, restrict),
        ("prolong", zeta, stride * restrict.T),
    ):
        assert_close(getattr(found, name)(field), field @ torch.from_numpy(matrix).T, **EXACT)


@MIRRORS
def test_a_ring_with_odd_walls_is_folded_by_the_transpose_that_extends_it(boundary, mirrored):
    n, reach = 12, 9
    ring = Ring(ends_of([boundary], 1), n, 3, reach)
    before = min(reach, ring.length - n)
    place = np.concatenate([np.arange(ring.length - before), np.arange(-before, 0)])
    matrix = torch.from_numpy(mirrored(n, 2 * n)[place + 2 * n])
    y, field = draw(2, 1, n), draw(2, 1, ring.length)
    assert torch.equal(ring.extend(y, -1, -2), y @ matrix.T)
    assert_close(ring.fold(field, -1, -2), field @ matrix, **EXACT)


def test_stencils_of_channels_are_those_of_each_alone():
    grid = Grid((10, 6), (5, 2), channels=3, boundary=BY_CHANNEL)
    stencil, zeta = grid.stencil(1), draw(4, 3, 10)
    assert stencil.centre == 4
    out = stencil(zeta).unflatten(-1, (3, 9))
    for c, boundary in BY_CHANNEL.items():
        alone = Grid((10, 6), (5, 2), boundary=boundary).stencil(1)
        assert torch.equal(out[..., c, :], alone(zeta[:, c : c + 1]))
    assert torch.autograd.gradcheck(stencil, draw(2, 3, 10).requires_grad_())


def test_an_odd_wall_gives_neighbours_of_the_other_sign():
    zeta = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    for boundary in (ODD, "antisymmetric"):
        rows = Grid(4, 4, boundary=boundary).stencil(1)(zeta)
        assert rows.tolist() == [[-1, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, -4]]


def test_a_corner_of_two_odd_walls_is_turned_about_and_slip_walls_differ_by_channel():
    # The field is the points' numbers; beyond both walls the signs of two images cancel.
    slip = {0: "neumann", 1: ["neumann", "antisymmetric"], 2: "antisymmetric"}
    zeta = torch.arange(1.0, 7).expand(3, 6)
    rows = Grid((2, 3), (2, 3), channels=3, boundary=slip).stencil(1)(zeta).unflatten(-1, (3, 9))
    assert rows[0].tolist() == [
        [1, 1, 2, 1, 1, 2, 4, 4, 5],
        [-1, 1, 2, -1, 1, 2, -4, 4, 5],
        [1, -1, -2, -1, 1, 2, -4, 4, 5],
    ]


def test_ends_have_walls_of_their_own():
    grid = Grid(4, 2, boundary=[("dirichlet", "neumann")], lower=2.0, upper=3.8)
    np.testing.assert_allclose(grid.coordinates[0], [2.4, 2.8, 3.2, 3.6], rtol=1e-15)
    np.testing.assert_allclose(grid.ends[0][0].domain(grid.coordinates[0]), (2.0, 3.8), rtol=1e-15)


def test_words_are_the_shortest_and_go_through_json():
    mixed = Grid((10, 6), (5, 2), boundary=[("dirichlet", "neumann"), ("neumann", "neumann")])
    assert mixed.boundary == (("dirichlet", "neumann"), "neumann")
    channels = Grid(6, 3, channels=2, boundary={0: "dirichlet", 1: "neumann"})
    assert channels.boundary == {0: ("dirichlet",), 1: ("neumann",)}
    slip = {0: [("antisymmetric", "neumann"), "neumann"], 1: [("antisymmetric",) * 2, "neumann"]}
    plane = Grid((10, 6), (5, 2), channels=2, boundary=slip)
    assert plane.boundary[0] == (("antisymmetric", "neumann"), "neumann")
    assert plane.boundary[1] == ("antisymmetric", "neumann")
    for grid in (mixed, channels, plane):
        again = Grid(**json.loads(json.dumps(grid.to_dict())))
        assert again == grid
        assert hash(again) == hash(grid)
    alike = Grid(6, 3, channels=2, boundary={0: "neumann", 1: "neumann"})
    assert alike == Grid(6, 3, channels=2, boundary="neumann") != channels
    assert Grid(6, 3, boundary=ODD) == Grid(6, 3, boundary=[(ODD, ODD)])
    assert Grid(6, 3, boundary=ODD) != Grid(6, 3, boundary="antisymmetric")  # no name of its own
    assert Grid(6, 3, boundary=ODD).to_dict()["boundary"] == ["Odd(wall=0.5)"]


@dataclass(frozen=True)
class Answers:
    source: float
    weight: float = 1.0
    wall: float = 0.5

    def ghosts(self, distance, n):
        return self.source, self.weight


class Unhashable(Odd):
    __hash__ = None


@pytest.mark.parametrize(
    ("boundary", "message"),
    [
        ([("periodic", "neumann")], "it is periodic at both ends or none"),
        ([("neumann", "neumann", "neumann")], "give one, or a pair for its two ends"),
        (Odd, "give a name, or a hashable object with wall and ghosts(distance, n)"),
        (Unhashable(), "give a name, or a hashable object"),
        (Answers(0, wall=-1.0), "wall is -1.0; give the distance of the wall from the end point"),
        ({0: "neumann", "0": "dirichlet", 1: "neumann"}, "boundary: a channel is given twice"),
        ({0: "neumann"}, "boundary: given for channels 0; give one for each from 0 to 1"),
        ({0: "neumann", 1: "periodic"}, "axis 0 is periodic for some channels"),
        ({0: "neumann", 1: "open"}, "boundary: 'open' on axis 0 is unknown"),
        (("dirichlet", "neumann"), "in which a pair stands for the two ends: [(lower, upper)]"),
    ],
)
def test_what_is_no_boundary_is_refused(boundary, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Grid(6, 3, channels=2, boundary=boundary)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (Answers(-1), "gave sources -1 and weights 1.0. Give whole numbers from 0 on"),
        (Answers(0.5), "Give whole numbers from 0 on"),
        (Answers(0, np.nan), "and finite numbers"),
        (Answers(9), "lie beyond each other's end for ever"),
    ],
)
def test_wrong_ghosts_are_named(answers, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Grid(3, 3, boundary=answers).stencil(1)
