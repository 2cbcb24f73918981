"""The ELBO's terms on test trajectories: by numerical integration, by scipy, in closed form."""

from __future__ import annotations

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from linear_fits import HORIZON, linear_fit, smoothed_moments
from named_fields import SCALE, named_data
from oracles.tolerance import standard_errors
from problems import NUM_COARSE, tiny_data, tiny_model
from pyro.infer.autoguide import AutoNormal
from scipy.integrate import simpson
from scipy.stats import lognorm, norm

from pyro_msde import Fit
from pyro_msde.data import Scaling
from pyro_msde.guides import AmortizedGP
from pyro_msde.io.arviz import to_arviz
from pyro_msde.io.arviz.elbo_terms import elbo_terms
from pyro_msde.io.arviz.parameters import Draws
from pyro_msde.priors import bayesian
from pyro_msde.runs import TrainingRecord

SEGMENT = (4, 0.3)  # of tiny_data's spacing of 0.05 every second


def test_the_elbos_residual_is_its_integral():
    """With γ = −z the residual is linear in z: ½∫ Σ [(ṁ + m)² + (1 − B)² s]/C dt, here by Simpson

    Pairs of opposite draws leave the noise of the squared draws alone; 8000 nodes make it small.
    """
    linear = linear_fit(training=TrainingRecord(segment=SEGMENT))
    test = tiny_data((14,))
    theta = linear.fit.model.bind({})
    nothing = (("chain", "draw", "trajectory", "time"), np.full((1, 1, 1, 2), -3.0), {})
    terms = elbo_terms(linear.fit, test, Draws([theta], [{}], 1), nothing, num_nodes=8000)
    times, values = test.times[0], test.values[0].astype(float)
    expected = 0.0
    for first, until in ((0, 6), (6, 12), (7, 13)):  # the last segment overlaps the one before
        nodes = first + 2 * np.arange(4)
        t = np.linspace(times[first], times[until], 4001)
        mean, var = smoothed_moments(linear, times, values, nodes, t)
        m_dot, s_dot = (np.gradient(x, t / HORIZON, axis=0, edge_order=2) for x in (mean, var))
        gain = 0.5 * (linear.C - s_dot) / var
        integrand = 0.5 * (((m_dot + mean) ** 2 + (1 - gain) ** 2 * var) / linear.C).sum(1)
        # each instant counts once: half in each of two segments
        twice = (t > times[7]) & (t < times[12]) if first else np.zeros_like(t, dtype=bool)
        expected += simpson(np.where(twice, 0.5, 1.0) * integrand, x=t / HORIZON)
    found = float(terms["drift_residual"][1].squeeze())
    assert found == pytest.approx(expected, rel=0.02)
    assert terms["kl_parameters"][1].tolist() == [[0.0]]
    assert terms["elbo"][1].squeeze() == pytest.approx(-6.0 - found)


def test_terms_of_a_model_with_a_prior():
    """q = N(m, s²) of log C against N(−2, ½²): the divergence of normals; log p by scipy."""
    model = tiny_model(0)
    bayesian(model.diffusion, dist.LogNormal(-2.0, 0.5))
    guide = AmortizedGP(model, theta=AutoNormal)
    guide.theta()  # makes its parameters
    rng = np.random.default_rng(2)
    m, s = rng.normal(-1.5, 0.3, NUM_COARSE), rng.uniform(0.1, 0.4, NUM_COARSE)
    # of the site's logarithm; PyroParams take constrained values
    guide.theta.locs.diffusion.theta = torch.as_tensor(m).float()
    guide.theta.scales.diffusion.theta = torch.as_tensor(s).float()
    fit = Fit(model, guide, Scaling((SCALE,), 80.0))
    idata = to_arviz(fit, named_data(2), num_samples=6, times=3, weights=True)
    stats = idata.sample_stats
    expected = (np.log(0.5 / s) + (s**2 + (m + 2) ** 2) / (2 * 0.25) - 0.5).sum()
    # AutoNormal's divergence is an average of log q/p over 64 draws
    u = m + s * rng.standard_normal((4000, NUM_COARSE))
    ratio = (norm.logpdf(u, m, s) - norm.logpdf(u, -2.0, 0.5)).sum(1)
    error = abs(stats["kl_parameters"].values - expected).max()
    assert error < standard_errors(1) * ratio.std() / 8
    assert len(np.unique(stats["kl_parameters"])) == 1
    theta = idata.posterior["diffusion.theta"].values
    log_p = lognorm.logpdf(theta, 0.5, scale=np.exp(-2.0)).sum(-1)
    assert np.allclose(idata.log_prior["diffusion.theta"], log_p, rtol=1e-5, atol=0)
    assert len(np.unique(stats["drift_residual"])) == 6
    total = stats["log_likelihood"] - stats["drift_residual"] - stats["kl_parameters"]
    assert np.allclose(stats["elbo"], total)
    likelihood = idata.log_likelihood["h"].sum(("trajectory", "time"))
    assert np.allclose(stats["log_likelihood"], likelihood)
    assert stats["elbo"].attrs["units"] == "nats"
