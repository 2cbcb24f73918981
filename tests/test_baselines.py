from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from pyro_msde.baselines import (
    mean_trajectory,
    nearest_trajectory,
    persistence,
    principal_regression,
)

TRAIN, UNSEEN, TIMES, FIELD = 7, 4, 5, (2, 3)
# least squares of numbers of order 1 with condition number below 100
ROUNDING = {"rtol": 1e-10, "atol": 1e-10}


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture
def train(rng):
    return rng.standard_normal((TRAIN, TIMES, *FIELD))


@pytest.fixture
def y0(rng):
    return rng.standard_normal((UNSEEN, *FIELD))


class Plane:
    """First snapshots c + a u + b v, whose paths an affine map gives."""

    def __init__(self, rng):
        size = int(np.prod(FIELD))
        self.origin = rng.standard_normal(size)
        axes, _ = np.linalg.qr(rng.standard_normal((size, 3)))
        self.axes, self.normal = axes[:, :2].T, axes[:, 2]
        self.map = rng.standard_normal((TIMES, size, size))
        self.shift = rng.standard_normal((TIMES, size))
        self.map[0], self.shift[0] = np.eye(size), 0.0  # a path begins at its first snapshot

    def paths(self, coordinates):
        start = self.origin + coordinates @ self.axes
        paths = np.einsum("tij,kj->kti", self.map, start) + self.shift
        return paths.reshape(len(coordinates), TIMES, *FIELD)


def test_persistence_repeats_the_first_snapshot(y0):
    forecast = persistence(y0, TIMES)
    assert forecast.shape == (UNSEEN, TIMES, *FIELD)
    for i in range(TIMES):
        assert_array_equal(forecast[:, i], y0)


def test_the_mean_trajectory_is_the_same_for_all(train, y0):
    forecast = mean_trajectory(train, y0)
    assert forecast.shape == (UNSEEN, TIMES, *FIELD)
    for one in forecast:
        assert_allclose(one, sum(train) / TRAIN, **ROUNDING)


def test_the_nearest_trajectory_is_found_by_searching_all(train, y0):
    forecast = nearest_trajectory(train, y0)
    chosen = set()
    for one, y in zip(forecast, y0, strict=True):
        distances = [sum(d**2 for d in (path[0] - y).flat) for path in train]
        best = min(range(TRAIN), key=distances.__getitem__)
        assert_array_equal(one, train[best])
        chosen.add(best)
    assert len(chosen) > 1  # else a constant answer would pass


def test_a_training_trajectory_is_nearest_to_itself(train):
    assert_array_equal(nearest_trajectory(train, train[:, 0]), train)


def test_principal_regression_recovers_an_affine_map_of_rank_two(rng):
    plane = Plane(rng)
    unseen = plane.paths(rng.standard_normal((UNSEEN, 2)))
    forecast = principal_regression(plane.paths(rng.standard_normal((TRAIN, 2))), unseen[:, 0])
    assert_allclose(forecast, unseen, **ROUNDING)


def test_principal_regression_sees_only_the_principal_plane(rng):
    plane = Plane(rng)
    train = plane.paths(rng.standard_normal((TRAIN, 2)))
    unseen = plane.paths(rng.standard_normal((UNSEEN, 2)))
    off = unseen[:, 0] + 3 * plane.normal.reshape(FIELD)
    assert_allclose(principal_regression(train, off), unseen, **ROUNDING)


def test_one_component_keeps_the_direction_of_largest_variance(rng):
    """Its forecast is that of the point's projection, as the other coordinate is uncorrelated."""
    plane = Plane(rng)
    wide, narrow = [-3.0, -1.0, 0.0, 1.0, 3.0], [0.2, -0.2, 0.0, -0.2, 0.2]
    train = plane.paths(np.column_stack([wide, narrow]))
    coordinates = rng.standard_normal((UNSEEN, 2))
    start = plane.paths(coordinates)[:, 0]
    projected = plane.paths(coordinates * [1.0, 0.0])
    assert_allclose(principal_regression(train, start, components=1), projected, **ROUNDING)
