"""Labelled arrays beside data: any order of axes and positions gives the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_array_equal

from pyro_msde import Trajectories
from pyro_msde.data import Metadata, in_order

LAT, LON = 60.0 - 20.0 * np.arange(6), 30.0 * np.arange(6)  # a square, so that shapes tell nothing
VALUES = np.arange(36.0).reshape(6, 6)
SHAPE = VALUES.shape
FIELD = xr.DataArray(VALUES, {"lat": LAT, "lon": LON}, ("lat", "lon"), attrs={"units": "K"})
UNITS = {"sst": "K", "lat": "degrees_north"}


def known(**options: Any) -> Metadata:
    values = VALUES[None, None]
    coords = {"lat": LAT, "lon": LON}
    options = {"dims": ("lat", "lon"), "coords": coords, "units": UNITS, **options}
    return Metadata.of(Trajectories([0.0], values, name="sst", **options))


SHUFFLED = [3, 0, 5, 1, 4, 2]
WIDER = xr.concat([FIELD, FIELD.assign_coords(lat=LAT - 200) + 1000], "lat")


@pytest.mark.parametrize(
    "given",
    [
        FIELD,
        FIELD[::-1],
        FIELD[:, ::-1].T,
        FIELD[SHUFFLED][:, SHUFFLED[::-1]],
        FIELD.assign_coords(lat=LAT.astype(np.float32) * np.float32(1 + 1e-7)),
        FIELD.drop_vars("lat")[:, ::-1],
        FIELD.expand_dims(height=[2.0]),
        WIDER,
        WIDER[::-1],
    ],
    ids=[
        "same",
        "flipped",
        "turned",
        "shuffled",
        "float32",
        "unlabelled",
        "squeezed",
        "wider",
        "up",
    ],
)
def test_any_order_and_more_positions_are_the_same_field(given):
    assert_array_equal(in_order("r", given, known(), SHAPE), VALUES)


def test_axes_that_are_lacking_are_broadcast_along():
    zonal = FIELD.mean("lon")[::-1]
    expected = np.broadcast_to(VALUES.mean(1, keepdims=True), SHAPE)
    assert_array_equal(in_order("r", zonal, known(), SHAPE), expected)
    lead = {"trajectory": None, "time": [0.5, 1.0, 2.0]}
    course = xr.DataArray([20.0, 10.0, 5.0, 0.0], {"time": [2.0, 1.0, 0.5, 0.0]}, "time")
    found = in_order("r", FIELD[::-1] * course, known(), (4, 3, *SHAPE), lead=lead)
    row = VALUES * np.array([5.0, 10.0, 20.0])[:, None, None]
    assert_array_equal(found, np.broadcast_to(row, (4, *row.shape)))


def test_channels_and_stations_are_found_by_name():
    stations = known(coords={"lat": list("abcdef"), "lon": LON}, units=None)
    named = FIELD.assign_coords(lat=list("abcdef"))[SHUFFLED]
    assert_array_equal(in_order("r", named, stations, SHAPE), VALUES)
    data = Trajectories(
        [0.0], np.ones((1, 1, 3, 6)), dims=("channel", "x"), channel_names=["u", "v", "w"]
    )
    each = xr.DataArray([3.0, 1.0, 2.0], {"channel": ["w", "u", "v"]}, "channel")
    expected = np.broadcast_to([[1.0], [2.0], [3.0]], (3, 6))
    assert_array_equal(in_order("r", each, Metadata.of(data), (3, 6)), expected)


def test_masks_stay_masks():
    mask = FIELD[::-1].T < 20
    found = in_order("mask", mask, known(), SHAPE, same_units=False)
    assert found.dtype == bool
    assert_array_equal(found, VALUES < 20)


@pytest.mark.parametrize(
    "given", [VALUES[::-1], xr.DataArray(VALUES[::-1]), xr.DataArray(3.0), "point", None]
)
def test_what_has_no_names_is_taken_as_it_is(given):
    assert in_order("r", given, known(), SHAPE) is given
    assert in_order("r", FIELD, None, SHAPE) is FIELD
    assert in_order("r", FIELD, known(dims=None, coords=None), SHAPE) is FIELD


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (FIELD.assign_attrs(units="degC"), "r: values in 'degC', but the data have sst in 'K'"),
        (xr.DataArray(VALUES, attrs={"units": "degC"}), "r: values in 'degC'"),
        (
            FIELD.assign_coords(lat=("lat", LAT, {"units": "km"})),
            "r: lat in 'km', but the data have lat in 'degrees_north'",
        ),
        (FIELD.rename(lat="y"), r"r: axes \('y', 'lon'\), but the data's are \('lat', 'lon'\)"),
        (FIELD.expand_dims(time=3), r"r: axes \('time', 'lat', 'lon'\)"),
        (FIELD[1:], "r: along 'lat' it lacks 60.0, a position of the data, 1 of 6 in all"),
        (FIELD.assign_coords(lat=LAT + 5), "r: along 'lat' it lacks 60.0, .* 6 of 6"),
        (FIELD[:1], "r: along 'lat' it lacks 40.0, .* 5 of 6"),
        (xr.concat([FIELD, FIELD], "lat"), "r: along 'lat' it has more than once 60.0"),
        (FIELD.assign_coords(lat=list("abcdef")), "r: along 'lat' it lacks 60.0"),
        (FIELD.drop_vars("lon")[:, 1:], "r: 5 points along 'lon', where the data have 6"),
    ],
)
def test_what_cannot_be_put_in_order_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        in_order("r", given, known(), SHAPE)


def test_values_of_other_units_are_refused_for_any_channel():
    data = Trajectories(
        [0.0],
        np.ones((1, 1, 2, 6)),
        dims=("channel", "x"),
        channel_names=["t", "p"],
        units={"t": "K", "p": "Pa"},
    )
    given = xr.DataArray([280.0, 1e5], dims="channel", attrs={"units": "K"})
    with pytest.raises(ValueError, match="r: values in 'K', but the data have p in 'Pa'"):
        in_order("r", given, Metadata.of(data), (2, 6))
