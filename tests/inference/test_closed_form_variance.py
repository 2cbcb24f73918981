"""Closed-form optima against scans of the ELBO's own terms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import LENGTH, tiny_batch, tiny_data, tiny_model, tiny_segments
from pyro.distributions import LogNormal

import pyro_msde
from pyro_msde.data.segmentation import each_trajectory
from pyro_msde.guides import AmortizedGP
from pyro_msde.inference.closed_form_variance import (
    ObservationVarianceStep,
    has_observation_variances,
    variance_optima,
)
from pyro_msde.inference.finishing import encoded_segments
from pyro_msde.likelihoods import FieldNormal, WeightedFields, laplace
from pyro_msde.priors import LogVariance, bayesian

FACTORS = np.array([0.5, 0.9, 1.0, 1.1, 2.0])


@pytest.fixture
def pair():
    """Model and guide in float64."""
    model = tiny_model(2).double()
    guide = AmortizedGP(model, heteroscedastic=True).double()
    with torch.no_grad():
        guide.deviation.network[-1].weight.normal_(0, 0.3, generator=torch.Generator())
    return model, guide


def test_the_likelihood_is_largest_at_the_observations_optimum(pair):
    model, guide = pair
    batch = tiny_batch(3, dtype=torch.float64)
    with torch.no_grad():
        guide.node_variance.log_value.fill_(-40.0)  # draws are means
        guide.deviation.network[-1].weight.zero_()
        best = variance_optima(model, guide, [batch]).observation_optimum
        theta = model.bind({})
        q = guide.path_marginals(batch, theta)
        mean, likelihoods = theta.observe(q.mean).mean, []
        for factor in FACTORS:
            law = FieldNormal(mean, factor * best)
            law = WeightedFields(law, 2, weight=batch.observation_weight)
            likelihoods.append(float(law.log_prob(batch.values).sum()))
    assert FACTORS[int(np.argmax(likelihoods))] == 1.0


@torch.no_grad()
def log_likelihood(model, guide, segments, factor):
    """Of all segments along the mean path, each observation once, at a multiple of Σ_y."""
    theta, total = model.bind({}), 0.0
    for probability, batch in segments.in_order():
        law = theta.observe(guide.path_marginals(batch, theta).mean)
        law = FieldNormal(law.mean, factor * law.variance)
        law = WeightedFields(law, 2, weight=batch.observation_weight)
        total += probability * batch.num_segments * float(law.log_prob(batch.values).sum())
    return total


def close_observation_variances(model, guide, trajectories):
    step = ObservationVarianceStep(model)
    for part in encoded_segments(model, guide, trajectories):
        step.add(part)
    step.end()


@pytest.mark.parametrize("shared", [False, True])
def test_closing_puts_the_observations_variances_where_the_likelihood_is_largest(shared):
    model = tiny_model(2)
    if shared:  # by all points of the channel
        for part, value in ((model.var_zeta, 0.01), (model.var_eta, 0.03)):
            part.net = LogVariance((1, 1), value, broadcast=(1, 30))
    model = model.double()
    guide = AmortizedGP(model).double()
    with torch.no_grad():
        guide.node_variance.log_value.fill_(-40.0)  # draws are means
    before = model.bind({})
    segments = tiny_segments(tiny_data((20,)), dtype=torch.float64, starts="fixed")
    close_observation_variances(model, guide, [segments])
    after = model.bind({})
    # in the variance of all points together, and of each, where it has one
    rng = np.random.default_rng(0)
    each = torch.as_tensor(rng.uniform(0.8, 1.25, (1, 30)))
    best = log_likelihood(model, guide, segments, 1.0)
    others = [0.9, 1.1, *(() if shared else (each, 1 / each))]
    assert all(log_likelihood(model, guide, segments, f) < best for f in others)
    ratio = after.var_zeta / before.var_zeta
    assert abs(float(ratio.detach().log().mean())) > 0.1  # there was something to do
    torch.testing.assert_close(after.var_eta / before.var_eta, ratio, rtol=1e-6, atol=0)
    assert (float(ratio.detach().std()) < 1e-9) == shared


@pytest.mark.filterwarnings("ignore:log_value was not registered in the param store")
def test_variances_that_are_held_or_random_stay():
    held, random = tiny_model(2), tiny_model(2)
    held.var_eta.net.log_value.requires_grad_(False)
    bayesian(random.var_zeta, LogNormal(0.0, 1.0))
    for model in (held, random, tiny_model(2, likelihood=laplace)):
        assert not has_observation_variances(model)
    assert has_observation_variances(tiny_model(0))
    before = held.var_zeta.net.log_value.detach().clone()
    options = {"steps": 1, "length": LENGTH, "stride": 1, "progress": False, "learning_rate": 0.0}
    pyro_msde.fit(held, AmortizedGP(held), tiny_data(), **options)
    torch.testing.assert_close(held.var_zeta.net.log_value.detach(), before)


def test_no_segments_change_nothing():
    model = tiny_model(2)
    close_observation_variances(model, AmortizedGP(model), [])
    torch.testing.assert_close(model.var_zeta.net(), tiny_model(2).var_zeta.net())


def test_a_fit_ends_where_the_likelihood_is_largest(tmp_path):
    model, data = tiny_model(2), tiny_data()
    options = {"steps": 4, "length": LENGTH, "stride": 1, "progress": False}
    fit = pyro_msde.fit(model, AmortizedGP(model), data, checkpoint=tmp_path, **options)
    before = model.var_zeta.net().detach().clone()
    torch.manual_seed(1)
    close_observation_variances(model, fit.guide, each_trajectory(fit, data))
    # the draws of z are others
    assert abs(float((model.var_zeta.net() / before).detach().log().mean())) < 0.02
    again = tiny_model(2)
    pyro_msde.load(tmp_path, model=again, guide=AmortizedGP(again))
    torch.testing.assert_close(again.var_zeta.net(), model.var_zeta.net(), rtol=0.05, atol=0)


def test_gaps_are_mean_log_ratios_and_a_fit_reports_them():
    model = tiny_model(2)
    data = tiny_data()
    options = {"steps": 4, "length": LENGTH, "stride": 1, "progress": False}
    fit = pyro_msde.fit(model, AmortizedGP(model), data, **options)
    assert set(fit.history.variance_gaps) == {"observation"}
    assert all(np.isfinite(v) for v in fit.history.variance_gaps.values())
    torch.manual_seed(0)
    best = variance_optima(fit.model, fit.guide, [tiny_batch()])
    ratio = (best.observation / best.observation_optimum).log().mean()
    assert best.gaps["observation"] == pytest.approx(float(ratio.detach()), rel=1e-6)
