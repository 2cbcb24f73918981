"""The start beside microscale states, on waves whose dynamics are known."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from problems import same, snapshot

import pyro_msde
from pyro_msde.guides import AmortizedGP
from pyro_msde.inference.microscale_start import start_microscale
from pyro_msde.models import multiscale
from pyro_msde.priors import bayesian, fan_in_normal

SPEED, FAST = 3.0, 11.0  # phase rates of a wave that the coarse grid resolves and of one below it
TIMES = np.arange(401) * 0.01


def waves(count=3):
    """A long wave, and one four points long on a grid of 60 with 12 coarse points."""
    x = 2 * np.pi * np.arange(60) / 60
    rng = np.random.default_rng(0)
    values = []
    for _ in range(count):
        a, b = rng.uniform(0, 2 * np.pi, 2)
        long = np.cos(x - SPEED * TIMES[:, None] + a)
        values.append(long + 0.3 * np.cos(15 * x - FAST * TIMES[:, None] + b))
    return pyro_msde.Trajectories([TIMES] * count, values)


def trained(data, n_eta=2, **options):
    model = multiscale(60, 12, n_eta=n_eta, seed=0)
    guide = AmortizedGP(model, seed=0)
    quick = {"steps": 0, "progress": False, "jackknife": False, "reference": None}
    quick |= {"beta": 1.0, **options}
    return pyro_msde.fit(model, guide, data, **quick)


@pytest.fixture(scope="module")
def started():
    """Data, and a fit that has been started and not trained."""
    data = waves()
    return data, trained(data, warm_start=True)


def test_a_wave_below_the_coarse_spacing_is_forecast_before_training(started):
    data = started[0]
    fits = {False: trained(data, warm_start=False), True: deepcopy(started[1])}
    errors = {}
    for start, fit in fits.items():
        with torch.no_grad():  # variances are not started
            for p in (*fit.model.diffusion.parameters(), *fit.guide.node_variance.parameters()):
                p.fill_(-20.0)
        fc = fit.forecast(data.until(1.0), num_samples=2, max_step=0.02)
        errors[start] = float(np.mean(pyro_msde.nrmse(fc, data.until(1.0))))
    assert errors[True] < 0.03
    assert errors[False] > 0.5


def test_the_microscale_drift_turns_as_the_wave_does(started):
    fit = started[1]
    drift = deepcopy(fit.model.drift._modules["net"]).double()
    z = torch.zeros(1, 1, fit.model.num_latent, dtype=torch.float64)
    rates = torch.func.jacrev(lambda z: drift(z, torch.zeros(1, 1).double())[0, 0])(z)[:, 0, 0]
    micro = rates[-2:, -2:].detach().numpy()
    # time is scaled by the horizon of 4; regression errs by less than a percent
    np.testing.assert_allclose(np.linalg.eigvals(micro).imag, [FAST * 4, -FAST * 4], rtol=0.01)
    np.testing.assert_allclose(np.linalg.eigvals(micro).real, 0, atol=0.01 * FAST * 4)


def test_microscale_states_are_components_of_size_one(started):
    data, fit = started
    y = torch.tensor(data.values[0], dtype=torch.float32)[:, None] / float(fit.scaling.channels[0])
    operators = fit.model.bind().operators
    with torch.no_grad():
        eta = fit.guide.encoder(y - operators.smooth(y))
        detail = 0.5 * fit.model.decoder._modules["net"](eta)  # experts of equal precision
        left = detail + operators.prolong(operators.restrict(y)) - y
    assert torch.allclose(eta.square().mean(0), torch.ones(2), rtol=0.1)
    assert left.square().mean().sqrt() < 0.02 * y.square().mean().sqrt()


@pytest.mark.parametrize("warm_start", [True, False])
def test_of_a_large_macroscale_the_microscale_drift_sees_the_leading_components(warm_start):
    """Seven standing waves of different sizes, of which ψ begins with the largest five."""
    x = 2 * np.pi * (np.arange(528) + 0.5) / 528
    times, orders = np.linspace(0, 1, 41), np.arange(1, 8)
    turning = np.cos(2 * np.pi * orders * times[:, None] + orders)
    sizes = 0.6 ** orders[:, None]
    field = turning @ (sizes * np.cos(orders[:, None] * x))
    model = multiscale(528, 264, n_eta=1, width=8, seed=0)
    data = pyro_msde.Trajectories(times, field[None])
    options = {"steps": 0, "progress": False, "jackknife": False, "reference": None, "beta": 1.0}
    guide = AmortizedGP(model, seed=0)
    fit = pyro_msde.fit(model, guide, data, warm_start=warm_start, **options)
    psi = fit.model.drift.net.psi.weight.detach().numpy()
    y = torch.tensor(data.values[0], dtype=torch.float32)[:, None] / float(fit.scaling.channels[0])
    with torch.no_grad():
        zeta = fit.model.bind().operators.restrict(y).flatten(1).numpy()
    _, s, directions = np.linalg.svd(zeta, full_matrices=False)
    seen = directions[:5] / (s[0] / len(zeta) ** 0.5)
    found = np.linalg.norm(psi @ psi.T - seen @ seen.T) / np.linalg.norm(seen @ seen.T)
    along = np.linalg.norm(psi @ directions[:5].T) / np.linalg.norm(psi)
    if warm_start:
        assert found < 1e-3  # float32
        assert along > 0.999
    else:
        assert along < 0.5  # random: √(5/264) is expected


def test_noise_is_left_to_training():
    values = np.random.default_rng(1).standard_normal((2, 401, 60))
    data = pyro_msde.Trajectories([TIMES] * 2, values)
    assert same(
        snapshot(trained(data, warm_start=True).model),
        snapshot(trained(data, warm_start=False).model),
    )


def test_what_has_a_prior_or_was_trained_is_left_alone(started):
    model = multiscale(60, 12, n_eta=2, seed=0)
    bayesian(model.drift, fan_in_normal(1.0))
    assert not start_microscale(model, AmortizedGP(model, seed=0), None)
    fit = started[1]
    assert not start_microscale(fit.model, fit.guide, None)
