"""Several variables as channels, from a file to a fit's metadata and back."""

import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from pyro_msde import Grid, Trajectories
from pyro_msde.data import Metadata
from pyro_msde.plot.scene import Words

LATITUDE, LONGITUDE = np.array([60.0, 50.0, 40.0]), np.array([0.0, 10.0, 20.0, 30.0, 40.0])
TIMES = np.array([0.0, 1.0, 3.0, 4.0])


def winds(**changes):
    """Zonal wind, meridional wind in another order of dimensions, and a field without latitude."""
    rng = np.random.default_rng(1)
    variables = {
        "u": (("time", "lat", "lon"), rng.normal(size=(4, 3, 5)), {"units": "m/s"}),
        "v": (
            ("lon", "time", "lat"),
            rng.normal(size=(5, 4, 3)).astype(np.float32),
            {"units": "knot", "long_name": "northward wind"},
        ),
        "p": (("time", "lon"), rng.normal(size=(4, 5))),
        **changes,
    }
    coords = {
        "time": ("time", TIMES, {"units": "days since 2001-01-01", "calendar": "360_day"}),
        "lat": ("lat", LATITUDE, {"units": "degrees_north", "standard_name": "latitude"}),
        "lon": ("lon", LONGITUDE, {"units": "degrees_east", "axis": "X"}),
    }
    return xr.Dataset(variables, coords)


def test_variables_become_channels_with_names_and_units():
    ds = winds()
    data = Trajectories.from_xarray(ds, ["v", "u"])
    assert data.channel_names == ("v", "u")
    assert data.dims == ("channel", "lon", "lat")  # in the order of the first
    assert data.name == "v_u"
    assert data.field_shape == (2, 5, 3)
    expected = [ds[name].transpose("time", "lon", "lat") for name in ("v", "u")]
    np.testing.assert_array_equal(data.values[0], np.stack(expected, 1))
    assert data.units["v"] == "knot"
    assert data.units["u"] == "m/s"
    assert data.units["lat"] == "degrees_north"
    assert data.attrs == {
        "v": {"long_name": "northward wind"},
        "lat": {"standard_name": "latitude"},
        "lon": {"axis": "X"},
    }
    assert data.calendar == "360_day"


def test_they_are_variables_again(tmp_path):
    data = Trajectories.from_xarray(winds(), ["u", "v"])
    ds = data.to_xarray()
    assert ds.u.dims == ds.v.dims == ("trajectory", "time", "lat", "lon")
    assert ds.v.attrs == {"units": "knot", "long_name": "northward wind"}
    assert ds.lat.attrs == {"units": "degrees_north", "standard_name": "latitude"}
    ds.to_netcdf(tmp_path / "winds.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "winds.nc") as opened:
        again = Trajectories.from_xarray(opened, ["u", "v"])
        np.testing.assert_array_equal(again.values[0], data.values[0])
    assert Metadata.of(Trajectories.from_xarray(ds, ["u", "v"])) == Metadata.of(data)


def test_several_trajectories_and_gaps():
    ds = xr.concat([winds(), winds() + 1], "trajectory")
    ds["v"][1, :, 2, 1] = np.nan
    with pytest.raises(ValueError, match="missing='mask'"):
        Trajectories.from_xarray(ds, ["u", "v"])
    data = Trajectories.from_xarray(ds, ["u", "v"], missing="mask")
    assert len(data) == 2
    assert not np.isnan(data.values[1][:, 0]).any()
    assert np.isnan(data.values[1][:, 1]).sum() == np.isnan(ds.v.values).sum() > 0
    assert data[1].channel_names == ("u", "v")


def test_one_variable_in_a_list_is_one_channel():
    data = Trajectories.from_xarray(winds(), ["u"])
    assert data.field_shape == (1, 3, 5)
    assert data.channel_names == ("u",)


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["u", "p"], {}, r"name: 'p' has dimensions \('time', 'lon'\), but 'u' has \('time', 'lat"),
        (["u", "w"], {}, "name: no variable 'w'. The data hold u, v, p"),
        (["u", "v"], {"channel": "lat"}, "channel: 'lat' is a dimension of 'u' already"),
        ([], {}, "name: no variables"),
        (["u", 3], {}, "name=.*give a list of names"),
        (["u", "u"], {}, "channel_names: .*different names"),
    ],
)
def test_what_cannot_be_channels_is_refused_by_name(names, options, message):
    with pytest.raises(ValueError, match=message):
        Trajectories.from_xarray(winds(), names, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channel_names": ["a"]}, r"channel_names: \('a',\) for fields \(2, 7\)"),
        ({"channel_names": ["a", "a"]}, "different names"),
        ({"channel_names": ["a", "x"], "dims": ["c", "x"]}, "'x' is another's name"),
        ({"channel_names": ["a", "time"]}, "'time' is another's name"),
        ({"channel_names": "ab"}, "channel_names='ab': give a list of names"),
        ({"attrs": {"u": "K"}}, "attrs: got"),
        ({"attrs": {"u": {"long_name": 3}}}, "attrs: got"),
    ],
)
def test_names_that_are_none(options, message):
    with pytest.raises(ValueError, match=message):
        Trajectories([0.0, 1.0], np.zeros((1, 2, 2, 7)), **options)


def own(**changes):
    return replace(Metadata.of(Trajectories.from_xarray(winds(), ["u", "v"])), **changes)


def test_metadata_keep_them_and_older_runs_have_none():
    known = own()
    assert known.channels == ("u", "v")
    assert Metadata.from_json(json.loads(json.dumps(known.to_json()))) == known
    older = {k: v for k, v in known.to_json().items() if k not in ("channels", "attrs")}
    read = Metadata.from_json(json.loads(json.dumps(older)))
    assert read == own(channels=(), attrs={})
    read.check("data", known)  # what only one side knows is not compared
    known.check("data", read)


def test_channels_are_compared():
    known = own()
    with pytest.raises(ValueError, match=r"y0: channels \('v', 'u'\), but the data of the fit"):
        known.check("y0", own(channels=("v", "u")))
    with pytest.warns(UserWarning, match=r"y0: other channels \('u', 'w'\) against \('u', 'v'\)"):
        known.check("y0", own(channels=("u", "w")))
    with pytest.raises(ValueError, match=r"y0: v in 'm', but the data of the fit have 'knot'"):
        known.check("y0", own(units={"v": "m"}))
    array = winds()[["v", "u"]].isel(time=0).to_array("channel").transpose("channel", "lat", "lon")
    with pytest.raises(ValueError, match=r"y0: channels \('v', 'u'\)"):
        known.check("y0", Metadata.of_array(array, 3))
    known.check("y0", Metadata.of_array(array[::-1], 3))


def test_pictures_call_channels_by_their_names():
    words = Words.of(
        Grid((3, 5), (1, 1), channels=2, boundary="neumann"),
        Trajectories.from_xarray(winds(), ["u", "v"]),
    )
    assert words.field_name(1) == "v"
    assert "knot" in words.field_label(1)
    assert "m/s" in words.field_label(0)
