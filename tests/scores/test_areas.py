"""Areas of points: cosines of latitudes, arrays, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from gaussian_forecasts import Gaussian
from numpy.testing import assert_allclose

from pyro_msde import Grid, Trajectories, nrmse
from pyro_msde.data import Metadata
from pyro_msde.scores.areas import area_weights

LAT, LON = np.array([-60.0, -20.0, 0.0, 45.0, 90.0]), np.array([10.0, 20.0, 30.0])
FIELD = (2, 5, 3)
COSINES = np.array([0.5, 0.9396926207859084, 1.0, np.sqrt(0.5), 0.0])


def data(dims=("part", "lat", "lon"), units=None, latitude=LAT, attrs=None) -> Trajectories:
    values = np.random.default_rng(0).normal(size=(1, 4, *FIELD))
    coords = {dims[1]: latitude, dims[2]: LON}
    options = {"dims": dims, "coords": coords, "units": units, "attrs": attrs}
    return Trajectories(np.arange(4.0), values, **options)


@pytest.mark.parametrize(
    ("dims", "units"),
    [
        (("part", "lat", "lon"), None),
        (("part", "Latitude", "lon"), None),
        (("part", "y", "x"), {"y": "degrees_north"}),
    ],
)
def test_latitudes_are_known_by_name_or_units(dims, units):
    found = area_weights("coslat", FIELD, 2, Metadata.of(data(dims, units)))
    expected = np.broadcast_to(COSINES[:, None], FIELD)
    assert_allclose(found, expected, atol=1e-15)


def test_latitudes_are_known_by_standard_names_and_may_be_in_radians():
    expected = np.broadcast_to(COSINES[:, None], FIELD)
    dims, named = ("part", "y", "x"), {"y": {"standard_name": "latitude"}}
    found = area_weights("coslat", FIELD, 2, Metadata.of(data(dims, attrs=named)))
    assert_allclose(found, expected, atol=1e-15)
    for units in ("radian", "radians", "rad"):
        of_y = data(dims, {"y": units}, np.deg2rad(LAT), named)
        of_lat = data(units={"lat": units}, latitude=np.deg2rad(LAT))
        for turned in (of_y, of_lat):
            found = area_weights("coslat", FIELD, 2, Metadata.of(turned))
            assert_allclose(found, expected, atol=1e-15)


def test_an_array_is_along_space_the_field_or_named_axes():
    metadata = Metadata.of(data())
    space, field = np.arange(15.0).reshape(5, 3), np.arange(30.0).reshape(FIELD)
    assert_allclose(area_weights(space, FIELD, 2, None), np.broadcast_to(space, FIELD))
    assert_allclose(area_weights(field, FIELD, 2, None), field)
    named = xr.DataArray(COSINES, dims="lat")
    expected = np.broadcast_to(COSINES[:, None], FIELD)
    assert_allclose(area_weights(named, FIELD, 2, metadata), expected)
    turned = xr.DataArray(space.T, dims=("lon", "lat"), attrs={"units": "m2"})
    assert_allclose(area_weights(turned, FIELD, 2, metadata), np.broadcast_to(space, FIELD))
    southward = xr.DataArray(COSINES, {"lat": LAT}, "lat")[::-1]
    assert_allclose(area_weights(southward, FIELD, 2, metadata), expected)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("area", "weights='area': choose 'coslat'"),
        (np.ones((3, 5)), r"weights: shape \(3, 5\); the forecast's fields are \(2, 5, 3\)"),
        (np.ones(3), r"weights: shape \(3,\)"),
        (-np.ones((5, 3)), "weights: some are negative"),
        (np.zeros((5, 3)), "all are zero"),
        (np.full((5, 3), np.nan), "not finite"),
        (xr.DataArray(np.ones(4), dims="lat"), "weights: 4 points along 'lat', .* have 5"),
        (xr.DataArray(np.ones(5), dims="y"), r"weights: axes \('y',\), but .* 'lat', 'lon'"),
    ],
)
def test_weights_that_are_refused(weights: Any, message: str):
    with pytest.raises(ValueError, match=message):
        area_weights(weights, FIELD, 2, Metadata.of(data()))


def test_latitudes_that_are_none():
    with pytest.raises(ValueError, match=r"no axis of latitudes is known among \(\)"):
        area_weights("coslat", FIELD, 2, None)
    with pytest.raises(ValueError, match=r"no axis of latitudes is known among .'part', 'y', 'x'"):
        area_weights("coslat", FIELD, 2, Metadata.of(data(("part", "y", "x"))))
    with pytest.raises(ValueError, match="no axis of latitudes is known"):
        area_weights("coslat", FIELD, 2, Metadata.of(data(units={"lat": "km"})))
    with pytest.raises(ValueError, match="5 numbers up to 9000; the axis has 5 points, in degrees"):
        area_weights("coslat", FIELD, 2, Metadata.of(data(latitude=100 * LAT)))


def test_a_score_takes_latitudes_of_the_fit_or_of_the_truth():
    truth = data()
    y = truth.values[0][None]
    mean = torch.as_tensor(0.9 * y)
    mean[..., 1:3, :] += 0.2
    grid = Grid((5, 3), (5, 1), channels=2)
    fc = Gaussian(truth.times[0], mean, torch.ones_like(mean), grid=grid)
    w = COSINES[:, None]
    ratio = (np.square(mean.numpy() - y) * w).sum((2, 3, 4)) / (np.square(y) * w).sum((2, 3, 4))
    expected = np.sqrt(ratio.mean(1))
    assert_allclose(nrmse(fc, truth, weights="coslat"), expected, rtol=1e-12)
    known = Gaussian(fc.times, mean, fc.sd, grid=grid, metadata=Metadata.of(truth))
    assert_allclose(nrmse(known, y, weights="coslat"), expected, rtol=1e-12)
    only_pole = Trajectories(fc.times, np.where(LAT[:, None] == 90, y, np.nan), missing="mask")
    elsewhere = np.broadcast_to(LAT[:, None] < 90, FIELD[1:])
    with pytest.raises(ValueError, match="weights: zero at all points that were observed"):
        nrmse(known, only_pole, weights=elsewhere)
