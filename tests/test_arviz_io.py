"""Forecasts as ArviZ data: values against the forecast and the data, names, units, round trip."""

from __future__ import annotations

import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pyro.distributions as dist
import pytest
import torch
import xarray as xr
from problems import (
    NUM_COARSE,
    NUM_POINTS,
    tiny_data,
    tiny_fields,
    tiny_grid,
    tiny_model,
    tiny_pair,
)

from pyro_msde import Fit, Grid, History, Trajectories
from pyro_msde.arviz_io import kernel_draws, to_arviz
from pyro_msde.guides import AmortizedGP
from pyro_msde.priors import bayesian
from pyro_msde.scaling import Scaling

X = 3.0 + 0.2 * np.arange(NUM_POINTS)
AXES = {"name": "h", "dims": ("s",), "coords": {"s": X}}
HORIZON = 80.0  # many times the data's, so that forecasts take few steps
UNITS = {"h": "m", "s": "km", "time": "day"}


def history() -> History:
    terms = ("log_likelihood", "drift_residual", "kl_parameters", "elbo")
    values = {name: [k + 0.5 * step for step in (0, 1, 2)] for k, name in enumerate(terms)}
    return History([50, 100, 150], values, [75, 150], [0.4, 0.2])


def make_fit(n_eta: int = 2, **options) -> Fit:
    model, guide = tiny_pair(n_eta)
    return Fit(model, guide, Scaling((1.7,), HORIZON), history(), **options)


def common(count: int = 3, size: int = 11) -> Trajectories:
    rng = np.random.default_rng(4)
    times = 4.0 + 0.25 * np.arange(size)
    values = [tiny_fields(times - 4, rng).astype(np.float32) for _ in range(count)]
    return Trajectories(times, values, units=UNITS, **AXES)


@pytest.fixture(scope="module")
def case():
    fit, test = make_fit(diffusion_scale=1.5), common()
    return fit, test, to_arviz(fit, test, num_samples=5, seed=7, times=6, probes={"s": [3.0, 7.43]})


def test_groups_have_the_axes_of_the_data(case):
    _, test, idata = case
    assert idata.groups() == [
        "posterior", "posterior_predictive", "observed_data", "constant_data", "training",
    ]  # fmt: skip
    pp, ahead = idata.posterior_predictive, ("chain", "draw", "trajectory", "time")
    assert pp["h"].dims == (*ahead, "s_probe")
    assert pp["zeta"].dims == (*ahead, "s_coarse")
    assert pp["eta"].dims == (*ahead, "microscale")
    for name in ("h_mean", "h_sd", "h_q05", "h_q95"):
        assert pp[name].dims == ("trajectory", "time", "s")
    assert dict(pp.sizes) == {
        "chain": 1, "draw": 5, "trajectory": 3, "time": 6, "s_probe": 2, "s_coarse": NUM_COARSE,
        "microscale": 2, "s": NUM_POINTS,
    }  # fmt: skip
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
    assert float(constant["field_scale"]) == 1.7
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
    assert np.allclose(macro, 1.7 * expected[:NUM_COARSE], rtol=1e-12, atol=0)  # rounding
    assert np.allclose(micro, expected[NUM_COARSE:], rtol=1e-12, atol=0)
    assert macro.attrs["units"] == "m day^-0.5"
    assert micro.attrs["units"] == "day^-0.5"
    # experts of variances 0.01 and 0.02; LogVariance adds 1e-10 in float32
    noise = post["observation_sd"]
    assert np.allclose(noise, 1.7 * np.sqrt(0.01 * 0.02 / 0.03), rtol=1e-5, atol=0)
    assert noise.attrs["units"] == "m"
    assert noise.dims == ("chain", "draw")
    assert noise.shape == (1, 5)
    assert set(post.data_vars) == {"diffusion_sd_zeta", "diffusion_sd_eta", "observation_sd"}


def test_history_is_a_group_of_its_own(case):
    idata = case[2]
    training = idata.training
    assert training["step"].values.tolist() == [50, 100, 150]
    assert training["drift_residual"].values.tolist() == [1.0, 1.5, 2.0]
    assert training["validation"].dims == ("validation_step",)
    assert training["validation"].values.tolist() == [0.4, 0.2]
    assert training["validation_step"].values.tolist() == [75, 150]


