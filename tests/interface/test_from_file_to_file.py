"""From variables of a file to a forecast's: names, a flipped axis, sizes that nothing divides."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import pyro_msde
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale

pytestmark = pytest.mark.usefixtures("long_steps")

LAT, LON = np.linspace(66.0, -66.0, 13), np.arange(0.0, 360.0, 30.0)


def observed():
    time = np.datetime64("2001-01-01", "ns") + np.arange(12) * np.timedelta64(6, "h")
    phase = 2 * np.pi * LON / 360 - 0.3 * np.arange(12)[:, None, None]
    profile = np.cos(np.deg2rad(LAT))[:, None]
    rng = np.random.default_rng(0)
    dims = ("time", "lat", "lon")
    variables = {
        "u": (dims, 20 + profile * np.sin(phase), {"units": "m/s"}),
        "t": (dims, 280 + 9 * profile * np.cos(phase), {"units": "K"}),
    }
    variables = {
        name: (dims, values + 0.01 * rng.normal(size=values.shape), attrs)
        for name, (dims, values, attrs) in variables.items()
    }
    return xr.Dataset(variables, {"time": time, "lat": LAT, "lon": LON})


def test_a_user_types_no_shapes(tmp_path):
    ds = observed()
    data = pyro_msde.Trajectories.from_xarray(ds, ["u", "t"])
    model = multiscale.like(data, coarse=(4, 6), n_eta=1, width=4, components=2, rank=1)
    assert model.grid.boundary == ("neumann", "periodic")
    assert model.grid.padding == ((2, 1), (0, 0))
    fit = pyro_msde.fit(
        model, AmortizedGP(model), data, steps=2, length=5, stride=1, progress=False
    )
    fit.save(tmp_path / "run")
    loaded = pyro_msde.load(tmp_path / "run")
    assert loaded.metadata == fit.metadata
    assert loaded.metadata.channels == ("u", "t")
    start = ds[["u", "t"]].isel(time=0).to_array("channel")
    fc = loaded.predict(start, ds.time[:3], num_samples=4, max_step=4e3)
    fc.to_xarray(quantiles=(0.9,)).to_netcdf(tmp_path / "forecast.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "forecast.nc") as out:
        xr.testing.assert_equal(out.time.drop_attrs(), ds.time[:3].drop_attrs())
        np.testing.assert_array_equal(out.lat, LAT)
        np.testing.assert_array_equal(out.t_mean, fc.mean[:, 1])
        assert out.t_mean.units == "K"
        assert 200 < float(out.t_mean.mean()) < 360  # kelvins, though next to nothing was learned
    few = data.until(data.times[0][2])
    fc = fit.forecast(few, num_samples=4, max_step=4e3)
    # kelvins and metres per second cannot be added: each counts in its own size
    size = np.reshape(fit.scaling.channels, (2, 1, 1))
    y, mean = few.values[0], fc.mean.numpy()[0]
    error, anomaly = ((x / size) ** 2 for x in (mean - y, y - fit.reference_at(few.times[0])))
    ratio = error.sum((1, 2, 3)) / anomaly.sum((1, 2, 3))
    np.testing.assert_allclose(pyro_msde.nrmse(fc, few), [np.sqrt(ratio.mean())], rtol=1e-5)
    np.testing.assert_allclose(
        pyro_msde.skill(fc, few), [1 - error.sum() / anomaly.sum()], rtol=1e-5
    )
    spread = np.square(fc.sd.numpy()[0] / size).sum()
    expected = [np.sqrt(spread / error.sum())]
    np.testing.assert_allclose(pyro_msde.spread_skill(fc, few), expected, rtol=1e-5)
    tree = fit.to_arviz(data.until(data.times[0][2]), num_samples=2, times=2)
    assert tree.posterior_predictive.channel.values.tolist() == ["u", "t"]
    # so much of the file as it is, whatever else it holds; its time is that of the start
    several = ds.assign(other=ds.u)[["other", "t", "u"]].isel(time=0)
    same = loaded.predict(several, ds.time[:3], num_samples=4, max_step=4e3)
    np.testing.assert_array_equal(
        same.mean, loaded.forecast(few, num_samples=4, max_step=4e3).mean[0]
    )
    with pytest.raises(ValueError, match=r"y0: channels \('t', 'u'\)"):
        fit.predict(start[::-1], ds.time[:3])
    with pytest.raises(ValueError, match=r"y0: coords\['lat'\] are in another order"):
        fit.predict(start[:, ::-1], ds.time[:3])


def test_a_row_of_a_table_starts_a_forecast_by_its_names_and_date():
    """Columns in another order would be other stations' values."""
    rng = np.random.default_rng(2)
    dates = pd.date_range("2001-01-01", periods=12, freq="6h")
    table = pd.DataFrame(rng.normal(size=(12, 8)).cumsum(0), dates, list("abcdefgh"))
    data = pyro_msde.Trajectories(
        dates, table.to_numpy()[None], dims=["station"], coords={"station": table.columns}
    )
    ring = np.roll(np.eye(8), 1, 0) + np.roll(np.eye(8), -1, 0)
    model = multiscale(adjacency=ring, n_eta=0, width=4)
    fit = pyro_msde.fit(
        model,
        AmortizedGP(model),
        data,
        steps=2,
        length=5,
        stride=1,
        progress=False,
        jackknife=False,
    )
    times, options = dates[10:], {"num_samples": 4, "max_step": 4e3}
    expected = fit.predict(table.to_numpy()[9], times, t0=dates[9], **options).mean
    for row in (table.iloc[[9]], xr.DataArray(table.to_numpy()[9])):
        own = {} if isinstance(row, pd.DataFrame) else {"t0": dates[9]}
        found = fit.predict(row, times, **own, **options).mean
        np.testing.assert_array_equal(np.squeeze(found), expected)
    np.testing.assert_array_equal(
        fit.predict(table.iloc[9], times, t0=dates[9], **options).mean, expected
    )
    with pytest.raises(ValueError, match=r"y0: coords\['station'\] are in another order"):
        fit.predict(table.iloc[9][::-1], times, t0=dates[9], **options)
