"""Forecasts as ArviZ data: values against the forecast and the data, names, units, round trip."""

from __future__ import annotations

import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from arviz_groups import names_of, since_1
from named_fields import HORIZON, SCALE, X, named_data, untrained_fit
from problems import NUM_COARSE, NUM_POINTS

from pyro_msde import History
from pyro_msde.io.arviz import to_arviz
from pyro_msde.runs import TrainingRecord
from pyro_msde.scores import Calibration

CLOCK = 4.0 + 0.25 * np.arange(11)


def history() -> History:
    terms = ("log_likelihood", "drift_residual", "kl_parameters", "elbo")
    values = {name: [k + 0.5 * step for step in (0, 1, 2)] for k, name in enumerate(terms)}
    return History([50, 100, 150], values, [75, 150], [0.4, 0.2])


@pytest.fixture(scope="module")
def case():
    fit, test = (
        untrained_fit(training=TrainingRecord(history()), adjustments=(Calibration(1.5),)),
        named_data(3, CLOCK),
    )
    return fit, test, to_arviz(fit, test, num_samples=5, seed=7, times=6, probes={"s": [3.0, 7.43]})


def test_groups_have_the_axes_of_the_data(case):
    _, test, idata = case
    assert names_of(idata) == [
        "posterior",
        "posterior_predictive",
        "log_likelihood",
        "sample_stats",
        "observed_data",
        "constant_data",
        "training",
    ]
    pp, ahead = idata.posterior_predictive, ("chain", "draw", "trajectory", "time")
    assert pp["h"].dims == (*ahead, "s_probe")
    assert pp["zeta"].dims == (*ahead, "s_coarse")
    assert pp["eta"].dims == (*ahead, "microscale")
    for name in ("h_mean", "h_sd", "h_q05", "h_q95"):
        assert pp[name].dims == ("trajectory", "time", "s")
    assert dict(pp.sizes) == {
        "chain": 1,
        "draw": 5,
        "trajectory": 3,
        "time": 6,
        "s_probe": 2,
        "s_coarse": NUM_COARSE,
        "microscale": 2,
        "s": NUM_POINTS,
    }
    assert np.array_equal(pp["time"], test.times[0][::2])
    assert np.array_equal(pp["s"], X)
    assert np.array_equal(pp["s_probe"], X[[0, 22]])  # 7.4 is nearest to 7.43
    assert np.array_equal(pp["s_coarse"], X[::6])
    for name in ("h", "zeta", "h_mean", "h_sd", "h_q05"):
        assert pp[name].attrs["units"] == "m"
    assert (pp["s"].attrs["units"], pp["time"].attrs["units"]) == ("km", "day")
    assert pp["eta"].attrs["units"] == "1"


def test_values_are_those_of_the_forecast(case):
    fit, test, idata = case
    y0, times = np.stack([v[0] for v in test.values]), test.times[0][::2]
    fc = fit.predict(y0, times, num_samples=5, seed=7)
    pp = idata.posterior_predictive
    assert np.array_equal(pp["h_mean"], fc.mean)
    assert np.array_equal(pp["h_sd"], fc.sd)
    assert np.array_equal(pp["h_q05"], fc.quantile(0.05))
    assert np.array_equal(pp["h_q95"], fc.quantile(0.95))
    assert np.array_equal(pp["zeta"][0], fc.latent[..., :NUM_COARSE])
    assert np.array_equal(pp["eta"][0], fc.latent[..., NUM_COARSE:])
    draws = torch.cat([d for _, d in fc.chunks(seed=7)], dim=2)
    assert np.array_equal(pp["h"][0], draws[..., [0, 22]])


def test_observations_are_those_of_the_data(case):
    _, test, idata = case
    truth = np.stack(test.values)[:, ::2]
    assert set(idata.observed_data.data_vars) == {"h"}  # each has draws of the same name
    assert np.array_equal(idata.observed_data["h"], truth[..., [0, 22]])
    assert idata.observed_data["h"].dims == ("trajectory", "time", "s_probe")
    assert np.array_equal(idata.constant_data["h_field"], truth)
    assert idata.constant_data["h_field"].dims == ("trajectory", "time", "s")


def test_constants_and_their_lags(case):
    fit, _, idata = case
    constant = idata.constant_data
    assert float(constant["field_scale"]) == SCALE
    assert float(constant["time_scale"]) == HORIZON
    assert np.array_equal(constant["smoothing_kernel"], fit.model.kernel.net.weight[0].detach())
    # radius 1, six points a stride: 13 lags of 0.2 km around 0
    assert np.allclose(constant["s_lag"], 0.2 * np.arange(-6, 7), rtol=0, atol=1e-12)
    assert constant["s_lag"].attrs["units"] == "km"
    assert {"s", "s_coarse", "s_probe", "s_lag", "time"} <= set(constant.coords)


def test_diffusion_and_noise_are_in_the_data_units(case):
    """dζ/scale = √C dβ(t/T): over one day ζ gains scale √(C/T), and forecasts widen it."""
    fit, _, idata = case
    C = fit.model.diffusion.net().detach().double().numpy()
    expected = 1.5 * np.sqrt(C / HORIZON)
    post = idata.posterior
    macro, micro = post["diffusion_sd_zeta"], post["diffusion_sd_eta"]
    assert np.allclose(macro, SCALE * expected[:NUM_COARSE], rtol=1e-12, atol=0)  # rounding
    assert np.allclose(micro, expected[NUM_COARSE:], rtol=1e-12, atol=0)
    assert macro.attrs["units"] == "m day^-0.5"
    assert micro.attrs["units"] == "day^-0.5"
    # experts of variances 0.01 and 0.02; LogVariance adds 1e-10 in float32
    noise = post["observation_sd"]
    assert np.allclose(noise, SCALE * np.sqrt(0.01 * 0.02 / 0.03), rtol=1e-5, atol=0)
    assert noise.attrs["units"] == "m"
    assert noise.dims == ("chain", "draw")
    assert noise.shape == (1, 5)
    assert set(post.data_vars) == {
        "diffusion_sd_zeta",
        "diffusion_sd_eta",
        "observation_sd",
        "time_kernel_lengthscale",
    }


def test_history_is_a_group_of_its_own(case):
    idata = case[2]
    training = idata.training
    assert training["step"].values.tolist() == [50, 100, 150]
    assert training["drift_residual"].values.tolist() == [1.0, 1.5, 2.0]
    assert training["validation"].dims == ("validation_step",)
    assert training["validation"].values.tolist() == [0.4, 0.2]
    assert training["validation_step"].values.tolist() == [75, 150]


# arviz 0.23 under matplotlib 3.11
@pytest.mark.filterwarnings("ignore:Passing a dict or None as alias_mapping")
@pytest.mark.filterwarnings("ignore:Deleting a single level of a MultiIndex")  # ArviZ 1
def test_arviz_functions_take_it(case):
    import arviz

    idata = case[2]
    if since_1(arviz):
        arviz.plot_ppc_dist(idata, var_names=["h"], num_samples=5)
    else:
        arviz.plot_ppc(idata, random_seed=1)
    plt.close("all")
    assert arviz.extract(idata, group="posterior_predictive")["h"].sizes["sample"] == 5
    table = arviz.summary(idata, group="posterior_predictive", var_names=["eta"], kind="stats")
    assert len(table) == 3 * 6 * 2


def test_the_global_random_state_and_warnings_are_left_alone():
    fit, test = untrained_fit(0), named_data(1, CLOCK)
    before = torch.get_rng_state()
    filters = list(warnings.filters)
    to_arviz(fit, test, num_samples=2, times=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert warnings.filters == filters
