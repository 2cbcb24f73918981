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
    # seeds repeat, but for the order in which ngsolve's factorisation adds: seen, 7e-15
    np.testing.assert_allclose(flow().velocity, usual.velocity, rtol=0, atol=1e-12)
    assert (usual.drag > 0).all()
    # lift is that of the bump, small beside the drag
    assert np.abs(usual.lift).max() < 0.1 * usual.drag.min()


def test_a_flow_goes_on_from_its_own_snapshot():
    x, y = centres(EXTENT[0], 640), centres(EXTENT[1], 80)
    once = flow(x=x, y=y).velocity
    again = solve_cylinder(100.0, TIMES[:2], x, y, np.random.default_rng(1), COARSE, start=once[1])
    change = np.nanmean(np.square(once[2] - once[1])) ** 0.5
    error = np.nanmean(np.square(again.velocity[1] - once[2])) ** 0.5
    assert error < 0.25 * change  # linear between the points: as good as they are many
    assert again.divergence[1] < 1.5 * flow(x=x, y=y).divergence[1]


def test_a_start_is_what_it_is_told_but_at_walls():
    x, y = centres((-0.5, 3.5), 64), centres(EXTENT[1], 16)
    px, py = np.meshgrid(x, y, indexing="ij")
    given = np.stack([1 + 0.1 * px + 0.3 * py, 0.2 * py - 0.05 * px])
    given[:, np.hypot(px, py) <= DIAMETER / 2] = np.nan
    pytest.importorskip("ngsolve")
    rng = np.random.default_rng(0)
    found = solve_cylinder(100.0, TIMES[:1], x, y, rng, COARSE, start=given).velocity[0]
    assert np.array_equal(np.isnan(found), np.isnan(given))
    far = (px > 1.0) & (px < 3.0) & (np.abs(py) < 0.15)
    # elements of P3 that touch neither wall nor end of the points hold a linear field
    np.testing.assert_allclose(found[:, far], given[:, far], atol=1e-6)  # float32


def test_a_step_that_is_too_long_is_said():
    pytest.importorskip("ngsolve")
    wild = 50.0 * np.ones((2, 8, 4))
    with pytest.raises(FloatingPointError, match=r"t=0: velocities above 10. Take shorter steps"):
        solve_cylinder(100.0, TIMES, X[:8], Y[:4], np.random.default_rng(0), COARSE, start=wild)


def test_without_the_solver_an_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ngsolve", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'pyro-msde\[cylinder\]'"):
        solve_cylinder(100.0, TIMES, X, Y, np.random.default_rng(0))