def test_netcdf_round_trip(case, tmp_path):
    import arviz

    idata = case[2]
    path = str(tmp_path / "forecast.nc")
    idata.to_netcdf(path)
    back = arviz.from_netcdf(path)
    assert back.groups() == idata.groups()
    for group in idata.groups():
        xr.testing.assert_identical(back[group].load(), idata[group])


# arviz 0.23 under matplotlib 3.11
@pytest.mark.filterwarnings("ignore:Passing a dict or None as alias_mapping")
def test_arviz_functions_take_it(case):
    import arviz

    idata = case[2]
    ax = arviz.plot_ppc(idata, random_seed=1)
    ax.figure.clear()
    assert arviz.extract(idata, group="posterior_predictive")["h"].sizes["sample"] == 5
    table = arviz.summary(idata.posterior_predictive, var_names=["eta"], kind="stats")
    assert len(table) == 3 * 6 * 2


def test_datatree_where_arviz_has_no_inference_data(case, monkeypatch, tmp_path):
    fit, test, idata = case
    monkeypatch.setitem(sys.modules, "arviz", SimpleNamespace(__version__="1.0"))
    options = {"num_samples": 5, "seed": 7, "times": 6, "probes": {"s": [3.0, 7.43]}}
    tree = to_arviz(fit, test, **options)
    assert isinstance(tree, xr.DataTree)
    assert list(tree.children) == idata.groups()
    for group in idata.groups():
        xr.testing.assert_identical(tree[group].to_dataset(), idata[group])
    tree.to_netcdf(tmp_path / "tree.nc")
    with xr.open_datatree(tmp_path / "tree.nc") as back:
        xr.testing.assert_identical(back.load(), tree)


def test_trajectories_with_times_of_their_own_are_padded():
    fit = make_fit()
    test = tiny_data((7, 11, 5), irregular=True)
    idata = fit.to_arviz(test, num_samples=3, seed=2, times=9)
    pp = idata.posterior_predictive
    assert pp["u"].dims == ("chain", "draw", "trajectory", "snapshot", "dim_0_probe")
    assert pp["time"].dims == ("trajectory", "snapshot")
    index = np.array([0, 1, 2, 4, 5, 6, 8, 9, 10])  # nine of eleven; the halves go to even
    assert pp.sizes["snapshot"] == 9
    assert np.array_equal(pp["time"][1], test.times[1][index])
    assert np.array_equal(pp["time"][0, :7], test.times[0])
    for k, times in enumerate((test.times[0], test.times[1][index], test.times[2])):
        n = len(times)
        fc = fit.predict(test.values[k][0], times, num_samples=3, seed=2 + k)
        # one field at a time or a batch of one: the same draws, up to float32's rounding
        assert np.allclose(pp["u_mean"][k, :n], fc.mean, rtol=1e-5, atol=1e-5)
        assert np.allclose(pp["zeta"][0, :, k, :n], fc.latent[..., :5], rtol=1e-5, atol=1e-5)
        for name, axis in (("u_mean", 1), ("u", 3), ("zeta", 3), ("eta", 3), ("time", 1)):
            padding = pp[name].isel(trajectory=k, snapshot=slice(n, None))
            assert np.isnan(padding).all(), (name, axis)
    assert np.isnan(idata.observed_data["u"][2, 5:]).all()


def test_channels_keep_their_axis_and_units():
    grid = tiny_grid(channels=2)
    model, guide = tiny_pair(0, grid=grid)
    rng = np.random.default_rng(1)
    times = np.linspace(0, 1, 7)
    fields = [[tiny_fields(times, rng) for _ in range(2)] for _ in range(3)]
    values = np.stack(fields).swapaxes(1, 2)
    test = Trajectories(
        times, values, name="q", dims=("species", "x"), coords={"species": ["prey", "predator"]}
    )
    fit = Fit(model, guide, Scaling((2.0, 5.0), HORIZON), has_channel=True)
    idata = to_arviz(fit, test, num_samples=4, times=[0.0, 0.52])
    pp = idata.posterior_predictive
    assert pp["q"].dims[-2:] == ("species", "x_probe")
    assert pp["zeta"].dims[-2:] == ("species", "x_coarse")
    assert "eta" not in pp
    assert "training" not in idata.groups()
    assert pp["species"].values.tolist() == ["prey", "predator"]
    assert np.array_equal(pp["x"], grid.coordinates[0])
    assert np.array_equal(pp["time"], times[[0, 3]])
    assert np.array_equal(idata.constant_data["q_field"], values[:, [0, 3]])
    noise = idata.posterior["observation_sd"]
    assert noise.dims == ("chain", "draw", "species")
    assert np.allclose(noise[0, 0], [0.2, 0.5], rtol=1e-5, atol=0)
    assert idata.posterior["diffusion_sd_zeta"].sizes["species"] == 2
    sd = idata.posterior["diffusion_sd_zeta"][0, 0]
    assert np.allclose(sd, np.sqrt(0.1 / HORIZON) * np.array([[2.0], [5.0]]), rtol=1e-5, atol=0)
    assert "units" not in noise.attrs


