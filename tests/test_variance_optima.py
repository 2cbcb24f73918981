"""Closed-form optima against scans of the ELBO's own terms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import LENGTH, tiny_batch, tiny_data, tiny_model
from torch.distributions import kl_divergence

import pyro_msde
from pyro_msde.experts import ProductOfExperts
from pyro_msde.guides import AmortizedGP
from pyro_msde.parts import LogVariance
from pyro_msde.variance_optima import variance_optima

FACTORS = np.array([0.5, 0.9, 1.0, 1.1, 2.0])


@pytest.fixture(params=["each", "shared"])
def pair(request):
    """Model and guide in float64; C has a parameter for each state, or one for each scale."""
    model = tiny_model(2).double()
    if request.param == "shared":
        model.diffusion.net = LogVariance((2,), 0.1, repeats=[5, 2]).double()
    guide = AmortizedGP(model, heteroscedastic=True).double()
    with torch.no_grad():
        guide.deviation.network[-1].weight.normal_(0, 0.3, generator=torch.Generator())
    return model, guide


def test_the_drift_residual_is_least_at_the_diffusions_optimum(pair):
    """Each parameter by itself, the others where they are: the residual is a sum over states."""
    model, guide = pair
    batch = tiny_batch(3, dtype=torch.float64)
    torch.manual_seed(0)
    best = variance_optima(model, guide, [batch], num_nodes=4000)
    net = model.diffusion.net
    states = range(7) if net.index is None else (0, 5)
    for state in states:
        parameter = state if net.index is None else int(net.index[state])
        residuals = []
        before = net.log_value.detach().clone()
        for factor in FACTORS:
            with torch.no_grad():
                net.log_value[parameter] = (factor * best.diffusion_optimum[state]).log()
                torch.manual_seed(1)
                q = guide.path_marginals(batch, {})
                q.num_nodes, q.antithetic = 4000, True
                law = model.path_law(model.read_parameters({}), batch)
                residuals.append(float(kl_divergence(q, law).sum()))
                net.log_value.copy_(before)
        # near the optimum the residual rises with the square of the logarithm, by 0.5 % of its
        # curvature at 1.1; nodes are random, and 4000 of them move the optimum by less than that
        assert FACTORS[int(np.argmin(residuals))] == 1.0, (state, residuals)


def test_the_likelihood_is_largest_at_the_observations_optimum(pair):
    model, guide = pair
    batch = tiny_batch(3, dtype=torch.float64)
    with torch.no_grad():
        guide.node_variance.log_value.fill_(-40.0)  # draws are means
        guide.deviation.network[-1].weight.zero_()
        best = variance_optima(model, guide, [batch]).observation_optimum
        theta = model.read_parameters({})
        q = guide.path_marginals(batch, {})
        macro, detail = model.expert_means(theta, q.mean)
        total = theta.var_zeta * theta.var_eta / (theta.var_zeta + theta.var_eta)
        likelihoods = []
        for factor in FACTORS:
            k = factor * best / total  # both experts by the same factor: their share stays
            law = ProductOfExperts(
                macro, detail, k * theta.var_zeta, k * theta.var_eta,
                weight=batch.observation_weight,
            )  # fmt: skip
            likelihoods.append(float(law.log_prob(batch.values).sum()))
    assert FACTORS[int(np.argmax(likelihoods))] == 1.0


def test_gaps_are_mean_log_ratios_and_a_fit_reports_them():
    model = tiny_model(2)
    data = tiny_data()
    options = {"steps": 4, "length": LENGTH, "stride": 1, "progress": False}
    fit = pyro_msde.fit(model, AmortizedGP(model), data, **options)
    assert set(fit.history.variance_gaps) == {"diffusion", "observation"}
    assert all(np.isfinite(v) for v in fit.history.variance_gaps.values())
    torch.manual_seed(0)
    best = variance_optima(fit.model, fit.guide, [tiny_batch()])
    ratio = (best.observation / best.observation_optimum).log().mean()
    assert best.gaps["observation"] == pytest.approx(float(ratio.detach()), rel=1e-6)


def test_a_dense_covariance_has_no_closed_form():
    model = tiny_model(2)
    with pytest.raises(ValueError, match="guide: its covariance is not diagonal"):
        variance_optima(model, AmortizedGP(model, covariance="full"), [tiny_batch()])
    fit = pyro_msde.fit(
        model, AmortizedGP(model, covariance="full"), tiny_data(), steps=1, length=LENGTH,
        stride=1, progress=False,
    )  # fmt: skip
    assert fit.history.variance_gaps == {}
