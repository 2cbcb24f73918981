"""Priors on parts of a model."""

from __future__ import annotations

import pytest
import torch
from problems import tiny_batch, tiny_model
from pyro import poutine
from pyro.distributions import (
    Exponential,
    Gamma,
    HalfNormal,
    InverseGamma,
    LogNormal,
    MultivariateNormal,
    Normal,
    Poisson,
    StudentT,
    Uniform,
)
from torch import nn
from torch.nn.utils import parameters_to_vector
from torch.testing import assert_close

from pyro_msde import MultiscaleELBO
from pyro_msde.guides import AmortizedGP
from pyro_msde.priors.bayesian_parts import bayesian, fan_in_normal, initial_values
from pyro_msde.priors.parts import LogVariance, Part

PARTS = ("kernel", "drift", "diffusion", "var_zeta", "decoder", "var_eta")
POSITIVE = {"diffusion", "var_zeta", "var_eta"}


def test_fan_in_scales_weights_and_not_biases():
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2, bias=False), nn.Conv1d(2, 5, 7))
    law = fan_in_normal(0.6)(net)
    sds = [0.3] * 12 + [0.6] * 3 + [0.6 / 3**0.5] * 6 + [0.6 / 14**0.5] * 70 + [0.6] * 5
    assert law.event_shape == (96,)
    assert_close(law.base_dist.scale, torch.tensor(sds))
    assert_close(law.base_dist.loc, torch.zeros(96))


def test_fan_in_takes_the_networks_dtype(dtype):
    assert fan_in_normal(1.0)(nn.Linear(2, 3).to(dtype)).sample().dtype == dtype


@pytest.mark.parametrize("name", PARTS)
def test_any_part_takes_a_prior_and_keeps_its_values(name):
    model, twin = tiny_model(2), tiny_model(2)
    part = getattr(model, name)
    law = LogNormal(0.0, 1.0) if name in POSITIVE else fan_in_normal(1.0)
    assert bayesian(part, law) is part
    assert not list(part.parameters())
    own = parameters_to_vector(getattr(twin, name).parameters()).detach()
    expected = own.exp() if name in POSITIVE else own
    assert_close(initial_values(part), {f"{name}.theta": expected}, rtol=1e-6, atol=0)
    guide, elbo = AmortizedGP(model), MultiscaleELBO()
    elbo(model, guide)(tiny_batch()).backward()
    assert elbo.terms["kl_parameters"] != 0
    assert [p for p in guide.theta.parameters() if p.grad is not None]


@pytest.mark.parametrize("prior", ["scalar", "vector", "function"])
def test_priors_in_all_forms_give_one_site(prior):
    model = tiny_model(0)
    count = len(parameters_to_vector(model.drift.parameters()))
    laws = {
        "scalar": StudentT(3.0),
        "vector": MultivariateNormal(torch.zeros(count), torch.eye(count)),
        "function": lambda net: Normal(torch.zeros(count), 1.0).to_event(1),
    }
    bayesian(model.drift, laws[prior])
    site = poutine.trace(model.bind).get_trace().nodes["drift.theta"]
    assert site["fn"].event_shape == (count,)
    assert site["fn"].batch_shape == ()


@pytest.mark.parametrize(
    "law",
    [
        LogNormal(0.0, 1.0),
        InverseGamma(2.0, 1.0),
        Gamma(2.0, 1.0),
        HalfNormal(1.0),
        Exponential(1.0),
        Uniform(1e-4, 1.0),
    ],
)
def test_variances_take_any_positive_prior(law):
    model = tiny_model(0)
    bayesian(model.diffusion, law)
    guide = AmortizedGP(model)
    assert MultiscaleELBO()(model, guide)(tiny_batch()).isfinite()
    assert_close(guide.theta.median()["diffusion.theta"], torch.full((5,), 0.1))


@pytest.mark.parametrize("law", [Normal(0.0, 1.0), Normal(5.0, 0.1), Uniform(-0.5, 1.0)])
def test_variances_refuse_a_prior_below_zero(law):
    part = Part(LogVariance((3,), 0.1))
    with pytest.raises(ValueError, match=f"{type(law).__name__} has support below zero"):
        bayesian(part, law)
    assert not part.is_random
    assert list(part.parameters())


def test_a_prior_draws_nothing():
    before = torch.get_rng_state()
    bayesian(tiny_model(0).diffusion, LogNormal(0.0, 1.0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("shape", "message"),
    [((4,), r"event shape \(4,\), batch shape \(\) for 7 parameters"), ((), "batch shape")],
)
def test_priors_of_other_shapes_are_refused(shape, message):
    law = Normal(torch.zeros(4), 1.0).to_event(len(shape))
    with pytest.raises(ValueError, match=message):
        bayesian(Part(nn.Linear(6, 1)), law)


@pytest.mark.parametrize("law", [0.1, LogNormal, fan_in_normal, torch.distributions.Normal(0, 1)])
def test_what_is_no_distribution_is_refused(law):
    with pytest.raises((ValueError, TypeError), match=r"prior: .* is no Pyro distribution"):
        bayesian(Part(nn.Linear(6, 1)), law)


@pytest.mark.parametrize(
    ("part", "law"),
    [
        ("drift", LogNormal(0.0, 1.0)),
        ("diffusion", Uniform(1.0, 2.0)),
        ("diffusion", Uniform(-5.0, -2.0)),
        ("drift", Poisson(2.0)),
    ],
)
def test_priors_without_room_for_the_start_are_refused(part, law):
    with pytest.raises(ValueError, match=r"prior: .*(no room for the part's values|below zero)"):
        bayesian(getattr(tiny_model(2), part), law)


def test_only_parts_and_only_once():
    model = tiny_model(0)
    with pytest.raises(ValueError, match=r"got MultiscaleDrift\. Pass a part"):
        bayesian(model.drift.net, Normal(0.0, 1.0))
    bayesian(model.drift, Normal(0.0, 1.0))
    with pytest.raises(ValueError, match="has a prior already"):
        bayesian(model.drift, Normal(0.0, 1.0))
