"""Latitudes and longitudes by units, standard names or names."""

import numpy as np
import pytest

from pyro_msde.data import in_degrees, is_latitude, is_longitude


@pytest.mark.parametrize(
    ("name", "units", "attrs", "latitude", "longitude"),
    [
        ("lat", None, None, True, False),
        ("Longitude", "degrees", {}, False, True),
        ("nav_lat", None, {}, True, False),
        ("lon_rho", "radian", {}, False, True),
        ("y", "degrees_north", {}, True, False),
        ("y", "degreeN", {}, True, False),
        ("x", "Degree_East", {}, False, True),
        ("y", None, {"standard_name": "latitude"}, True, False),
        ("x", "1", {"standard_name": "longitude"}, False, True),
        ("y", "m", {"standard_name": "projection_y_coordinate"}, False, False),
        ("lat", "km", {}, False, False),
        ("lat", "degrees_east", {}, False, True),
        ("latent", None, {}, False, False),
        ("longshore", None, {}, False, False),
        ("y", "degrees", {}, False, False),
    ],
)
def test_which_axis_it_is(name, units, attrs, latitude, longitude):
    assert is_latitude(name, units, attrs) is latitude
    assert is_longitude(name, units, attrs) is longitude


def test_radians_are_converted_by_their_units():
    x = np.array([-np.pi / 2, 0.0, np.pi / 6])
    np.testing.assert_allclose(in_degrees(x, "Radians"), [-90.0, 0.0, 30.0], rtol=1e-15)
    np.testing.assert_array_equal(in_degrees(x, None), x)
