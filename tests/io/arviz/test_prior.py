"""Draws from the prior against scipy and against the law of an Ornstein–Uhlenbeck process."""

from __future__ import annotations

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from linear_fits import HORIZON, SCALE, Decay, linear_fit
from oracles.tolerance import standard_errors
from problems import NUM_COARSE, tiny_data, tiny_model
from scipy.stats import kstest, lognorm

from pyro_msde import Fit
from pyro_msde.data import Scaling
from pyro_msde.guides import AmortizedGP
from pyro_msde.io.arviz import to_arviz
from pyro_msde.priors import bayesian
from pyro_msde.scores import Calibration

OPTIONS = {"num_samples": 2, "log_likelihood": False}


def test_the_diffusion_is_drawn_from_its_prior():
    """Reported is s L √(1/T) scaled by the calibration, of which L² = C is log-normal."""
    model = tiny_model(0, drift=Decay())
    bayesian(model.diffusion, dist.LogNormal(-2.0, 0.5))
    scaling, scale = Scaling((SCALE,), HORIZON), Calibration(1.3)
    fit = Fit(model, AmortizedGP(model), scaling, adjustments=(scale,))
    idata = to_arviz(fit, tiny_data((3,)), prior=300, times=1, weights=True, **OPTIONS)
    assert idata.prior.sizes["draw"] == 300
    C = HORIZON * np.square(idata.prior["diffusion_sd_zeta"].values / (SCALE * 1.3))
    # 1500 independent numbers; at a p-value below 2e-5 the seed would be to blame
    assert kstest(C.ravel(), lognorm(0.5, scale=np.exp(-2.0)).cdf).pvalue > 2e-5
    assert np.allclose(idata.prior["diffusion.theta"], C, rtol=1e-5, atol=0)  # float32
    assert set(idata.prior.data_vars) == set(idata.posterior.data_vars)
    assert np.ptp(idata.prior["observation_sd"].values) == 0  # a part without a prior


def test_paths_of_the_prior_are_those_of_the_process_it_states():
    """dz = −z dt + a L dβ from N(0, 1): Var z = e^{−2t} + a² C/2 (1 − e^{−2t}), y = s (H z + e)."""
    linear, count = linear_fit(adjustments=(Calibration(1.5),)), 4000
    test = tiny_data((23,))  # over 1.1 of a horizon of 3
    idata = to_arviz(linear.fit, test, prior=count, times=3, **OPTIONS)
    pp = idata.prior_predictive
    allowed = standard_errors(3 * (NUM_COARSE + NUM_COARSE)) * (2 / count) ** 0.5
    zeta, u = pp["zeta"].values[0, :, 0], pp["u"].values[0, :, 0]
    for i, t in enumerate(pp["time"].values / HORIZON):
        fade = np.exp(-2 * t)
        var = fade + 1.5**2 * linear.C / 2 * (1 - fade)
        assert np.abs(np.square(zeta[:, i] / SCALE).mean(0) / var - 1).max() < allowed
        field = (linear.H[::6] ** 2 @ var) + linear.var[::6]
        assert np.abs(np.square(u[:, i] / SCALE).mean(0) / field - 1).max() < allowed
    assert pp.attrs["paths"] == count
    assert pp.attrs["paths_not_finite"] == 0
    assert pp["u"].dims == ("chain", "draw", "trajectory", "time", "dim_0_probe")


class Explosion(torch.nn.Module):
    """γ(z) = 3 z³: paths that begin far out are infinite soon."""

    def forward(self, z, t, covariates=None):
        return 3 * z**3


@pytest.mark.parametrize("sizes", [(23, 23), (23, 9)])
def test_what_is_not_finite_is_nan_and_counted(sizes):
    model = tiny_model(0, drift=Explosion(), initial_sd=0.35)
    fit = Fit(model, AmortizedGP(model), Scaling((SCALE,), HORIZON))
    pp = to_arviz(fit, tiny_data(sizes), prior=20, times=3, **OPTIONS).prior_predictive
    values = pp["zeta"].values[0]
    bad = np.isnan(values).any((2, 3))
    assert not np.isinf(pp["u"]).any()
    assert pp.attrs["paths"] == 40
    assert 0 < bad.sum() < 40
    assert pp.attrs["paths_not_finite"] == bad.sum()
    assert np.isfinite(values[:, :, 0]).all()


def test_the_prior_is_there_on_request_only_and_leaves_the_random_state_alone():
    linear, test = linear_fit(), tiny_data((5,))
    assert "prior" not in to_arviz(linear.fit, test, times=2, **OPTIONS)
    before = torch.get_rng_state()
    idata = to_arviz(linear.fit, test, times=2, prior=True, **OPTIONS)
    assert idata.prior_predictive.sizes["draw"] == 2
    again = to_arviz(linear.fit, test, times=2, prior=2, **OPTIONS)
    assert np.array_equal(idata.prior_predictive["u"], again.prior_predictive["u"])
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(ValueError, match="prior=-1: give a whole number"):
        to_arviz(linear.fit, test, prior=-1)


def test_trajectories_parameters_reach_the_priors_drift():
    class Rate(torch.nn.Module):
        """γ(z) = −k z, k the trajectory's parameter."""

        def forward(self, z, t, covariates=None):
            return -covariates[:, None, :1] * z

    model = tiny_model(0, drift=Rate(), num_covariates=1, initial_sd=10.0)
    fit = Fit(model, AmortizedGP(model), Scaling((SCALE,), HORIZON, (2.0,)))
    test = tiny_data((11, 11))
    test.covariates = np.array([[0.0], [60.0]])
    pp = to_arviz(fit, test, prior=30, times=2, **OPTIONS).prior_predictive
    ratio = np.abs(pp["zeta"][0, :, :, 1] / pp["zeta"][0, :, :, 0]).median(("draw", "dim_0_coarse"))
    # e^{−k t/2/3} with the parameter's scale 2 and t = ½ of a horizon of 3; noise √C = 0.3 of 10
    assert ratio[0] == pytest.approx(1.0, abs=0.1)
    assert ratio[1] < 0.1
