"""Networks whose last weights differ from point to point."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import pyro_msde
from pyro_msde.guides import AmortizedGP
from pyro_msde.inference.drift_jackknife import with_last_weights_changed
from pyro_msde.models import multiscale
from pyro_msde.networks import (
    MLP,
    LocalReadout,
    MultiscaleDrift,
    PolynomialMLP,
    VaryingReadout,
    false_claim,
    random_states,
    read_out,
)
from pyro_msde.protocols import LastLayer, SolvableLastLayer
from pyro_msde.testing import check_drift

pytestmark = pytest.mark.usefixtures("long_steps")

POINTS, INPUTS, OUTPUTS = 4, 5, 2
NETWORKS = {
    "mlp": lambda: MLP([INPUTS, 6, OUTPUTS]),
    "polynomial": lambda: PolynomialMLP([INPUTS, 6, OUTPUTS], rank=3),
    "no products": lambda: PolynomialMLP([INPUTS, 6, OUTPUTS], rank=0),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    torch.manual_seed(0)
    return NETWORKS[request.param]().double()


def inputs(*shape):
    return torch.randn(*shape, POINTS, INPUTS, dtype=torch.float64)


def test_it_starts_as_what_points_share(network):
    x = inputs(3, 2)
    assert_close(LocalReadout(network, POINTS).double()(x), network(x))


def test_each_point_has_its_own_weights(network):
    """Against one network for each point, with the others' features."""
    local, x = LocalReadout(network, POINTS).double(), inputs(3, 2)
    weights = torch.randn_like(local.readout())
    local.set_readout(weights)
    assert_close(local.readout(), weights)
    for j in range(POINTS):
        expected = network.features(x[..., j, :]) @ weights[j]
        assert_close(local(x)[..., j, :], expected)


@pytest.mark.parametrize("local", [False, True])
def test_weights_vary_with_inputs_as_polynomials(network, local):
    """Against one network for each row of inputs, with weights of its own."""
    inner = LocalReadout(network, POINTS).double() if local else network
    varying, x = VaryingReadout(inner, slice(2, 4)).double(), inputs(3)
    assert_close(varying(x), network(x))
    weights = torch.randn_like(varying.readout())
    varying.set_readout(weights)
    assert_close(varying.readout(), weights)
    parts = weights.unflatten(-2, (6, -1))  # of 1, r, s, r², rs, s²
    for i, j in np.ndindex(3, POINTS):
        r, s = x[i, j, 2], x[i, j, 3]
        W = parts[j] if local else parts
        own = W[0] + r * W[1] + s * W[2] + r**2 * W[3] + r * s * W[4] + s**2 * W[5]
        assert_close(varying(x)[i, j], network.features(x[i, j]) @ own)
    assert_close(varying(x), read_out(varying.features(x), weights))


def test_a_networks_weights_are_those_that_were_set(network):
    weights, x = torch.randn_like(network.readout()), inputs(3)
    network.set_readout(weights)
    assert_close(network.readout(), weights)
    assert_close(network(x), network.features(x) @ weights)


def local_model(n_eta=2, **options):
    model = multiscale(60, 12, n_eta=n_eta, width=8, local=True, seed=0, **options)
    with torch.no_grad():
        for name, weights in model.drift.named_parameters():
            if name.endswith(("local", "varying")):
                weights.normal_(0, 0.1)
    return model


def test_a_drift_with_them_is_what_it_says():
    model = local_model(num_covariates=1)
    drift = model.drift._modules["net"]
    assert {"LastLayer", "SolvableLastLayer"} <= set(
        check_drift(drift, model.num_latent, num_covariates=1)
    )


def test_a_drift_that_varies_is_what_it_says():
    model = local_model(num_covariates=2, varying=True)
    drift = model.drift._modules["net"]
    assert {"LastLayer", "SolvableLastLayer"} <= set(
        check_drift(drift, model.num_latent, num_covariates=2)
    )
    covariates = torch.tensor([[0.5, 2.0]])
    seen = drift.inputs(torch.randn(1, 1, model.num_latent), torch.zeros(1, 1), covariates)
    for name, network in drift.networks.items():
        taken = seen[name][..., network.inputs].flatten(0, -2)
        assert_close(taken, covariates.expand_as(taken))


