"""ArviZ data where trajectories have times of their own, channels, parameters or two axes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from named_fields import HORIZON, SCALE, named_data, untrained_fit
from problems import NUM_POINTS, tiny_data, tiny_fields, tiny_grid, tiny_model, tiny_pair

from pyro_msde import Fit, Grid, SensorGraph, Trajectories
from pyro_msde.data import Scaling
from pyro_msde.guides import AmortizedGP
from pyro_msde.io.arviz import kernel_draws, to_arviz
from pyro_msde.models import multiscale
from pyro_msde.priors import bayesian

CLOCK = 4.0 + 0.25 * np.arange(5)


def test_trajectories_with_times_of_their_own_are_padded():
    fit = untrained_fit()
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
    assert "training" not in idata
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
    fit = Fit(model, guide, Scaling((SCALE,), HORIZON))
    test = named_data(2, CLOCK)
    idata = to_arviz(fit, test, num_samples=16, times=3)  # of 8 θ, two paths each
    sd = idata.posterior["diffusion_sd_zeta"].values[0]
    assert np.array_equal(sd[0::2], sd[1::2])
    assert len(np.unique(sd[::2, 0])) == 8
    assert len(kernel_draws(fit)) == 1


class Plain(torch.nn.Module):
    """What `protocols.Model` asks for and no more, of a model of ours."""

    def __init__(self, model):
        super().__init__()
        self.parts = model
        self.grid, self.n_eta, self.num_latent = model.grid, model.n_eta, model.num_latent
        self.bind, self.path_law = model.bind, model.path_law

    def forward(self, batch):
        return self.parts(batch)


def test_a_model_without_a_smoothing_kernel_has_no_variables_of_it():
    model, guide = tiny_pair(2)
    fit = Fit(Plain(model), guide, Scaling((SCALE,), HORIZON))
    test = named_data(2, CLOCK)
    idata = to_arviz(fit, test, num_samples=2, times=2)
    whole = to_arviz(replace(fit, model=model), test, num_samples=2, times=2)
    assert set(whole.constant_data) - set(idata.constant_data) == {"smoothing_kernel"}
    assert not [name for name in idata.constant_data.coords if name.endswith("_lag")]
    for group in ("posterior", "posterior_predictive", "log_likelihood"):
        assert idata[group].equals(whole[group])
    with pytest.raises(ValueError, match="fit: a Plain has no smoothing kernel"):
        kernel_draws(fit)


def test_parameters_of_trajectories_are_kept():
    test = named_data(2, CLOCK)
    test.covariates = np.array([[0.5, 7.0], [1.5, 8.0]])
    model, guide = tiny_pair(2, num_covariates=2)
    idata = to_arviz(Fit(model, guide, Scaling((1.0,), HORIZON)), test, num_samples=2, times=2)
    assert idata.constant_data["covariate_1"].values.tolist() == [7.0, 8.0]
    assert idata.constant_data["covariate_0"].dims == ("trajectory",)


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
        to_arviz(untrained_fit(), named_data(3, CLOCK), **options)


def test_times_outside_one_trajectory_name_it():
    test = Trajectories([[0.0, 1.0], [5.0, 6.0]], np.ones((2, 2, NUM_POINTS)))
    with pytest.raises(ValueError, match="times: none within trajectory 1, from 5 to 6"):
        to_arviz(untrained_fit(), test, times=[0.5])


def test_data_of_another_grid_are_refused():
    test = Trajectories([[0.0, 1.0]], np.ones((1, 2, 7)))
    with pytest.raises(ValueError, match=r"field of shape \(7,\)"):
        to_arviz(untrained_fit(), test)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"name": "eta", "dims": ("s",)}, "test: its name 'eta' is taken"),
        ({"name": "s", "dims": ("s",)}, "dims: 's' is what the field is called"),
        ({"name": "time", "dims": ("s",)}, "name: 'time' is what an axis of time"),
        ({"name": "h", "dims": ("draw",)}, "test: its dims 'draw' is taken"),
    ],
)
def test_names_that_are_taken_are_refused(names, message):
    def convert():
        test = Trajectories([[0.0, 1.0]], np.ones((1, 2, NUM_POINTS)), **names)
        to_arviz(untrained_fit(), test)

    with pytest.raises(ValueError, match=message):
        convert()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "drift.theta"}, "weights='drift.theta': pass True, or a list"),
        ({"prior": 2.5}, r"prior=2\.5: give a whole number"),
        ({"num_samples": 0}, "num_samples=0: give a whole number"),
        ({"times": True}, "times: True. Pass a number"),
    ],
)
def test_options_of_another_kind_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        to_arviz(untrained_fit(), named_data(1), **options)


def test_a_number_of_snapshots_may_be_numpys():
    idata = to_arviz(untrained_fit(), named_data(1), num_samples=2, times=np.int64(3))
    assert idata.posterior_predictive.sizes["time"] == 3


class Decay(torch.nn.Module):
    """γ(z) = −z."""

    def forward(self, z, t, covariates=None):
        return -z


def test_two_axes_of_space():
    """Probes are the product of positions on both axes."""
    grid = Grid((6, 10), (3, 2), lower=(0.0, 0.0), upper=(6.0, 1.0))
    model = tiny_model(0, grid=grid, drift=Decay())
    times = np.array([0.0, 0.5])
    values = np.random.default_rng(0).normal(size=(1, 2, 6, 10)).astype(np.float32)
    test = Trajectories(times, values, dims=("x", "y"))
    fit = Fit(model, AmortizedGP(model), Scaling((1.0,), HORIZON))
    idata = to_arviz(fit, test, num_samples=3, probes={"y": [0.3]})
    assert idata.posterior_predictive["u"].shape == (1, 3, 1, 2, 3, 1)
    assert idata.posterior_predictive["zeta"].shape == (1, 3, 1, 2, 3, 2)
    assert np.array_equal(idata.observed_data["u"][0, ..., 0], values[0][:, ::2, 3])
    assert idata.constant_data["smoothing_kernel"].dims == ("x_lag", "y_lag")
    assert np.allclose(idata.constant_data["x_lag"], [-2, -1, 0, 1, 2])


@pytest.mark.parametrize("graph", [True, False])
def test_positions_may_be_names(graph):
    nodes = np.arange(NUM_POINTS)
    names = [f"s{i:02d}" for i in nodes]
    ring = np.stack([(nodes - 1) % NUM_POINTS, (nodes + 1) % NUM_POINTS], 1)
    model = multiscale(SensorGraph(ring) if graph else tiny_grid(), width=4, components=2, rank=1)
    fit = Fit(model, AmortizedGP(model), Scaling((SCALE,), HORIZON))
    values = tiny_data((5,)).values[0][None]
    options = {"dims": ["station"], "coords": {"station": names}}
    test = Trajectories(CLOCK, values, **options)
    idata = to_arviz(fit, test, num_samples=2, probes={"station": ["s07", "s02"]})
    pp, constant = idata.posterior_predictive, idata.constant_data
    assert pp["station_probe"].values.tolist() == ["s02", "s07"]
    assert np.array_equal(idata.observed_data["u"], values[..., [2, 7]])
    assert constant["station"].values.tolist() == names
    size = constant.sizes["station_lag"]
    middle = 0 if graph else size // 2  # where a node itself is
    assert np.array_equal(constant["station_lag"], np.arange(size) - middle)
    with pytest.raises(ValueError, match=r"probes: station=\['x'\]. Pass names of points, such"):
        to_arviz(fit, test, num_samples=2, probes={"station": ["s02", "x"]})
