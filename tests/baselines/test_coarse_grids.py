from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from benchmarks.coarse_grids import apply, interpolation, points, sampling
from benchmarks.errors import noise_floor, trajectory_error
from benchmarks.oracle import projections
from pyro_msde import Trajectories

ROUNDING = {"rtol": 0, "atol": 1e-11}


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("coarse", [6, 7])
def test_spectral_interpolation_is_exact_for_what_the_coarse_grid_resolves(periodic, coarse):
    rng = np.random.default_rng(1)

    def field(x):
        k = np.arange(1, 3)
        waves = 2 * np.pi * np.outer(x, k) + [0.3, 1.1] if periodic else np.pi * np.outer(x, k)
        return np.sin(waves) @ amplitudes

    amplitudes = rng.standard_normal(2)
    fine, few = points(42, periodic), points(coarse, periodic)
    up = interpolation(42, coarse, periodic, "spectral")
    assert_allclose(up @ field(few), field(fine), **ROUNDING)
    down = sampling(42, coarse, periodic, "lowpass")
    assert_allclose(down @ field(fine), field(few), **ROUNDING)


@pytest.mark.parametrize("kind", ["linear", "spectral"])
@pytest.mark.parametrize("periodic", [True, False])
def test_interpolation_keeps_the_values_at_common_points(periodic, kind):
    fine, coarse = (42, 6) if periodic else (41, 6)
    nearest = np.abs(points(fine, periodic)[:, None] - points(coarse, periodic)).argmin(0)
    up = interpolation(fine, coarse, periodic, kind)
    assert_allclose(up[nearest], np.eye(coarse), **ROUNDING)


def test_linear_interpolation_meets_the_walls_and_wraps():
    up = interpolation(9, 4, False, "linear")  # coarse points at .2, .4, .6, .8; fine at .1, .2, …
    assert_allclose(up @ [2.0, 4.0, 6.0, 8.0], [1, 2, 3, 4, 5, 6, 7, 8, 4], **ROUNDING)
    up = interpolation(8, 4, True, "linear")
    assert_allclose(up @ [0.0, 1.0, 2.0, 3.0], [0, 0.5, 1, 1.5, 2, 2.5, 3, 1.5], **ROUNDING)


def test_matrices_are_applied_along_their_axes():
    rng = np.random.default_rng(2)
    a, b, y = (rng.standard_normal(s) for s in ((2, 5), (3, 7), (4, 5, 7)))
    assert_allclose(apply([a, b], y), np.einsum("ij,kl,tjl->tik", a, b, y), **ROUNDING)


def shifted_bumps(shape, coarse, rng):
    """Fields in the span of translates, by coarse spacings, of one asymmetric bump."""
    bump = rng.standard_normal(shape)
    out = np.zeros((9, *shape))
    steps = [range(0, n, n // m) for n, m in zip(shape, coarse, strict=True)]
    for shift in np.stack(np.meshgrid(*steps), -1).reshape(-1, len(shape)):
        moved = np.roll(bump, tuple(shift), tuple(range(len(shape))))
        out += rng.standard_normal((9, *(1,) * len(shape))) * moved
    return out


@pytest.mark.parametrize(("shape", "coarse"), [((24,), (4,)), ((12, 10), (3, 5))])
def test_the_best_translates_are_found(shape, coarse):
    rng = np.random.default_rng(3)
    y = shifted_bumps(shape, coarse, rng)
    data = Trajectories(np.arange(9.0), y[None])
    assert_allclose(projections(data, coarse, periodic=True)["optimal"](y), y, **ROUNDING)


@pytest.mark.parametrize("periodic", [True, False])
def test_a_band_limited_field_passes_the_spectral_oracle(periodic):
    rng = np.random.default_rng(4)
    shape, coarse = (24, 18), (8, 6)
    up = [interpolation(n, m, periodic, "spectral") for n, m in zip(shape, coarse, strict=True)]
    smooth = [interpolation(m, 3, periodic, "spectral") for m in coarse]
    y = apply(up, apply(smooth, rng.standard_normal((5, 3, 3))))
    found = projections(Trajectories(np.arange(5.0), y[None]), coarse, periodic)
    names = ["samples", "spectral"] if periodic else ["spectral"]
    for name in names:
        assert_allclose(found[name](y), y, **ROUNDING)


@pytest.mark.parametrize("periodic", [True, False])
def test_projections_are_orthogonal(periodic):
    rng = np.random.default_rng(5)
    data = Trajectories(np.arange(7.0), rng.standard_normal((2, 7, 24)))
    y = data.values[0]
    for name, project in projections(data, (6,), periodic).items():
        once = project(y)
        if name != "samples":
            assert_allclose(project(once), once, **ROUNDING)
            assert_allclose(np.sum(once * (y - once), 1), 0, atol=1e-10)


def test_error_and_noise_floor():
    rng = np.random.default_rng(6)
    clean = 2 + rng.standard_normal((11, 300))
    y = clean + 0.05 * rng.standard_normal(clean.shape)
    ratio = [np.sum((c - o) ** 2) / np.sum(o**2) for c, o in zip(clean, y, strict=True)]
    assert trajectory_error(clean, y) == pytest.approx(np.sqrt(np.mean(ratio)))
    # relative standard error of a mean square of 3300 normals: sqrt(2/3300), halved by the root;
    # five of them: false alarms once in two million
    assert noise_floor(y, 0.05) == pytest.approx(trajectory_error(clean, y), rel=5 * 0.0123)
    assert trajectory_error(np.full_like(y, np.inf), y) == np.inf
    with pytest.raises(ValueError, match="forecast: shape"):
        trajectory_error(clean[1:], y)
