"""Rates of variances that have a prior."""

from __future__ import annotations

import pytest
from problems import tiny_batch, tiny_model
from pyro.distributions import LogNormal
from pyro.infer.autoguide import AutoDelta, AutoLowRankMultivariateNormal, AutoNormal

from pyro_msde import MultiscaleELBO, Recipe
from pyro_msde.guides import AmortizedGP
from pyro_msde.inference.optimiser import parameter_groups
from pyro_msde.priors import bayesian, fan_in_normal


@pytest.mark.parametrize(
    ("theta", "fast"),
    [
        (
            AutoNormal,
            {"locs.diffusion.theta_unconstrained", "scales.diffusion.theta_unconstrained"},
        ),
        (AutoDelta, {"diffusion.theta_unconstrained"}),
        (AutoLowRankMultivariateNormal, set()),  # one vector for all sites
    ],
)
def test_random_variances_keep_their_larger_steps(theta, fast):
    model = tiny_model(2)
    bayesian(model.drift, fan_in_normal(1.0))
    bayesian(model.diffusion, LogNormal(-2.0, 1.0))
    guide = AmortizedGP(model, theta=theta)
    MultiscaleELBO()(model, guide)(tiny_batch())
    groups = parameter_groups(model, guide, Recipe(variance_rate=7.0))
    rate = {id(p): g["factor"] for g in groups for p in g["params"]}
    named = dict(guide.theta.named_parameters())
    assert {name for name, p in named.items() if rate[id(p)] == 7.0} == fast
    every = [p for root in (model, guide) for p in root.parameters()]
    assert {id(p) for p in every} == set(rate)
    assert sum(len(g["params"]) for g in groups) == len(rate)
