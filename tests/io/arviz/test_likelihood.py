"""Log likelihoods of snapshots against scipy, closed forms and matrix algebra."""

from __future__ import annotations

import numpy as np
import pytest
from linear_fits import SCALE, linear_fit, smoothed_moments
from oracles.tolerance import standard_errors
from problems import NUM_COARSE, NUM_POINTS, tiny_data
from scipy.stats import norm

from pyro_msde import Fit, Trajectories
from pyro_msde.guides import UnamortizedGP
from pyro_msde.io.arviz import to_arviz
from pyro_msde.runs import TrainingRecord

PROBES = np.array([0, 7, 29])
SEGMENT = (4, 0.3)  # of tiny_data's spacing of 0.05 every second


def test_the_guides_likelihood_has_the_mean_known_in_closed_form():
    """E log N(y; s H z, s² Σ) = log N(y; s H m, s² Σ) − ½ diag(H S Hᵀ)/Σ for z ~ N(m, S)."""
    linear = linear_fit(training=TrainingRecord(segment=SEGMENT))
    test = tiny_data((14,))
    at = {"dim_0": PROBES / NUM_POINTS}
    idata = to_arviz(linear.fit, test, num_samples=2000, times=14, probes=at, seed=3)
    found = idata.log_likelihood["u_probes"].values[0, :, 0]
    times, values = test.times[0], test.values[0].astype(float)
    allowed = standard_errors(14 * 3 + 14)
    # at stride 2 the fourteen snapshots are in six segments: by parity, from 0, 6 and the end
    segments = {0: [0, 2, 4], 1: [1, 3, 5], 6: [6, 8, 10, 12], 7: [7, 9, 11, 13]}
    for first, own in segments.items():
        nodes = first + 2 * np.arange(4)
        mean, var = smoothed_moments(linear, times, values, nodes, times[own])
        y = values[own]
        expected = norm.logpdf(y, SCALE * mean @ linear.H.T, SCALE * np.sqrt(linear.var))
        expected -= 0.5 * (var @ (linear.H**2).T) / linear.var
        draws = found[:, own]
        error = np.abs(draws.mean(0) - expected[:, PROBES])
        assert (error < allowed * draws.std(0) / 2000**0.5).all()
        whole = idata.log_likelihood["u"].values[0, :, 0][:, own]
        error = np.abs(whole.mean(0) - expected.sum(1))
        assert (error < allowed * whole.std(0) / 2000**0.5).all()


def test_a_forecasts_likelihood_is_that_of_its_latent_states():
    linear = linear_fit()
    test = tiny_data((6, 6), seed=2)
    at = {"dim_0": PROBES / NUM_POINTS}
    idata = to_arviz(linear.fit, test, num_samples=7, times=4, probes=at)
    zeta = idata.posterior_predictive["zeta"].values  # in the field's units
    y = np.stack([v[[0, 2, 3, 5]] for v in test.values]).astype(float)
    expected = norm.logpdf(y, zeta @ linear.H.T, SCALE * np.sqrt(linear.var))
    found = idata.log_likelihood
    assert found["u_forecast_probes"].dims == (
        "chain",
        "draw",
        "trajectory",
        "time",
        "dim_0_probe",
    )
    assert np.allclose(found["u_forecast_probes"], expected[..., PROBES], rtol=1e-9, atol=0)
    assert np.allclose(found["u_forecast"], expected.sum(-1), rtol=1e-9, atol=0)


@pytest.mark.filterwarnings("ignore:Estimated shape parameter")  # of 70 values some are hard
def test_leave_one_out_of_snapshots_asks_which_likelihood():
    import arviz

    linear = linear_fit(training=TrainingRecord(segment=SEGMENT))
    idata = to_arviz(linear.fit, tiny_data((14,)), num_samples=50, times=14)
    with pytest.raises(TypeError, match="var_name cannot be None"):
        arviz.loo(idata)
    loo = arviz.loo(idata, var_name="u_probes", pointwise=True)
    assert loo.n_data_points == 14 * NUM_COARSE


def test_padding_and_lone_snapshots_are_nan():
    linear = linear_fit(training=TrainingRecord(segment=SEGMENT))
    data = tiny_data((9, 14), irregular=True)
    test = Trajectories([*data.times, np.array([0.5])], [*data.values, data.values[0][:1]])
    found = to_arviz(linear.fit, test, num_samples=3, times=20).log_likelihood
    assert found["u_probes"].dims[2:] == ("trajectory", "snapshot", "dim_0_probe")
    known = np.isfinite(found["u"].values[0, 0])
    assert np.array_equal(known.sum(1), [9, 14, 0])
    assert np.isfinite(found["u_forecast"].values[0, 0]).sum(1).tolist() == [9, 14, 1]
    assert np.isnan(found["u_probes"].values[:, :, 0, 9:]).all()


def test_likelihoods_can_be_left_out_and_need_a_guide_of_new_data():
    linear = linear_fit()
    test = tiny_data((5,))
    without = to_arviz(linear.fit, test, num_samples=2, times=2, log_likelihood=False)
    assert "log_likelihood" not in without
    assert "sample_stats" not in without

    class Encoder:
        """A guide that only encodes."""

        theta = None
        encode = linear.fit.guide.encode

        def read_theta(self):
            return {}

    model = linear.fit.model
    # the second has marginals, of the trajectories alone that it was made for
    for guide in (Encoder(), UnamortizedGP(model, test).double()):
        fit = Fit(model, guide, linear.fit.scaling)
        idata = to_arviz(fit, test, num_samples=2, times=2)
        assert set(idata.log_likelihood.data_vars) == {"u_forecast", "u_forecast_probes"}
        assert "sample_stats" not in idata
        has_kernel = hasattr(guide, "time_kernel")
        assert ("time_kernel_lengthscale" in idata.posterior) == has_kernel
