"""The regularised horseshoe against its formulas, as a site, and under guides."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import tiny_batch, tiny_model
from pyro import poutine
from pyro.infer.autoguide import AutoDelta, AutoLowRankMultivariateNormal, AutoNormal
from scipy.stats import halfcauchy, invgamma, norm
from torch import nn
from torch.testing import assert_close

from pyro_msde import MultiscaleELBO
from pyro_msde.guides import AmortizedGP
from pyro_msde.priors.bayesian_parts import Horseshoe, bayesian
from pyro_msde.priors.parts import LogVariance, Part

WEIGHTS, BIASES = 15, 3  # of a layer from 5 to 3
NAMES = ("global_scale", "local_scales", "slab", "theta")


@pytest.mark.parametrize("slab", [0.7, None])
def test_density_is_the_hierarchy_of_carvalho_and_of_piironen_and_vehtari(slab):
    prior = Horseshoe(global_scale=0.2, slab_scale=slab, slab_df=5.0)
    model = tiny_model(0, drift=nn.Linear(5, 3)).double()
    bayesian(model.drift, prior)
    rng = np.random.default_rng(0)
    tau, lam = 0.3, rng.uniform(0.2, 8, WEIGHTS + BIASES)
    c2, theta = 0.6, 0.2 * rng.standard_normal(WEIGHTS + BIASES)
    values = {"global_scale": tau, "local_scales": lam, "slab": c2, "theta": theta}
    names = [n for n in NAMES if slab is not None or n != "slab"]
    given = {f"drift.{n}": torch.as_tensor(np.asarray(values[n])) for n in names}
    trace = poutine.trace(poutine.condition(model.bind, data=given)).get_trace()
    trace.compute_log_prob()
    sites = [n for n, s in trace.nodes.items() if s["type"] == "sample"]
    assert sites == [f"drift.{n}" for n in names]
    units = np.concatenate([np.full(WEIGHTS, 1 / np.sqrt(5)), np.ones(BIASES)])
    # nn.Linear's state has the weight first
    shrunk = lam if slab is None else lam * np.sqrt(c2 / (c2 + tau**2 * lam**2))
    expected = {
        "global_scale": halfcauchy(scale=0.2).logpdf(tau),
        "local_scales": halfcauchy().logpdf(lam).sum(),
        "slab": invgamma(2.5, scale=2.5 * 0.7**2).logpdf(c2),
        "theta": norm(0, tau * shrunk * units).logpdf(theta).sum(),
    }
    for name in names:
        found = float(trace.nodes[f"drift.{name}"]["log_prob_sum"])
        assert_close(found, expected[name], rtol=1e-6, atol=0)


@pytest.mark.parametrize("theta", [AutoNormal, AutoDelta, AutoLowRankMultivariateNormal])
def test_any_autoguide_takes_it_and_starts_at_the_weights(theta):
    model, twin = tiny_model(2), tiny_model(2)
    bayesian(model.drift, Horseshoe())
    guide, elbo = AmortizedGP(model, theta=theta), MultiscaleELBO()
    elbo(model, guide)(tiny_batch()).backward()
    median = guide.theta.median()
    assert set(median) == {f"drift.{name}" for name in NAMES}
    own = torch.cat([p.detach().flatten() for p in twin.drift.net.state_dict().values()])
    assert_close(median["drift.theta"], own, rtol=1e-5, atol=1e-6)
    for name in NAMES[:-1]:
        assert (median[f"drift.{name}"] > 0).all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in guide.theta.parameters())


def test_variances_refuse_it():
    part = Part(LogVariance((3,), 0.1))
    with pytest.raises(ValueError, match="Horseshoe has support below zero"):
        bayesian(part, Horseshoe())
    assert not part.is_random


@pytest.mark.parametrize("name", ["global_scale", "slab_scale", "slab_df"])
def test_numbers_that_are_not_positive_are_named(name):
    with pytest.raises(ValueError, match=f"{name}=-1.0: give a number above 0"):
        Horseshoe(**{name: -1.0})
