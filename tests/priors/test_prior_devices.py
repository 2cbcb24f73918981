"""Priors go where their model goes: to the device "meta", which every machine has."""

from __future__ import annotations

import pytest
import torch
from problems import tiny_model
from pyro.distributions import (
    Categorical,
    HalfCauchy,
    LogNormal,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    Uniform,
)
from pyro.nn import PyroSample
from torch import nn

from pyro_msde.priors.bayesian_parts import Horseshoe, bayesian, fan_in_normal
from pyro_msde.priors.parts import Part

META = torch.device("meta")
LAWS = [
    Normal(torch.zeros(3), 1.0).to_event(1),
    LogNormal(0.5, 2.0).expand([3]).to_event(1),
    HalfCauchy(torch.ones(3)),
    Uniform(torch.zeros(3), 2.0).mask(torch.tensor([True, False, True])),
    MultivariateNormal(torch.zeros(3), torch.eye(3)),
    MixtureSameFamily(Categorical(torch.ones(2)), Normal(torch.tensor([0.0, 3.0]), 1.0)),
]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
def test_a_prior_of_any_kind_follows_its_part(law):
    part = Part(nn.Linear(2, 1))  # three parameters
    part.theta = PyroSample(law)
    part.to(META)
    moved = part._pyro_samples["theta"]
    assert type(moved) is type(law)
    assert moved.sample().device == META
    assert law.sample().device == torch.device("cpu")


def test_a_prior_that_stays_is_not_copied():
    part = Part(nn.Linear(2, 1))
    part.theta = PyroSample(LAWS[0])
    assert part.double()._pyro_samples["theta"] is LAWS[0]
    assert part.to("cpu")._pyro_samples["theta"] is LAWS[0]


def test_priors_follow_their_model():
    model = tiny_model(2)
    bayesian(model.drift, fan_in_normal(1.0))
    bayesian(model.diffusion, LogNormal(0.0, 1.0))
    model.to(META)
    laws = [p._pyro_samples["theta"] for p in (model.drift, model.diffusion)]
    assert {law.sample().device for law in laws} == {META}


def test_a_horseshoe_follows_its_model():
    model = tiny_model(0)
    names = set(model.state_dict())
    bayesian(model.drift, Horseshoe())
    model.to(META)
    assert model.drift.units.device == META
    assert set(model.state_dict()) == names  # weights are kept without them
    assert model.drift._pyro_samples["local_scales"].sample().device == META
