"""Forecasts of data with dates: files that xarray and ArviZ read back, durations without dates."""

from __future__ import annotations

from dataclasses import replace

import arviz
import numpy as np
import pytest
import xarray as xr
from named_fields import X, named_data, untrained_fit
from problems import NUM_POINTS, tiny_fields

from pyro_msde import Trajectories, calibration
from pyro_msde.data import Metadata
from pyro_msde.plot import calibration_by_lead, coverage_by_lead
from pyro_msde.plot.scene import Words
from pyro_msde.plot.sensitivity import _rate_units

START = np.datetime64("2100-02-27T12:00")
STEPS = np.arange(7) * np.timedelta64(6, "h")
OPTIONS = {"num_samples": 4, "times": 3, "log_likelihood": False}


def dated(first: np.datetime64 = START, count: int = 2) -> Trajectories:
    rng = np.random.default_rng(4)
    values = [tiny_fields(0.1 * np.arange(7), rng).astype(np.float32) for _ in range(count)]
    units = {"h": "m", "time": "hours since 2100-01-01"}
    return Trajectories(first + STEPS, values, name="h", dims=("s",), coords={"s": X}, units=units)


def dated_fit():
    return untrained_fit(metadata=Metadata.of(dated()))


def names_of_instants(ds: xr.Dataset) -> set[str]:
    return {str(k) for k, v in ds.variables.items() if v.dtype.kind == "M"}


def test_files_are_read_back_with_their_dates(tmp_path):
    idata = dated_fit().to_arviz(dated(), horizon=START + np.timedelta64(48, "h"), **OPTIONS)
    for group in idata.groups():
        assert names_of_instants(idata[group]) <= {"time", "time_initial", "time_end"}, group
        if "time" in idata[group].variables:
            assert "time" in names_of_instants(idata[group]), group
    assert idata.posterior["time_kernel_lengthscale"].attrs["units"] == "h"
    assert idata.constant_data["time_scale"].attrs["units"] == "h"
    assert idata.posterior["diffusion_sd_zeta"].attrs["units"] == "m h^-0.5"
    idata.to_netcdf(tmp_path / "calendar.nc", engine="h5netcdf")
    back = arviz.from_netcdf(tmp_path / "calendar.nc", engine="h5netcdf")
    for group in ("posterior_predictive", "predictions"):
        np.testing.assert_array_equal(back[group]["h_mean"], idata[group]["h_mean"])
    path = tmp_path / "calendar.nc"
    with xr.open_dataset(path, group="posterior_predictive", engine="h5netcdf") as ds:
        np.testing.assert_array_equal(ds["time"].values, (START + STEPS)[[0, 3, 6]])
    with xr.open_dataset(path, group="predictions_constant_data", engine="h5netcdf") as ds:
        assert (ds["time_initial"].values == START).all()
        assert (ds["time_end"].values == START + STEPS[-1]).all()


def test_dates_choose_snapshots():
    idata = dated_fit().to_arviz(dated(), **{**OPTIONS, "times": START + STEPS[[1, 4]]})
    np.testing.assert_array_equal(idata.posterior_predictive["time"], START + STEPS[[1, 4]])


def test_data_that_count_from_another_date_are_recounted():
    units = {"time": "days since 2099-12-31"}
    other = Trajectories(START + STEPS, dated().values, name="h", dims=("s",), units=units)
    one, two = (dated_fit().to_arviz(d, **OPTIONS) for d in (dated(), other))
    np.testing.assert_array_equal(
        two.posterior_predictive["time"], one.posterior_predictive["time"]
    )
    # days are turned into hours with a rounding of 1e-16, which the drift passes on
    np.testing.assert_allclose(
        two.posterior_predictive["h_mean"], one.posterior_predictive["h_mean"], rtol=1e-4
    )


def test_a_reports_leads_are_durations(tmp_path):
    fit, test = dated_fit(), dated()
    fc = fit.predict(np.stack([v[0] for v in test.values]), START + STEPS, num_samples=64)
    report = calibration(fc, test, bins=2, levels=[0.5, 0.9])
    assert report.units["time"] == "h"
    report.to_xarray().to_netcdf(tmp_path / "report.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "report.nc", engine="h5netcdf", decode_times=True) as ds:
        np.testing.assert_allclose(ds["lead"], [9.0, 27.0])
    for ax in (coverage_by_lead(fc, test, bins=2), calibration_by_lead(report)[-1]):
        assert ax.get_xlabel() == "lead time (h)"
    assert _rate_units(Words.of(fit.model.grid, test)) == "1/h"


def test_scores_recount_the_truths_dates_too():
    fit, test = dated_fit(), dated(count=1)
    fc = fit.predict(test.values[0][0], START + STEPS, num_samples=64)
    other = Trajectories(START + STEPS, test.values, name="h", units={"time": "s since 2000-01-01"})
    plain = np.asarray(test.values[0])
    assert calibration(fc, other, bins=1, levels=[0.5]).crps == pytest.approx(
        calibration(fc, plain, bins=1, levels=[0.5]).crps
    )
    assert calibration(fc, other, bins=1, levels=[0.5]).units["time"] == "h"


def test_data_without_dates_are_refused_where_the_fits_have_dates():
    with pytest.raises(ValueError, match=r"test: times in 'day', but the data of the fit have"):
        dated_fit().to_arviz(named_data(), **OPTIONS)
    unknown = replace(dated_fit(), metadata=None)
    assert unknown.to_arviz(dated(), **OPTIONS).posterior_predictive["h_mean"].shape[-1] == (
        NUM_POINTS
    )