def test_weights_that_are_not_set_are_told():
    model = local_model()
    drift = model.drift._modules["net"]
    states = random_states(model.num_latent, 0, torch.empty(0))
    assert false_claim(drift, SolvableLastLayer, *states) is None
    drift.__dict__["set_readout"] = lambda weights: None
    assert false_claim(drift, LastLayer, *states) is None
    assert "set_readout" in false_claim(drift, SolvableLastLayer, *states)


class Fixed(MLP):
    """A network whose last weights are told, and not to be set."""

    set_readout = None


def test_networks_whose_weights_cannot_be_set_offer_no_solution():
    model = multiscale(60, 12, width=8, seed=0)
    drift = model.drift._modules["net"]
    drift.macro = Fixed([drift.macro.linear.in_features, 8, 1])
    offered = check_drift(drift, model.num_latent)
    assert "LastLayer" in offered
    assert "SolvableLastLayer" not in offered


class OfItsOwn(MultiscaleDrift):
    """The general way, by its features."""


@pytest.mark.parametrize("kind", [MultiscaleDrift, OfItsOwn])
@pytest.mark.parametrize("varying", [False, True])
def test_the_jackknife_changes_what_points_share(varying, kind):
    """Weights W + W_j + d: what d adds is the features times d, at each point."""
    model = local_model(num_covariates=2, varying=varying)
    drift = model.drift._modules["net"]
    drift.__class__ = kind
    z, t, _ = random_states(model.num_latent, 0, torch.empty(0))
    covariates = torch.randn(len(z), 2)
    samples = torch.stack([z, -z])
    shapes = {name: W.shape[-2:] for name, W in drift.readout().items()}
    changes = {name: torch.randn(2, *shape) for name, shape in shapes.items()}
    features = drift.features(samples, t, covariates)
    added = {
        name: torch.stack([features[name][k] @ changes[name][k] for k in range(2)])
        for name in features
    }
    expected = drift(samples, t, covariates) + drift.joined(added)
    found = with_last_weights_changed(drift, changes)(samples, t, covariates)
    assert_close(found, expected, atol=1e-4, rtol=1e-4)


def waves(covariates=None):
    """Of a speed that differs from place to place."""
    t, x = np.linspace(0, 1, 30), 2 * np.pi * np.arange(60) / 60
    phase = x + 0.3 * np.sin(x)
    return pyro_msde.Trajectories(
        [t] * 3,
        [np.cos(phase - 4 * t[:, None] + a) for a in (0.0, 1.0, 2.0)],
        covariates=covariates,
    )


@pytest.mark.parametrize("varying", [pytest.param(False, marks=pytest.mark.slow), True])
def test_such_a_model_is_trained_saved_and_forecasts_with_a_jackknife(varying, tmp_path):
    options = {"varying": True, "num_covariates": 1} if varying else {}
    data = waves(covariates=[1.0, 2.0, 3.0] if varying else None)
    model = multiscale(60, 12, n_eta=1, width=8, local=True, seed=0, **options)
    fit = pyro_msde.fit(
        model,
        AmortizedGP(model, seed=0),
        data,
        steps=3,
        refine=True,
        length=8,
        stride=1,
        beta=1.0,
        progress=False,
    )
    assert next(a.name for a in fit.adjustments) == "jackknife"
    fit.save(tmp_path)
    loaded = pyro_msde.load(tmp_path)
    ask, data = {"num_samples": 2}, data[:1].until(0.04)
    np.testing.assert_array_equal(loaded.forecast(data, **ask).mean, fit.forecast(data, **ask).mean)


def test_growing_keeps_what_points_share():
    smaller, larger = local_model(1), local_model(2)
    before = larger.drift._modules["net"].macro.local.clone()
    larger.drift._modules["net"].grow_from(smaller.drift._modules["net"])
    macro, old = (m.drift._modules["net"].macro.network for m in (larger, smaller))
    assert_close(macro.linear.weight[:, : old.linear.in_features], old.linear.weight)
    assert_close(larger.drift._modules["net"].macro.local, before)


@pytest.mark.parametrize("name", ["local", "varying"])
@pytest.mark.parametrize("flag", [1, None, "yes"])
def test_flags_that_are_none(name, flag):
    with pytest.raises(ValueError, match=name):
        multiscale(60, 12, num_covariates=1, **{name: flag})


def test_weights_vary_with_covariates_only():
    with pytest.raises(ValueError, match="num_covariates"):
        multiscale(60, 12, varying=True)
