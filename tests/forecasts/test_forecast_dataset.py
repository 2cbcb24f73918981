"""`Forecast.to_xarray`: names, units, positions and dates, in memory and in a file."""

import cftime
import numpy as np
import pytest
import xarray as xr

from pyro_msde import Fit, Trajectories
from pyro_msde.data import Metadata, Reference, Scaling
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale

LAT, LON = np.array([60.0, 50.0, 40.0, 30.0, 20.0]), np.array([0.0, 10.0, 20.0, 30.0])
UNITS = {"t": "K", "lat": "degrees_north", "lon": "degrees_east", "time": "days since 2001-01-01"}
ATTRS = {"lat": {"standard_name": "latitude", "axis": "Y"}, "t": {"standard_name": "temperature"}}


def trained(values, **options):
    """An untrained fit of data with these names, whose numbers suit nothing."""
    times = 0.25 * np.arange(5)
    data = Trajectories(times, values, coords={"lat": LAT, "lon": LON}, **options)
    model = multiscale.like(data, n_eta=1, width=4, components=2, rank=1)
    channels = model.grid.channels
    coefficients = np.arange(280.0, 280 + channels).reshape(1, channels, 1, 1)
    scaling = Scaling((2.0,) * channels, 100.0, reference=Reference(coefficients))
    has_channel = data.has_channel_axis(channels, model.grid.data_shape)
    own = {"has_channel": has_channel, "metadata": Metadata.of(data)}
    return Fit(model, AmortizedGP(model), scaling, **own), data


def one_field(**options):
    values = 280 + np.random.default_rng(0).normal(size=(2, 5, 5, 4))
    names = {"name": "t", "dims": ("lat", "lon"), "units": UNITS, "attrs": ATTRS}
    return trained(values, **names, **options)


def forecast(fit, data, batch=True):
    first = np.stack([v[0] for v in data.values])
    return fit.predict(first if batch else first[0], data.times[0][:3], num_samples=4, max_step=1.0)


def test_numbers_are_those_of_the_forecast():
    fit, data = one_field()
    fc = forecast(fit, data)
    ds = fc.to_xarray(quantiles=(0.05, 0.5))
    dims = ("trajectory", "time", "lat", "lon")
    for name in ("mean", "sd", "reconstruction_var", "propagated_var", "parameter_var"):
        assert ds[f"t_{name}"].dims == dims
        np.testing.assert_array_equal(ds[f"t_{name}"], getattr(fc, name))
    assert ds.t_quantile.dims == ("quantile", *dims)
    for level in (0.05, 0.5):
        np.testing.assert_array_equal(ds.t_quantile.sel(quantile=level), fc.quantile(level))
    np.testing.assert_array_equal(ds.lat, LAT)  # running down, as the data
    np.testing.assert_array_equal(ds.trajectory, [0, 1])
    assert "t_quantile" not in fc.to_xarray()
    alone = forecast(fit, data, batch=False).to_xarray()
    assert alone.t_mean.dims == dims[1:]
    assert "trajectory" not in alone.coords


def test_names_and_units_are_those_of_the_data():
    ds = forecast(*one_field()).to_xarray(quantiles=(0.1,))
    assert ds.attrs["Conventions"].startswith("CF-")
    assert ds.t_mean.attrs == {
        "long_name": "t, mean of the forecast",
        "units": "K",
        "standard_name": "temperature",
    }
    assert ds.t_sd.units == ds.t_quantile.units == "K"
    assert ds.t_propagated_var.units == "K2"
    assert ds.lat.attrs == {"standard_name": "latitude", "axis": "Y", "units": "degrees_north"}
    assert ds.lon.units == "degrees_east"


