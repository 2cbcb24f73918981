"""Autoguides over θ: what is asked of them unless the user does."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from problems import LENGTH, tiny_batch, tiny_data, tiny_model
from pyro.distributions import LogNormal
from pyro.infer.autoguide import (
    AutoDiagonalNormal,
    AutoLowRankMultivariateNormal,
    AutoMultivariateNormal,
    AutoNormal,
)
from torch.testing import assert_close

import pyro_msde
from pyro_msde import MultiscaleELBO
from pyro_msde.guides import AmortizedGP
from pyro_msde.priors import bayesian, fan_in_normal


def guided(theta, part="drift"):
    model = tiny_model(0)
    law = LogNormal(-2.0, 1.0) if part == "diffusion" else fan_in_normal(1.0)
    bayesian(getattr(model, part), law)
    guide = AmortizedGP(model, theta=theta)
    MultiscaleELBO()(model, guide)(tiny_batch())
    return model, guide.theta


@pytest.mark.parametrize(("own", "expected"), [({}, 0.01), ({"init_scale": 0.2}, 0.2)])
@pytest.mark.parametrize("kind", [AutoNormal, AutoDiagonalNormal])
def test_widths_start_at_a_hundredth_unless_given(kind, own, expected):
    _, guide = guided(partial(kind, **own) if own else kind)
    scale = guide.scales.drift.theta if kind is AutoNormal else guide.scale
    assert_close(scale.detach(), torch.full_like(scale, expected))


@pytest.mark.parametrize(("own", "expected"), [({}, 8), ({"rank": 3}, 3)])
def test_low_rank_is_of_rank_eight_unless_given(own, expected):
    kind = AutoLowRankMultivariateNormal
    _, guide = guided(partial(kind, **own) if own else kind)
    assert guide.cov_factor.shape[1] == expected


def test_a_full_covariance_of_a_network_is_refused_and_of_a_diffusion_taken():
    model = tiny_model(0)
    with torch.no_grad():
        model.drift.net.macro = type(model.drift.net.macro)([3, 50, 50, 1], 3)
    bayesian(model.drift, fan_in_normal(1.0))
    with pytest.raises(ValueError, match=r"theta: AutoMultivariateNormal of \d+ parameters has"):
        AmortizedGP(model, theta=AutoMultivariateNormal)
    _, guide = guided(AutoMultivariateNormal, "diffusion")
    assert guide.scale_tril.shape == (5, 5)


def test_a_guide_made_before_the_prior_is_refused_by_the_sites_name():
    model = tiny_model(0)
    guide = AmortizedGP(model)
    bayesian(model.drift, fan_in_normal(1.0))
    with pytest.raises(ValueError, match=r"no site drift\.theta, which the model samples\. Make t"):
        pyro_msde.fit(model, guide, tiny_data(), steps=1, length=LENGTH, stride=1)


@pytest.mark.parametrize("theta", [None, "AutoNormal"])
def test_theta_has_to_be_a_class(theta):
    with pytest.raises(ValueError, match=r"theta=.*: pass an autoguide class"):
        guided(theta)


def test_a_guide_made_between_two_priors_is_refused_by_the_sites_name():
    model = tiny_model(0)
    bayesian(model.drift, fan_in_normal(1.0))
    guide = AmortizedGP(model)
    bayesian(model.diffusion, LogNormal(-2.0, 0.5))
    with pytest.raises(ValueError, match=r"guide: made before diffusion\.theta had a prior"):
        pyro_msde.fit(model, guide, tiny_data(), steps=1, length=LENGTH, stride=1)


def test_a_tempered_likelihood_weighs_the_parameters_too():
    model = tiny_model(0)
    bayesian(model.drift, fan_in_normal(1.0))
    guide = AmortizedGP(model)
    losses = []
    for weights in ({}, {"beta": 30.0}, {"beta": 30.0, "beta_parameters": 30.0}):
        elbo = MultiscaleELBO(**weights)
        torch.manual_seed(0)
        losses.append((elbo(model, guide)(tiny_batch()).item(), elbo.terms))
    terms = {k: float(v) for k, v in losses[0][1].items()}
    residual, kl = terms["drift_residual"], terms["kl_parameters"]
    assert losses[1][0] - losses[0][0] == pytest.approx(29 * residual, rel=1e-4)
    assert losses[2][0] - losses[1][0] == pytest.approx(29 * kl, rel=1e-4)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ({}, 30.0),
        ({"beta": 0.5}, 1.0),
        ({"beta": 7.0}, 7.0),
        ({"beta": 7.0, "beta_parameters": 2.0}, 2.0),
    ],
)
def test_training_weighs_the_parameters_as_it_tempers(weights, expected, monkeypatch):
    seen = []
    original = MultiscaleELBO.differentiable_loss

    def spied(self, *args, **kwargs):
        seen.append(self.beta_parameters)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(MultiscaleELBO, "differentiable_loss", spied)
    model = tiny_model(0)
    pyro_msde.fit(
        model,
        AmortizedGP(model),
        tiny_data(),
        steps=2,
        length=LENGTH,
        stride=1,
        **weights,
        progress=False,
    )
    assert seen[1:] == [expected] * 2