def test_draws_of_theta_are_those_of_the_predictive_draws():
    model, _ = tiny_pair(2)
    bayesian(model.diffusion, dist.LogNormal(-2.0, 0.5))
    guide = AmortizedGP(model)
    fit = Fit(model, guide, Scaling((1.7,), HORIZON))
    test = common(2)
    idata = to_arviz(fit, test, num_samples=16, times=3)  # of 8 θ, two paths each
    sd = idata.posterior["diffusion_sd_zeta"].values[0]
    assert np.array_equal(sd[0::2], sd[1::2])
    assert len(np.unique(sd[::2, 0])) == 8
    assert len(kernel_draws(fit)) == 1


def test_parameters_of_trajectories_are_kept():
    test = common(2)
    test.parameters = np.array([[0.5, 7.0], [1.5, 8.0]])
    model, guide = tiny_pair(2, num_parameters=2)
    idata = to_arviz(Fit(model, guide, Scaling((1.0,), HORIZON)), test, num_samples=2, times=2)
    assert idata.constant_data["parameter_1"].values.tolist() == [7.0, 8.0]
    assert idata.constant_data["parameter_0"].dims == ("trajectory",)


def test_the_global_random_state_and_warnings_are_left_alone():
    fit, test = make_fit(0), common(1)
    before = torch.get_rng_state()
    filters = list(warnings.filters)
    to_arviz(fit, test, num_samples=2, times=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert warnings.filters == filters


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probes": {"x": [1.0]}}, r"probes: axes \['x'\].*\('s',\)"),
        ({"probes": {"s": [1.0, 4.0]}}, r"probes: s=\[1\.0\].*from 3 to 8\.8"),
        ({"probes": {"s": []}}, r"probes: s=\[\]"),
        ({"times": 0}, "times: 0 snapshots"),
        ({"times": [4.0, 99.0]}, r"times: \[99\.0\] before or after"),
    ],
)
def test_what_is_not_in_the_data_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        to_arviz(make_fit(), common(), **options)


def test_times_outside_one_trajectory_name_it():
    test = Trajectories([[0.0, 1.0], [5.0, 6.0]], np.ones((2, 2, NUM_POINTS)))
    with pytest.raises(ValueError, match="times: none within trajectory 1, from 5 to 6"):
        to_arviz(make_fit(), test, times=[0.5])


def test_data_of_another_grid_are_refused():
    test = Trajectories([[0.0, 1.0]], np.ones((1, 2, 7)))
    with pytest.raises(ValueError, match=r"field of shape \(7,\)"):
        to_arviz(make_fit(), test)


def test_two_axes_of_space():
    """Probes are the product of positions on both axes."""
    grid = Grid((6, 10), (3, 2), lower=(0.0, 0.0), upper=(6.0, 1.0))
    model, guide = plane(grid)
    times = np.array([0.0, 0.5])
    values = np.random.default_rng(0).normal(size=(1, 2, 6, 10)).astype(np.float32)
    test = Trajectories(times, values, dims=("x", "y"))
    fit = Fit(model, guide, Scaling((1.0,), HORIZON))
    idata = to_arviz(fit, test, num_samples=3, probes={"y": [0.3]})
    assert idata.posterior_predictive["u"].shape == (1, 3, 1, 2, 3, 1)
    assert idata.posterior_predictive["zeta"].shape == (1, 3, 1, 2, 3, 2)
    assert np.array_equal(idata.observed_data["u"][0, ..., 0], values[0][:, ::2, 3])
    assert idata.constant_data["smoothing_kernel"].dims == ("x_lag", "y_lag")
    assert np.allclose(idata.constant_data["x_lag"], [-2, -1, 0, 1, 2])


def plane(grid: Grid):
    class Still(torch.nn.Module):
        def forward(self, z, t, parameters=None):
            return -z

    model = tiny_model(0, grid=grid, drift=Still())
    return model, AmortizedGP(model)