@pytest.mark.parametrize(
    ("calendar", "expected"),
    [
        ("standard", np.array(["2001-01-01T00", "2001-01-01T06", "2001-01-01T12"], "M8[ns]")),
        (
            "360_day",
            [cftime.datetime(2001, 1, 1, hour, calendar="360_day") for hour in (0, 6, 12)],
        ),
        ("noleap", [cftime.datetime(2001, 1, 1, hour, calendar="noleap") for hour in (0, 6, 12)]),
    ],
)
def test_times_are_dates_and_a_file_has_them(calendar, expected, tmp_path):
    ds = forecast(*one_field(calendar=calendar)).to_xarray()
    assert (ds.time.values == np.array(expected)).all()
    ds.to_netcdf(tmp_path / "forecast.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "forecast.nc") as back:
        xr.testing.assert_identical(back.load(), ds)
    with xr.open_dataset(tmp_path / "forecast.nc", decode_cf=False) as raw:
        assert raw.time.attrs["units"] == UNITS["time"]
        assert raw.time.attrs["calendar"] == calendar
        np.testing.assert_array_equal(raw.time, [0.0, 0.25, 0.5])
        assert np.isnan(raw.t_mean.attrs["_FillValue"])
        assert not any("_FillValue" in raw[name].attrs for name in ("lat", "lon", "time"))
    again = Trajectories.from_xarray(back, "t_mean")
    np.testing.assert_array_equal(again.values[0], ds.t_mean[0])


def test_channels_with_names_are_variables_each():
    values = np.random.default_rng(0).normal(size=(2, 5, 2, 5, 4))
    fit, data = trained(
        values,
        channel_names=("u", "v"),
        dims=("channel", "lat", "lon"),
        units={"u": "m s-1", "v": "1"},
        attrs={"v": {"long_name": "share"}},
    )
    fc = forecast(fit, data)
    ds = fc.to_xarray(quantiles=(0.5,))
    assert "channel" not in ds.dims
    for k, name in enumerate(("u", "v")):
        np.testing.assert_array_equal(ds[f"{name}_mean"], fc.mean[:, :, k])
        np.testing.assert_array_equal(ds[f"{name}_quantile"][0], fc.quantile(0.5)[:, :, k])
    assert ds.u_sd.units == "m s-1"
    assert ds.u_parameter_var.units == "(m s-1)2"
    assert ds.v_parameter_var.units == "1"
    assert ds.v_mean.long_name == "share, mean of the forecast"


def test_channels_without_names_keep_their_axis():
    values = np.random.default_rng(0).normal(size=(2, 5, 2, 5, 4))
    fit, data = trained(values, dims=("channel", "lat", "lon"))
    ds = forecast(fit, data).to_xarray()
    assert ds.u_mean.dims == ("trajectory", "time", "channel", "lat", "lon")
    np.testing.assert_array_equal(ds.channel, [0, 1])


def test_points_without_a_field_are_missing():
    values = np.random.default_rng(0).normal(size=(1, 5, 5, 4))
    values[..., 1:3, 2] = np.nan
    fit, data = trained(values, dims=("lat", "lon"), missing="mask")
    ds = forecast(fit, data).to_xarray(quantiles=(0.9,))
    for variable in ds.data_vars.values():
        missing = np.isnan(variable).any(set(variable.dims) - {"lat", "lon"})
        np.testing.assert_array_equal(missing, np.isnan(values[0, 0]))


def test_without_metadata_the_grid_gives_positions():
    fit, data = one_field()
    plain = Fit(fit.model, fit.guide, fit.scaling)
    ds = forecast(plain, data).to_xarray()
    assert ds.u_mean.dims == ("trajectory", "time", "x", "y")
    np.testing.assert_allclose(ds.x, LAT, rtol=1e-12)  # of the grid, which is like the data
    np.testing.assert_array_equal(ds.time, data.times[0][:3])
    assert ds.time.dtype == np.float64


def test_a_level_outside_is_refused():
    with pytest.raises(ValueError, match="quantiles"):
        forecast(*one_field()).to_xarray(quantiles=(0.5, 1.0))


def test_units_without_a_fixed_length_stay_numbers():
    ds = forecast(*one_field_in("months since 2001-01-01")).to_xarray()
    assert ds.time.dtype == np.float64
    assert ds.time.attrs["units"] == "months since 2001-01-01"


def one_field_in(units):
    fit, data = one_field()
    return Fit(
        fit.model,
        fit.guide,
        fit.scaling,
        metadata=Metadata("t", data.dims, {}, {"time": units}, "standard", ()),
    ), data


@pytest.mark.parametrize("calendar", ["standard", "360_day"])
def test_windows_have_lead_times_and_dates_of_their_own(calendar, tmp_path):
    fit, data = one_field(calendar=calendar)
    windows = data.cut(3, 1)
    fc = fit.forecast(windows, num_samples=4, max_step=1.0)
    ds = fc.to_xarray()
    assert ds.t_mean.dims == ("trajectory", "lead", "lat", "lon")
    np.testing.assert_array_equal(ds.lead, fc.times)
    assert ds.lead.attrs["units"] == "days"
    expected = cftime.num2date(np.stack(windows.times), UNITS["time"], calendar)
    ds.to_netcdf(tmp_path / "windows.nc")
    read = xr.open_dataset(
        tmp_path / "windows.nc",
        decode_times=xr.coders.CFDatetimeCoder(use_cftime=True),
        decode_timedelta=False,
    )
    np.testing.assert_array_equal(read.time, expected)
    np.testing.assert_array_equal(read.start, expected[:, 0])
    np.testing.assert_array_equal(read.t_mean, fc.mean)
