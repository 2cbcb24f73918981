"""`check_guide` takes the library's own guides, and refuses what disagrees with itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import tiny_batch, tiny_data, tiny_grid, tiny_model
from pyro.distributions import LogNormal

from pyro_msde.guides import AmortizedGP, UnamortizedGP
from pyro_msde.priors import bayesian, fan_in_normal
from pyro_msde.sde import GaussianMarginals
from pyro_msde.testing import check_guide

KINDS = {
    "diagonal": {},
    "block": {"covariance": "block"},
    "full": {"covariance": "full"},
    "heteroscedastic": {"heteroscedastic": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_our_guides_pass(kind):
    model = tiny_model(2, grid=tiny_grid(channels=2), num_covariates=2)
    check_guide(model, AmortizedGP(model, **KINDS[kind]))


def test_a_guide_of_theta_passes_and_one_that_lacks_a_site_does_not():
    model = tiny_model(2)
    before = AmortizedGP(model)
    bayesian(model.drift, fan_in_normal(1.0))
    bayesian(model.diffusion, LogNormal(-3.0, 1.0))
    check_guide(model, AmortizedGP(model))
    with pytest.raises(AssertionError, match=r"has no site drift\.theta"):
        check_guide(model, before)


def test_a_guide_without_an_encoder_passes_on_its_own_data():
    model = tiny_model(2)
    guide = UnamortizedGP(model, tiny_data())
    with torch.no_grad():
        guide.node_means.add_(torch.as_tensor(np.random.default_rng(0).normal(size=(59, 7))))
    check_guide(model, guide, tiny_batch(3))


def marginals(guide, batch, bound):
    return AmortizedGP.path_marginals(guide, batch, bound)


class Still(AmortizedGP):
    def path_marginals(self, batch, bound):
        q = marginals(self, batch, bound)
        inner = q.moments
        moments = lambda at: inner(at)._replace(mean_dot=0 * inner(at).mean)  # noqa: E731
        return GaussianMarginals(q.times, moments, q.quadrature)


class Detached(AmortizedGP):
    def path_marginals(self, batch, bound):
        with torch.no_grad():
            return marginals(self, batch, bound)


class Flat(AmortizedGP):
    def encode(self, values, bound, covariates=None):
        mean, var = super().encode(values, bound, covariates)
        return mean[0], var[0]


class Exact(AmortizedGP):
    def path_marginals(self, batch, bound):
        q = marginals(self, batch, bound)
        q.rsample = lambda shape=(): q.mean.expand(*shape, *q.mean.shape).clone()
        return q


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Still, "mean_dot is not the derivative"),
        (Detached, "gradient"),
        (Flat, "encode: mean"),
        (Exact, "draws miss"),
    ],
)
def test_what_disagrees_is_refused(kind, words):
    model = tiny_model(2)
    with pytest.raises(AssertionError, match=words):
        check_guide(model, kind(model))


class Sure(AmortizedGP):
    """More certain where less was seen."""

    def encode(self, values, bound, covariates=None, observed=None):
        mean, var = super().encode(values, bound, covariates)
        return mean, var if observed is None else 0.5 * var


class Complete(AmortizedGP):
    """Made for complete snapshots."""

    def encode(self, values, bound, covariates=None):
        return super().encode(values, bound, covariates)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (Sure, "variance of fields with gaps is smaller"),
        (Complete, "Take `observed`, where fields"),
    ],
)
def test_guides_have_to_know_of_gaps(kind, message):
    model = tiny_model(2)
    with pytest.raises(AssertionError, match=message):
        check_guide(model, kind(model))
