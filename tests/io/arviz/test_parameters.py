"""Draws of θ as variables: the kernel's length scale in time, network weights on request."""

from __future__ import annotations

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from named_fields import HORIZON, SCALE, named_data, untrained_fit
from problems import tiny_pair
from pyro.infer.autoguide import AutoDelta
from scipy.stats import halfcauchy

from pyro_msde import Fit
from pyro_msde.data import Scaling
from pyro_msde.guides import AmortizedGP
from pyro_msde.guides.interpolation import DeepKernel
from pyro_msde.io.arviz import to_arviz
from pyro_msde.io.arviz.parameters import time_lengthscale
from pyro_msde.priors import Horseshoe, bayesian, fan_in_normal
from pyro_msde.runs import TrainingRecord

CLOCK = 4.0 + 0.25 * np.arange(11)


def bayesian_fit(**options) -> Fit:
    """Priors over the diffusion and the drift's weights; `options` go to the guide."""
    model, _ = tiny_pair(2)
    bayesian(model.diffusion, dist.LogNormal(-2.0, 0.5))
    bayesian(model.drift, fan_in_normal(0.3))
    return Fit(model, AmortizedGP(model, **options), Scaling((SCALE,), HORIZON))


def test_the_length_scale_of_a_squared_exponential_is_its_own():
    """h(t̂) = t̂, and t̂ runs from −1 to 1 over the segment."""
    kernel = DeepKernel(lengthscale=0.3)
    with torch.no_grad():
        kernel.network[-1].weight.zero_()
    assert time_lengthscale(kernel, 5.0) == pytest.approx(0.3 * 5.0 / 2, rel=1e-6)  # float32


def test_the_length_scale_of_a_warped_kernel_is_the_duration_over_its_length():
    """g = 4 t̂ + 3 t̂³ rises by 14 over the segment; to and fro counts both ways."""

    class Warped:
        def __init__(self, turning):
            self.turning = turning

        def features(self, t):
            slope = 4 + 9 * t**2
            return 4 * t + 3 * t**3, torch.where(t > 0, -slope, slope) if self.turning else slope

    for turning in (False, True):
        # trapezia of width 1/200: relative error 1/6 · 9/14 · (1/200)² · 2
        assert time_lengthscale(Warped(turning), 7.0) == pytest.approx(0.5, rel=1e-5)


def test_the_length_scale_is_in_the_datas_time():
    fit = untrained_fit(training=TrainingRecord(segment=(7, 3.0)))
    idata = to_arviz(fit, named_data(2, CLOCK), num_samples=3, times=3, log_likelihood=False)
    found = idata.posterior["time_kernel_lengthscale"]
    assert found.dims == ("chain", "draw")
    assert found.attrs["units"] == "day"
    assert np.allclose(found, time_lengthscale(fit.guide.time_kernel, 3.0), rtol=1e-12, atol=0)


def test_weights_are_there_on_request_and_are_those_of_the_forecast():
    fit, test = bayesian_fit(), named_data(2, CLOCK)
    y0 = np.stack([v[0] for v in test.values])
    fc = fit.predict(y0, test.times[0][[0, 10]], num_samples=4, num_theta=8, seed=3)
    plain, some, all_ = (
        to_arviz(fit, test, num_samples=4, times=2, seed=3, log_likelihood=False, weights=weights)
        for weights in (False, ["drift.theta"], True)
    )
    assert not {"drift.theta", "diffusion.theta"} & set(plain.posterior)
    assert "diffusion.theta" not in some.posterior
    found = all_.posterior["drift.theta"]
    assert found.dims == ("chain", "draw", "drift.theta_dim_0")
    expected = torch.stack([sites["drift.theta"] for sites in fc.sites])
    assert np.array_equal(found[0], expected)
    assert np.array_equal(found, some.posterior["drift.theta"])
    # the diffusion's site holds C itself, √(C/T) is what is reported
    C = all_.posterior["diffusion.theta"].values
    sd = np.concatenate(
        [all_.posterior["diffusion_sd_zeta"] / SCALE, all_.posterior["diffusion_sd_eta"]], -1
    )
    assert np.allclose(sd, np.sqrt((C + 1e-10) / HORIZON), rtol=1e-5, atol=0)  # float32


def test_scales_of_a_hierarchical_prior_are_sites_too():
    model, _ = tiny_pair(0)
    bayesian(model.drift, Horseshoe())
    fit = Fit(model, AmortizedGP(model), Scaling((SCALE,), HORIZON))
    idata = to_arviz(fit, named_data(2, CLOCK), num_samples=4, times=2, weights=True, prior=3)
    names = {f"drift.{name}" for name in ("theta", "global_scale", "local_scales", "slab")}
    for group in ("posterior", "prior", "log_prior"):
        assert names <= set(idata[group].data_vars), group
    assert idata.posterior["drift.global_scale"].dims == ("chain", "draw")
    tau = idata.posterior["drift.global_scale"]
    # half Cauchy of scale 0.1
    expected = halfcauchy.logpdf(tau, scale=0.1)
    assert np.allclose(idata.log_prior["drift.global_scale"], expected, rtol=1e-5, atol=0)


def test_a_point_estimate_has_constant_draws():
    fit = bayesian_fit(theta=AutoDelta)
    idata = to_arviz(fit, named_data(2, CLOCK), num_samples=4, times=2, weights=True)
    for name, values in idata.posterior.data_vars.items():
        assert np.array_equal(values, values.isel(draw=[0, 0, 0, 0])), name


def test_as_many_draws_of_theta_as_asked_for():
    options = {"num_samples": 12, "times": 1, "log_likelihood": False}
    for num_theta, distinct in ((8, 8), (12, 12), (3, 3)):
        idata = to_arviz(bayesian_fit(), named_data(2, CLOCK), num_theta=num_theta, **options)
        assert len(np.unique(idata.posterior["diffusion_sd_zeta"][0, :, 0])) == distinct


def test_unknown_sites_are_named():
    with pytest.raises(ValueError, match=r"weights: no sites \['decoder'\].*'drift.theta'"):
        to_arviz(bayesian_fit(), named_data(2, CLOCK), num_samples=2, times=2, weights=["decoder"])
    with pytest.raises(ValueError, match=r"weights: no sites.*have none"):
        to_arviz(untrained_fit(), named_data(2, CLOCK), num_samples=2, times=2, weights=["a"])
