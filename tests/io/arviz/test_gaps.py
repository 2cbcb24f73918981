"""ArviZ data of fields with a mask, gaps and a reference, and what ArviZ makes of them."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from arviz_groups import dataset, since_1
from named_fields import HORIZON, land, named_data, sea_data, sea_fit, untrained_fit
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm

from pyro_msde import Trajectories
from pyro_msde.data import Reference
from pyro_msde.io.arviz import observed_only

az = pytest.importorskip("arviz")

MEAN = 285.0


@pytest.fixture(scope="module")
def case():
    fit = sea_fit(Reference(np.full((1, 1, 1, 1), MEAN)))
    test = sea_data(MEAN, whole=False)
    return fit, test, fit.to_arviz(test, num_samples=6, prior=4)


def test_probes_on_land_are_left_out(case):
    fit, _, idata = case
    pp = dataset(idata, "posterior_predictive")
    assert pp["sst"].dims == ("chain", "draw", "trajectory", "time", "probe")
    rows, columns = (np.asarray(i) for i in fit.model.grid.coarse_index)
    places = [(i, j) for i in rows for j in columns if land()[i, j]]
    assert 0 < len(places) < len(rows) * len(columns)
    assert_array_equal(pp["lat_probe"], [-70.0 + 20 * i for i, _ in places])
    assert_array_equal(pp["lon_probe"], [30.0 * j for _, j in places])
    assert pp["lat_probe"].dims == ("probe",)
    assert np.isfinite(pp["sst"]).all()
    prior = dataset(idata, "prior_predictive")
    assert np.isfinite(prior["sst"]).all()
    assert prior.attrs["paths_not_finite"] == 0
    for name in ("mean", "sd", "q05", "q95"):
        expected = np.broadcast_to(~land(), pp[f"sst_{name}"].shape)
        assert_array_equal(np.isnan(pp[f"sst_{name}"]), expected)


def test_the_mean_is_in_everything_that_is_a_field(case):
    _, test, idata = case
    pp, constant = dataset(idata, "posterior_predictive"), dataset(idata, "constant_data")
    for values in (pp["sst"], pp["sst_mean"], dataset(idata, "prior_predictive")["sst"]):
        assert abs(float(values.mean()) - MEAN) < 5
    assert abs(float(pp["zeta"].mean())) < 5  # a state, in kelvins about the reference
    assert constant["field_reference"].dims == ()
    assert constant["field_reference"] == MEAN
    assert constant["field_reference"].attrs["units"] == "K"
    assert_array_equal(constant["sst_field"], np.stack(test.values))


def test_probes_that_are_all_at_sea_keep_their_axes():
    fit, test = sea_fit(), sea_data()
    idata = fit.to_arviz(test, num_samples=2, probes={"lat": [30.0, 70.0], "lon": [0.0, 90.0]})
    pp = dataset(idata, "posterior_predictive")
    assert pp["sst"].dims[-2:] == ("lat_probe", "lon_probe")
    with pytest.raises(ValueError, match="probes: all are off the grid's mask"):
        fit.to_arviz(test, num_samples=2, probes={"lat": [-70.0], "lon": [0.0, 30.0]})
    named = Trajectories(test.times, list(test.values), missing="mask", dims=("probe", "lon"))
    with pytest.raises(ValueError, match="its dims 'probe' is taken"):
        replace(fit, metadata=None).to_arviz(named, num_samples=2)


def test_log_likelihoods_are_of_what_was_observed(case):
    fit, test, idata = case
    dense, pp = dataset(idata, "log_likelihood"), dataset(idata, "posterior_predictive")
    observed = dataset(idata, "observed_data")["sst"]
    gaps = np.isnan(observed.values)
    assert 0 < gaps.mean() < 0.5
    for name in ("sst", "sst_forecast"):
        probes = dense[f"{name}_probes"].values[0]
        assert_array_equal(np.isnan(probes), np.broadcast_to(gaps, probes.shape))
        assert np.isfinite(dense[name]).all()
    # the guide's draws are not kept, those of the forecast are: of each path and value
    fc = fit.forecast(test, num_samples=6, seed=0)
    y = np.stack(test.values)
    (law,) = [m.laws[0] for m in fc.mixtures()]
    mean, sd = law.mean[:, :, :, 0].double().numpy(), law.stddev[:, :, :, 0].double().numpy()
    scale = fit.scaling.channels[0]
    each = norm.logpdf((y - MEAN) / scale, mean, sd) - np.log(scale)
    expected = np.where(np.isnan(y), 0, each).sum((3, 4))
    assert_allclose(dense["sst_forecast"].values[0], expected, rtol=1e-5)  # float32 densities
    terms = dataset(idata, "sample_stats")
    assert_allclose(terms["log_likelihood"], np.nansum(dense["sst"], axis=(2, 3)))
    assert np.isfinite(terms["elbo"]).all()
    assert np.isfinite(pp["sst"]).all()


def test_arviz_reads_what_was_observed(case):
    _, test, idata = case
    before = dataset(idata, "observed_data")["sst"].values
    compact = observed_only(idata)
    seen = ~np.isnan(before)
    observed = dataset(compact, "observed_data")["sst"]
    assert observed.dims == ("observation",)
    assert_array_equal(observed, before[seen])
    trajectory, time, probe = np.nonzero(seen)
    assert_array_equal(observed["trajectory"], trajectory)
    assert_array_equal(observed["time"], test.times[0][time])
    latitude = dataset(idata, "observed_data")["lat_probe"].values
    assert_array_equal(observed["lat_probe"], latitude[probe])
    for group, names in {
        "posterior_predictive": {"sst"},
        "prior_predictive": {"sst"},
        "log_likelihood": {"sst_probes", "sst_forecast_probes"},
    }.items():
        found, whole = dataset(compact, group), dataset(idata, group)
        assert set(found.data_vars) == names
        for name in names:
            assert_array_equal(found[name][0], whole[name].values[0][:, seen])
    assert_array_equal(dataset(compact, "posterior")["observation_sd"].shape, (1, 6))
    with pytest.raises(ValueError, match="idata: no group observed_data"):
        observed_only(xr.DataTree.from_dict({"posterior": xr.Dataset()}))


@pytest.mark.skipif(since_1(az), reason="functions have other names from ArviZ 1 on")
def test_arviz_scores_and_draws_it(case):
    import matplotlib as mpl

    mpl.use("Agg")
    fit, test, _ = case
    compact = observed_only(fit.to_arviz(test, num_samples=30))
    observed = dataset(compact, "observed_data")["sst"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of few draws
        found = az.loo(compact, var_name="sst_probes", pointwise=True)
        table = az.summary(compact.posterior_predictive)
        ax = az.plot_ppc(compact, kind="cumulative")
    assert found.n_data_points == observed.size
    assert np.isfinite([found.elpd_loo, found.se]).all()
    assert len(table) == observed.size
    assert np.isfinite(table["mean"]).all()
    ax.figure.canvas.draw()


def test_a_cycle_is_kept_along_the_times():
    times = np.array([0.0, 0.1, 0.3, 0.4])
    r = np.random.default_rng(0).normal(size=(3, 1, 30))
    reference = Reference(280 + r, period=0.4)
    fit = untrained_fit()
    fit = replace(fit, scaling=replace(fit.scaling, reference=reference))
    test = named_data(2, times)
    high = Trajectories(test.times, [v + 280.0 for v in test.values], name="h", dims=("s",))
    found = dataset(fit.to_arviz(high, num_samples=2), "constant_data")["field_reference"]
    assert found.dims == ("time", "s")
    angle = 2 * np.pi * times / 0.4
    expected = 280 + r[0] + (280 + r[1]) * np.cos(angle)[:, None]
    assert_allclose(found, expected + (280 + r[2]) * np.sin(angle)[:, None], rtol=1e-12, atol=1e-9)
    other = times[:3] + np.array([0, 0.05, 0.02])
    ragged = Trajectories([times, other], [high.values[0], high.values[1][:3]])
    found = dataset(fit.to_arviz(ragged, num_samples=2), "constant_data")["field_reference"]
    assert found.dims == ("trajectory", "snapshot", "dim_0")
    assert np.isnan(found[1, 3:]).all()
    assert_allclose(found[1, :3], reference.at(other)[:, 0], rtol=1e-12)
    plain = dataset(untrained_fit().to_arviz(test, num_samples=2), "constant_data")
    assert "field_reference" not in plain
    assert HORIZON > times[-1]
