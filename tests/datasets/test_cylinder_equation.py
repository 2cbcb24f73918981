"""Flow past a cylinder on few elements: what the equations say of it. Needs ngsolve."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from pyro_msde.datasets.cylinder_equation import (
    DIAMETER,
    EXTENT,
    Resolution,
    centres,
    solve_cylinder,
)

COARSE = Resolution(cylinder=0.04, wake=0.12, far=0.3, dt=2e-3)
TIMES = np.array([0.0, 0.02, 0.04])
X, Y = centres(EXTENT[0], 128), centres(EXTENT[1], 16)


def flow(reynolds=100.0, seed=0, x=X, y=Y, times=TIMES):
    pytest.importorskip("ngsolve")
    return solve_cylinder(reynolds, times, x, y, np.random.default_rng(seed), COARSE)


@pytest.fixture(scope="module")
def usual():
    return flow()


def test_the_cylinder_has_no_velocity_and_all_else_has(usual):
    solid = np.hypot(X[:, None], Y) <= DIAMETER / 2
    assert 0 < solid.sum()
    np.testing.assert_array_equal(np.isnan(usual.velocity), np.broadcast_to(solid, (3, 2, 128, 16)))
    near = flow(x=np.array([-DIAMETER / 2 - 1e-4, 0.0]), y=np.array([0.0, DIAMETER / 2 + 1e-4]))
    assert np.abs(near.velocity[:, :, 0, 0]).max() < 0.05  # no slip
    assert np.abs(near.velocity[:, :, 1, 1]).max() < 0.05


def test_what_flows_in_flows_out_and_the_walls_hold(usual):
    edges = flow(x=np.array([-0.5, 1.0, 7.5]), y=np.array([-0.5, *Y, 0.5])).velocity
    np.testing.assert_allclose(edges[:, 0, 0], 1.0, atol=1e-4)  # float32
    np.testing.assert_allclose(edges[:, 1, 0], 0.0, atol=1e-4)
    np.testing.assert_allclose(edges[:, 1][..., [0, -1]], 0.0, atol=1e-6)  # v on the walls
    across = edges[:, 0, :, 1:-1].mean(-1)  # midpoint rule of ∫ u dy
    np.testing.assert_allclose(across, 1.0, atol=5e-3)
    assert usual.divergence.max() < 0.1  # root mean square in units of U/D, on so few elements


def test_a_bump_alone_breaks_the_symmetry(usual):
    other = flow(seed=1)
    assert not np.array_equal(usual.velocity, other.velocity, equal_nan=True)
    np.testing.assert_array_equal(flow().velocity, usual.velocity)  # seeds repeat
    assert (usual.drag > 0).all()
    # lift is that of the bump, small beside the drag
    assert np.abs(usual.lift).max() < 0.1 * usual.drag.min()


def test_without_the_solver_an_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ngsolve", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'pyro-msde\[cylinder\]'"):
        solve_cylinder(100.0, TIMES, X, Y, np.random.default_rng(0))
