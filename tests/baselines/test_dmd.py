from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.linalg import expm

from pyro_msde import Trajectories

pytest.importorskip("pydmd")

from benchmarks.dmd import candidates, choose, exact, nearest_candidates, optimised

POINTS, RANK, TIMES = 17, 4, 61


@pytest.fixture
def system():
    """Trajectories of dz/dt = A z in four of 17 dimensions, without noise; and unseen ones."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((POINTS, RANK)))[0]
    turn = np.array([[-0.2, 3.0], [-3.0, -0.2]])
    A = np.zeros((RANK, RANK))
    A[:2, :2], A[2:, 2:] = turn, 0.5 * turn - 0.3 * np.eye(2)
    mix = np.eye(RANK) + 0.3 * rng.standard_normal((RANK, RANK))  # not a normal matrix
    A = mix @ A @ np.linalg.inv(mix)
    times = np.linspace(0, 1.5, TIMES)
    flow = np.stack([expm(A * t) for t in times])

    def paths(num):
        z = np.einsum("tij,kj->kti", flow, rng.standard_normal((num, RANK)))
        return Trajectories(times, z @ basis.T)

    return basis, paths(5), paths(3)


def states(basis, data):
    return [v @ basis for v in data.values]


@pytest.mark.parametrize("lag", [1, 7])
def test_exact_dmd_recovers_a_linear_system(system, lag):
    basis, train, unseen = system
    model = exact(train.times[0], states(basis, train), basis, lag)
    for times, y in zip(unseen.times, unseen.values, strict=True):
        assert_allclose(model.forecast(y[0], times), y, atol=1e-9)  # rounding


def test_optimised_dmd_recovers_a_linear_system(system):
    basis, train, unseen = system
    model = optimised(train.times[0], states(basis, train), basis)
    for times, y in zip(unseen.times, unseen.values, strict=True):
        assert_allclose(model.forecast(y[0], times), y, atol=1e-3)  # its own tolerance


def test_the_rank_of_the_system_is_chosen(system):
    _, train, unseen = system
    name, errors = choose(candidates(train, (2, 4), lags=(1,)), unseen)
    assert "rank 4" in name
    assert errors[name] < 1e-3 < min(e for n, e in errors.items() if "rank 2" in n)


def test_the_forecast_keeps_the_fields_shape(system):
    basis, train, _ = system
    model = exact(train.times[0], states(basis, train), basis, 1)
    y0 = train.values[0][0]
    assert model.forecast(y0[:, None], np.arange(3.0)).shape == (3, POINTS, 1)


def test_the_model_of_the_nearest_covariates_is_taken(system):
    """Trajectories that turn as fast as their covariate says: one's model suits no other."""
    basis, _, _ = system
    times, speeds = np.linspace(0, 1.5, TIMES), np.array([1.0, 4.0, 9.0])
    angle = np.outer(speeds, times)
    values = np.stack([np.cos(angle), np.sin(angle)], -1) @ basis[:, :2].T
    train = Trajectories(times, values, covariates=speeds)
    unseen = Trajectories(times, values[[1, 2]], covariates=np.array([3.8, 9.5]))
    models = nearest_candidates(train, (2,), unseen.covariates)
    name, errors = choose(models, unseen)
    assert name.endswith("of the nearest covariates")
    assert errors[name] < 1e-6
    with pytest.raises(ValueError, match="without covariates"):
        nearest_candidates(Trajectories(times, values), (2,), unseen.covariates)
