"""Priors go where their model goes: to the device "meta", which every machine has."""

from __future__ import annotations

import copy
import pickle

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
from torch import nn
from torch.testing import assert_close

from pyro_msde.priors.bayesian_parts import Horseshoe, bayesian, fan_in_normal
from pyro_msde.priors.laws import add_site
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


def law_of(part, name="theta"):
    """The distribution of a part's site as Pyro asks for it."""
    return part._pyro_samples[name](part)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
def test_a_prior_of_any_kind_follows_its_part(law):
    part = Part(nn.Linear(2, 1))  # three parameters
    add_site(part, "theta", law)
    part.to(META)
    moved = law_of(part)
    assert type(moved) is type(law)
    assert moved.sample().device == META
    assert law.sample().device == torch.device("cpu")


@pytest.mark.parametrize("law", LAWS, ids=lambda law: type(law).__name__)
def test_it_stays_the_same_law(law):
    """Density and draws, in float64 too, where the numbers it is made of are float32's."""
    part = Part(nn.Linear(2, 1))
    add_site(part, "theta", law)
    part = copy.deepcopy(pickle.loads(pickle.dumps(part)))
    torch.manual_seed(0)
    draw = law.sample((5,))
    torch.manual_seed(0)
    assert torch.equal(law_of(part).sample((5,)), draw)
    assert torch.equal(law_of(part).log_prob(draw), law.log_prob(draw))
    wide = law_of(part.double())
    assert wide.sample().dtype == torch.float64
    assert_close(wide.log_prob(draw.double()), law.log_prob(draw).double(), rtol=1e-5, atol=1e-5)
    assert not [name for name in part.state_dict() if "law" in name]


def test_priors_follow_their_model():
    model = tiny_model(2)
    bayesian(model.drift, fan_in_normal(1.0))
    bayesian(model.diffusion, LogNormal(0.0, 1.0))
    model.to(META)
    laws = [law_of(p) for p in (model.drift, model.diffusion)]
    assert {law.sample().device for law in laws} == {META}


def test_a_horseshoe_follows_its_model():
    model = tiny_model(0)
    names = set(model.state_dict())
    bayesian(model.drift, Horseshoe())
    model.to(META)
    assert model.drift.units.device == META
    assert set(model.state_dict()) == names  # weights are kept without them
    assert law_of(model.drift, "local_scales").sample().device == META
