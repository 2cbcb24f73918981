from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from pyro_msde import Trajectories
from pyro_msde.baselines import (
    choose_regression,
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


def trajectories(values, covariates=None):
    """With a time axis of their own."""
    return Trajectories(np.arange(TIMES) * 0.1, values, covariates=covariates)


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
    forecast = mean_trajectory(trajectories(train), y0)
    assert forecast.shape == (UNSEEN, TIMES, *FIELD)
    for one in forecast:
        assert_allclose(one, sum(train) / TRAIN, **ROUNDING)


def test_the_nearest_trajectory_is_found_by_searching_all(train, y0):
    forecast = nearest_trajectory(trajectories(train), y0)
    chosen = set()
    for one, y in zip(forecast, y0, strict=True):
        distances = [sum(d**2 for d in (path[0] - y).flat) for path in train]
        best = min(range(TRAIN), key=distances.__getitem__)
        assert_array_equal(one, train[best])
        chosen.add(best)
    assert len(chosen) > 1  # else a constant answer would pass


def test_a_training_trajectory_is_nearest_to_itself(train):
    assert_array_equal(nearest_trajectory(trajectories(train), train[:, 0]), train)


def test_principal_regression_recovers_an_affine_map_of_rank_two(rng):
    plane = Plane(rng)
    unseen = plane.paths(rng.standard_normal((UNSEEN, 2)))
    train = trajectories(plane.paths(rng.standard_normal((TRAIN, 2))))
    forecast = principal_regression(train, unseen[:, 0])
    assert_allclose(forecast, unseen, **ROUNDING)


def test_principal_regression_sees_only_the_principal_plane(rng):
    plane = Plane(rng)
    train = plane.paths(rng.standard_normal((TRAIN, 2)))
    unseen = plane.paths(rng.standard_normal((UNSEEN, 2)))
    off = unseen[:, 0] + 3 * plane.normal.reshape(FIELD)
    assert_allclose(principal_regression(trajectories(train), off), unseen, **ROUNDING)


def test_one_component_keeps_the_direction_of_largest_variance(rng):
    """Its forecast is that of the point's projection, as the other coordinate is uncorrelated."""
    plane = Plane(rng)
    wide, narrow = [-3.0, -1.0, 0.0, 1.0, 3.0], [0.2, -0.2, 0.0, -0.2, 0.2]
    train = plane.paths(np.column_stack([wide, narrow]))
    coordinates = rng.standard_normal((UNSEEN, 2))
    start = plane.paths(coordinates)[:, 0]
    projected = plane.paths(coordinates * [1.0, 0.0])
    forecast = principal_regression(trajectories(train), start, components=1)
    assert_allclose(forecast, projected, **ROUNDING)


def test_products_of_components_enter_at_degree_two(rng):
    """Paths quadratic in the coordinates; the first snapshots stay in the plane."""
    plane = Plane(rng)

    def paths(coordinates):
        out = plane.paths(coordinates)
        out[:, 1:] += (coordinates[:, :1] * coordinates[:, 1:])[:, :, None, None]
        out[:, 2:] += coordinates[:, :1, None, None] ** 2
        return out

    train = trajectories(paths(rng.standard_normal((11, 2))))
    unseen = paths(rng.standard_normal((UNSEEN, 2)))
    forecast = principal_regression(train, unseen[:, 0], degree=2)
    assert_allclose(forecast, unseen, **ROUNDING)
    linear = principal_regression(train, unseen[:, 0])
    assert np.abs(linear - unseen).max() > 0.1


def test_parameters_are_regressors(rng):
    plane = Plane(rng)
    effect = rng.standard_normal((TIMES, *FIELD))
    effect[0] = 0.0  # not seen in the first snapshot

    def paths(coordinates, own):
        return plane.paths(coordinates) + own[:, :, None, None] * effect

    own, new = rng.standard_normal((TRAIN, 1)), rng.standard_normal((UNSEEN, 1))
    train = trajectories(paths(rng.standard_normal((TRAIN, 2)), own), own)
    unseen = paths(rng.standard_normal((UNSEEN, 2)), new)
    forecast = principal_regression(train, unseen[:, 0], covariates=new)
    assert_allclose(forecast, unseen, **ROUNDING)


def test_parameters_decide_between_equal_first_snapshots(rng):
    train = rng.standard_normal((3, TIMES, *FIELD))
    train[1, 0] = train[0, 0]
    forecast = nearest_trajectory(
        trajectories(train, [1.0, 2.0, 5.0]), train[:1, 0], covariates=np.array([[1.9]])
    )
    assert_array_equal(forecast[0], train[1])


def test_parameters_on_one_side_only_are_refused(train, y0):
    for look_up in (nearest_trajectory, principal_regression):
        with pytest.raises(ValueError, match="covariates: only one"):
            look_up(trajectories(train), y0, covariates=np.ones((UNSEEN, 1)))


@pytest.mark.parametrize("covariates", [None, np.linspace(0.0, 1.0, 9)[:, None] ** 2])
def test_leaving_one_out_is_forecasting_each_from_the_others(rng, covariates):
    coordinates = rng.standard_normal((9, 2))
    paths = Plane(rng).paths(coordinates) + 0.1 * rng.standard_normal((9, TIMES, *FIELD))
    paths[:, 1:] += coordinates[:, :1, None, None] ** 2
    data = trajectories(paths, covariates)
    options = [(c, 1) for c in ((1, 2, 3, 4, 6) if covariates is None else (1, 2, 3, 4))]
    options += [(1, 2), (2, 2)] if covariates is None else [(1, 2)]

    def error(components, degree):
        each = []
        for k in range(9):
            others = data[[j for j in range(9) if j != k]]
            own = None if covariates is None else covariates[[k]]
            forecast = principal_regression(
                others, paths[[k], 0], covariates=own, components=components, degree=degree
            )
            ratio = np.sum((forecast[0] - paths[k]) ** 2, (1, 2)) / np.sum(paths[k] ** 2, (1, 2))
            each.append(np.sqrt(ratio.mean()))
        return np.mean(each)

    assert choose_regression(data) == min(options, key=lambda option: error(*option))


def test_leaving_one_out_needs_trajectories(train):
    with pytest.raises(ValueError, match="train: 3 trajectories"):
        choose_regression(trajectories(train[:3]))


@pytest.mark.parametrize("look_up", [mean_trajectory, nearest_trajectory, principal_regression])
def test_beyond_the_training_horizon_the_last_snapshot_is_held(look_up, train, y0):
    known = look_up(trajectories(train), y0)
    longer = look_up(trajectories(train), y0, TIMES + 3)
    assert_array_equal(longer[:, :TIMES], known)
    for i in range(TIMES, TIMES + 3):
        assert_array_equal(longer[:, i], known[:, -1])
    assert_array_equal(look_up(trajectories(train), y0, 2), known[:, :2])


def test_training_trajectories_of_different_times_are_refused(train, y0):
    ragged = Trajectories([np.arange(5.0), np.arange(4.0)], [train[0], train[1, :4]])
    with pytest.raises(ValueError, match="train: lead times differ"):
        mean_trajectory(ragged, y0)
