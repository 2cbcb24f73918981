from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.linalg import subspace_angles

import pyro_msde
from pyro_msde import Trajectories
from pyro_msde.baselines import pod_basis
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import pod_sde

RANK, POINTS, SIZES = 3, 31, (17, 23, 19)
UNTRAINED = {"steps": 1, "length": 9, "learning_rate": 0.0, "progress": False, "jackknife": False}


def waves(rng, *, num=4, steps=50, shape=(POINTS,), speeds=None):
    """Damped travelling waves of two wavenumbers, with noise; speeds differ where they are given.

    Of more than one axis of space the points are numbered through.
    """
    x, t = np.arange(np.prod(shape)) / np.prod(shape), np.linspace(0, 1, steps)
    out = 0.001 * rng.standard_normal((num, steps, len(x)))
    turned = t[:, None] * (1 if speeds is None else np.reshape(speeds, (-1, 1, 1)))
    for k, amplitude in ((1, 3.0), (2, 1.0)):
        angle = 2 * np.pi * (k * x - turned + rng.uniform(size=(num, 1, 1)))
        out += amplitude * np.exp(-0.3 * t)[:, None] * np.cos(angle)
    values = out.reshape(num, steps, *shape).astype(np.float32)
    return Trajectories(t, values, covariates=speeds)


def test_modes_span_what_the_singular_vectors_span():
    rng = np.random.default_rng(2)
    values = [rng.standard_normal((n, 4)) @ rng.standard_normal((4, POINTS)) for n in SIZES]
    values = [v + 0.01 * rng.standard_normal(v.shape) for v in values]
    data = Trajectories([np.arange(float(n)) for n in SIZES], values)
    basis = pod_basis(data, RANK)
    exact = np.linalg.svd(np.concatenate(values), full_matrices=False)[2][:RANK].T
    # eigenvectors of the snapshots' inner products: rounding over the gap between eigenvalues
    assert subspace_angles(basis, exact).max() < 1e-8
    assert_allclose(basis.T @ basis, np.eye(RANK), atol=1e-13)
    for mode, vector in zip(basis.T, exact.T, strict=True):
        assert abs(mode @ vector) == pytest.approx(1, abs=1e-8)


def test_a_subsample_of_snapshots_is_even(monkeypatch):
    """Every second snapshot of all, counted through the trajectories."""
    rng = np.random.default_rng(3)
    values = rng.standard_normal((2, 7, POINTS))
    basis = pod_basis(Trajectories(np.arange(7.0), values), 7, max_snapshots=7)
    assert subspace_angles(basis, values.reshape(14, POINTS)[::2].T).max() < 1e-8


@pytest.mark.parametrize("rank", [0, 15])
def test_more_modes_than_snapshots_are_refused(rank):
    data = Trajectories(np.arange(7.0), np.ones((2, 7, POINTS)))
    with pytest.raises(ValueError, match=f"rank: {rank} modes of 14 snap|rank=0: give"):
        pod_basis(data, rank)


def test_the_model_projects_orthogonally_on_the_modes():
    rng = np.random.default_rng(4)
    data = waves(rng)
    model = pod_sde(data, RANK, width=5, start=False, reference=None)
    operators, basis = model.bind().operators, pod_basis(data, RANK)
    y = rng.standard_normal((2, 1, POINTS)).astype(np.float32)
    z = operators.restrict(torch.as_tensor(y))
    assert z.shape == (2, RANK)
    # float32
    assert_allclose(operators.prolong(z).numpy(), y @ basis @ basis.T, rtol=0, atol=1e-5)


def test_the_leading_coefficient_has_unit_mean_square():
    data = waves(np.random.default_rng(5))
    model = pod_sde(data, RANK, width=5, start=False, reference=None)
    scale = float(np.sqrt(np.mean([np.square(v).mean() for v in data.values])))
    operators = model.bind().operators
    z = operators.restrict(torch.as_tensor(np.concatenate(data.values) / scale)[:, None])
    assert float(z[:, 0].square().mean()) == pytest.approx(1, abs=1e-4)  # float32
    assert float(z[:, 1].square().mean()) < 1


def test_modes_are_those_of_anomalies():
    """As `fit` subtracts the mean by default, large ones change neither modes nor regression."""
    data = waves(np.random.default_rng(5))
    high = Trajectories(data.times, [v.astype(np.float64) + 280.0 for v in data.values])
    models = [pod_sde(some, RANK, width=5) for some in (data, high)]
    anomalies = Trajectories(data.times, [v - np.mean(data.values) for v in data.values])
    basis = pod_basis(anomalies, RANK)
    for model in models:
        y = torch.as_tensor(np.eye(POINTS, dtype=np.float32))[:, None]
        operators = model.bind().operators
        projector = operators.prolong(operators.restrict(y))[:, 0]
        # float32
        assert_allclose(projector.numpy(), basis @ basis.T, rtol=0, atol=1e-4)
    weights = [model.drift.state_dict() for model in models]
    for name, weight in weights[0].items():
        assert_allclose(weights[1][name].numpy(), weight.numpy(), rtol=1e-2, atol=1e-2)


