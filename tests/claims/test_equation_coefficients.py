"""Coefficients of an equation as Pyro sites: guides and NUTS find the closed-form posterior."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyro
import pytest
import torch
from burgers_fields import NU, burgers
from pyro.distributions import Normal
from pyro.infer import MCMC, NUTS, SVI, Trace_ELBO
from pyro.infer.autoguide import AutoMultivariateNormal
from pyro.infer.autoguide.initialization import init_to_value
from scipy.stats import multivariate_normal, norm

import pyro_msde
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import EquationCoefficients, multiscale
from pyro_msde.priors import SpikeAndSlab, bayesian, initial_values

WIDE = 10.0


@pytest.fixture(scope="module")
def fit() -> Any:
    """Of Burgers' equation, identified."""
    train = burgers(8, 0)
    model = multiscale.like(train, coarse=48, boundary="periodic")
    return pyro_msde.fit(model, AmortizedGP(model), train, steps=2, progress=False)


def program(evidence: Any, prior: Any) -> tuple[EquationCoefficients, Any]:
    """The Pyro program, and where its guides start."""
    model = EquationCoefficients(evidence)
    bayesian(model.coefficients, prior)
    return model, init_to_value(values=initial_values(model.coefficients))


def sampled(model: EquationCoefficients, start: Any, count: int) -> Any:
    """Draws of θ, (draw, term)."""
    torch.manual_seed(0)
    kernel = NUTS(model, full_mass=True, init_strategy=start, max_tree_depth=8)
    sampler = MCMC(kernel, num_samples=count, warmup_steps=count, disable_progbar=True)
    sampler.run()
    return sampler.get_samples()["coefficients.theta"]


def test_the_posterior_holds_the_truth(fit: Any) -> None:
    """In closed form: coefficients within five of its standard deviations, as are the fit's."""
    evidence = fit.equation_evidence(burgers(8, 0))
    assert evidence.terms == ("u_xx", "(u^2)_x")
    posterior = evidence.posterior(WIDE)
    sd = np.sqrt(np.diag(posterior.covariance))
    assert (np.abs(posterior.mean - [NU, -0.5]) < 5 * sd).all()
    printed = list(fit.equation.coefficients["u"].values())
    assert posterior.mean == pytest.approx(printed, rel=1e-4)
    errors = list(fit.equation.sd["u"].values())
    assert sd == pytest.approx(errors, rel=1.0)  # standard errors from eight groups
    assert evidence.overlap >= 1


def test_the_likelihood_is_that_of_the_closed_form(fit: Any) -> None:
    """Differences of log densities over points are those of the Gaussian."""
    evidence = fit.equation_evidence(burgers(8, 0))
    model, _ = program(evidence, Normal(0.0, WIDE))
    posterior = evidence.posterior(WIDE)
    law = multivariate_normal(
        posterior.mean / evidence.sizes,
        posterior.covariance / np.outer(evidence.sizes, evidence.sizes),
    )
    rng = np.random.default_rng(0)
    points = posterior.mean / evidence.sizes + 1e-3 * rng.standard_normal((4, 2))
    ours = []
    for theta in points:
        conditioned = pyro.condition(model, {"coefficients.theta": torch.as_tensor(theta)})
        ours.append(float(pyro.poutine.trace(conditioned).get_trace().log_prob_sum()))
    assert np.diff(ours) == pytest.approx(np.diff(law.logpdf(points)), rel=1e-6)


@pytest.mark.slow
def test_a_guide_of_full_covariance_and_nuts_find_it(fit: Any) -> None:
    """Means within a fifth of a standard deviation, standard deviations within a quarter.

    Of 600 draws of NUTS the mean's standard error is .04 of a standard deviation if they are
    independent, and a standard deviation's .03: the tolerances are five and eight of these.
    """
    evidence = fit.equation_evidence(burgers(8, 0))
    posterior = evidence.posterior(WIDE)
    mean, sd = posterior.mean, np.sqrt(np.diag(posterior.covariance))
    model, start = program(evidence, Normal(0.0, WIDE))
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    guide = AutoMultivariateNormal(model, init_loc_fn=start, init_scale=1e-3)
    steps = 4000
    rates = pyro.optim.ClippedAdam({"lr": 0.05, "lrd": 1e-4 ** (1 / steps)})
    svi = SVI(model, guide, rates, Trace_ELBO(num_particles=4))
    for _ in range(steps):
        svi.step()
    q = guide.get_posterior()
    draws = sampled(model, start, 600)
    for found_mean, found_sd in (
        (q.mean, q.covariance_matrix.diag().sqrt()),
        (draws.mean(0), draws.std(0)),
    ):
        away = found_mean.detach().numpy() * evidence.sizes - mean
        assert (np.abs(away) < 0.2 * sd).all()
        assert found_sd.detach().numpy() * evidence.sizes == pytest.approx(sd, rel=0.25)


@pytest.mark.slow
def test_of_a_whole_library_spike_and_slab_keeps_the_terms_that_are_there(fit: Any) -> None:
    """Seventeen terms, two of which are sure, while the others are zero."""
    evidence = fit.equation_evidence(burgers(8, 0), library=True)
    prior = SpikeAndSlab(0.1, spike=1e-3, slab=3.0)
    model, start = program(evidence, prior)
    draws = sampled(model, start, 200)
    there = dict(zip(evidence.terms, prior.probability_of_slab(draws).mean(0), strict=True))
    assert len(there) == 17
    for term, probability in there.items():
        if term in ("u_xx", "(u^2)_x"):
            assert probability > 0.99
        else:
            assert probability < 0.05


def test_spike_and_slab_is_a_mixture_of_normals() -> None:
    """Density against scipy's, moments of draws, probability of the slab by Bayes' rule."""

    prior = SpikeAndSlab(0.3, spike=0.1, slab=2.0)
    x = np.linspace(-3, 3, 13)
    spike, slab = 0.7 * norm.pdf(x, scale=0.1), 0.3 * norm.pdf(x, scale=2.0)
    at = torch.as_tensor(x)
    assert prior.log_prob(at).exp().numpy() == pytest.approx(spike + slab, rel=1e-5)
    assert prior.probability_of_slab(at).numpy() == pytest.approx(slab / (spike + slab), rel=1e-4)
    torch.manual_seed(0)
    draws = prior.expand([3]).sample((20_000,))
    # its fourth moment is 3(.7 × .1⁴ + .3 × 2⁴) = 14.4: a relative standard error of .018
    assert draws.square().mean() == pytest.approx(0.7 * 0.01 + 0.3 * 4, rel=0.08)
    for wrong in ({"inclusion": 1.0}, {"spike": 3.0}, {"slab": -1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SpikeAndSlab(**{"inclusion": 0.3, "spike": 0.1, "slab": 2.0, **wrong})


def test_evidence_is_refused_where_there_is_none(fit: Any) -> None:
    """Another field; a fit without an equation."""
    with pytest.raises(ValueError, match="field='v': choose one of u"):
        fit.equation_evidence(burgers(2, 0), "v")
    train = burgers(2, 0)
    model = multiscale.like(train, coarse=48, boundary="periodic", equation=None)
    none = pyro_msde.fit(model, AmortizedGP(model), train, steps=1, progress=False)
    with pytest.raises(ValueError, match="fit: its drift has no equation"):
        none.equation_evidence(train)