def test_the_regression_starts_the_drift_of_a_linear_system_where_it_ends():
    """Rotation and decay of two pairs of modes: 4 coefficients, dz/dt = A z."""
    data = waves(np.random.default_rng(7), num=6, steps=51)
    before = torch.get_rng_state()
    started = pod_sde(data, 4, width=5)
    assert torch.equal(torch.get_rng_state(), before)
    assert started.drift.net.network.has_polynomial
    fit = pyro_msde.fit(started, AmortizedGP(started), data, **UNTRAINED)
    unseen = waves(np.random.default_rng(8), num=2, steps=101)
    y0 = np.stack([v[0] for v in unseen.values])
    fc = fit.predict(y0, unseen.times[0], num_samples=64, max_step=0.01)
    # the diffusion has not been learned yet: 64 paths of its start leave a few per cent
    assert np.max(pyro_msde.nrmse(fc, unseen)) < 0.15
    assert not pod_sde(data, 4, width=5, start=False).drift.net.network.has_polynomial


def channels_around_a_solid(rng, **options):
    """Waves as two channels of unlike size on (5, 7) points, three of which have no field."""
    data = waves(rng, shape=(2, 5, 7), **options)
    values = np.stack(data.values) * np.array([1.0, 10.0], np.float32)[:, None, None]
    values[..., 1:4, 2] = np.nan
    return Trajectories(data.times, values, missing="mask", channel_names=("u", "v"))


def test_channels_weigh_alike_and_points_without_a_field_have_no_modes():
    data = channels_around_a_solid(np.random.default_rng(11))
    model = pod_sde(data, RANK, width=5, start=False, reference=None)
    assert model.grid.field_shape == (2, 5, 7)
    assert model.num_latent == RANK
    np.testing.assert_array_equal(model.grid.mask[:, 1:4, 2], False)
    assert model.grid.mask.sum() == 2 * 5 * 7 - 6
    y = torch.eye(70).unflatten(1, (2, 5, 7))
    operators = model.bind().operators
    projector = operators.prolong(operators.restrict(y)).flatten(1).numpy()
    values = np.concatenate(data.values)
    scaled = values / np.sqrt(np.nanmean(np.square(values), (0, 2, 3), keepdims=True))
    flat = np.nan_to_num(scaled).reshape(len(values), -1)
    basis = np.linalg.svd(flat, full_matrices=False)[2][:RANK].T
    assert_allclose(projector, basis @ basis.T, atol=1e-4)  # float32


def test_the_model_forecasts_channels_around_a_solid():
    train = channels_around_a_solid(np.random.default_rng(12), num=6, steps=51)
    model = pod_sde(train, 4, width=5, reference=None)
    fit = pyro_msde.fit(model, AmortizedGP(model), train, reference=None, **UNTRAINED)
    unseen = channels_around_a_solid(np.random.default_rng(13), num=2, steps=101)
    fc = fit.forecast(unseen, num_samples=64, max_step=0.01)
    assert fc.mean.shape == (2, 101, 2, 5, 7)
    np.testing.assert_array_equal(np.isnan(fc.mean.numpy()), np.isnan(np.stack(unseen.values)))
    assert np.max(pyro_msde.nrmse(fc, unseen)) < 0.15  # 64 paths of an untrained diffusion
    assert fc.latent.shape == (64, 2, 101, 4)
    assert fc.diverged.shape == (2,)


def test_a_snapshot_that_lacks_more_than_others_is_refused():
    data = channels_around_a_solid(np.random.default_rng(14))
    data.values[2][17, 1, 0, 0] = np.nan
    with pytest.raises(ValueError, match="snapshot at index 17 of trajectory 2 lacks values"):
        pod_sde(data, RANK, width=5, start=False)


def test_the_drift_takes_parameters_and_fields_may_have_two_axes():
    """Waves as fast as their parameter says, dz/dt = A(p) z: forecasts with another's are off."""
    train = waves(np.random.default_rng(9), num=9, shape=(5, 7), speeds=np.linspace(0.6, 1.4, 9))
    model = pod_sde(train, 4, width=5)
    fit = pyro_msde.fit(model, AmortizedGP(model), train, **UNTRAINED)
    unseen = waves(np.random.default_rng(10), num=2, steps=101, shape=(5, 7), speeds=[0.75, 1.25])
    y0 = np.stack([v[0] for v in unseen.values])
    own, other = (
        fit.predict(y0, unseen.times[0], covariates=p, max_step=0.01)
        for p in (unseen.covariates, unseen.covariates[::-1].copy())
    )
    assert own.mean.shape == (2, 101, 5, 7)
    assert np.max(pyro_msde.nrmse(own, unseen)) < 0.2
    assert np.min(pyro_msde.nrmse(other, unseen)) > 0.8
