"""`multiscale.like`: grid, walls, channels and gaps as the data have them."""

import logging
import math
import pickle

import numpy as np
import pytest
import xarray as xr

from pyro_msde import Trajectories
from pyro_msde.grid import Grid, default_coarse
from pyro_msde.models import multiscale
from pyro_msde.runs import rebuild

SMALL = {"width": 4, "components": 2, "rank": 1}


def globe(lon, shape=(), gaps=False, **options):
    lat = np.linspace(80.0, -80.0, 17)
    fields = np.random.default_rng(0).normal(size=(1, 3, *shape, len(lat), len(lon)))
    if gaps:
        fields[..., 2:4, 5:8] = np.nan
        fields[0, 1, ..., 9, 9] = np.nan
    names = (("channel",) if shape else ()) + ("lat", "lon")
    coords = {"lat": lat, "lon": lon}
    return Trajectories([0.0, 1.0, 2.0], fields, dims=names, coords=coords, **options)


def test_the_grid_is_that_of_the_data(caplog):
    lon = np.arange(0.0, 360.0, 15.0)
    data = globe(lon, gaps=True, missing="mask", covariates=[3.0])
    with caplog.at_level(logging.INFO, "pyro_msde"):
        model = multiscale.like(data, n_eta=2, **SMALL)
    grid = model.grid
    assert grid.data_shape == (17, 24)
    assert grid.boundary == ("neumann", "periodic")
    assert (grid.channels, model.n_eta, model.num_covariates) == (1, 2, 1)
    for x, name in zip(grid.coordinates, data.dims, strict=True):
        np.testing.assert_allclose(x, data.coords[name], rtol=1e-12, atol=1e-12)  # rounding
    expected = np.ones((1, 17, 24), bool)
    expected[0, 2:4, 5:8] = False  # a point missing once is no gap of the grid
    np.testing.assert_array_equal(grid.mask, expected)
    (record,) = caplog.records
    assert "17 × 24 points (lat, lon), 6 of them without a field" in record.message
    assert str(grid.boundary) in record.message
    assert rebuild(model.config).grid == grid


@pytest.mark.parametrize(
    ("lon", "units", "boundary"),
    [
        (np.arange(0.0, 360.0, 2.5), None, "periodic"),
        (np.arange(-180.0, 180.0, 20.0)[::-1], None, "periodic"),
        (np.arange(0.0, 361.0, 20.0), None, "neumann"),  # has one place twice
        (np.arange(0.0, 335.0, 20.0), None, "neumann"),
        (np.arange(100.0, 300.0, 20.0), None, "neumann"),
    ],
)
def test_longitudes_that_close_are_a_ring(lon, units, boundary):
    assert multiscale.like(globe(lon), **SMALL).grid.boundary == ("neumann", boundary)


def test_degrees_east_are_longitudes_by_any_name():
    x = np.arange(0.0, 360.0, 30.0)
    fields = np.random.default_rng(0).normal(size=(1, 3, 12))
    for units, boundary in (({"x": "degrees_east"}, "periodic"), ({"x": "degree"}, "neumann")):
        data = Trajectories([0, 1, 2], fields, dims=["x"], coords={"x": x}, units=units)
        assert multiscale.like(data, **SMALL).grid.boundary == (boundary,)


def test_channels():
    lon = np.arange(0.0, 100.0, 10.0)
    named = globe(lon, (2,))
    assert multiscale.like(named, **SMALL).grid.channels == 2
    values = np.stack(named.values)
    given = Trajectories([0, 1, 2], values, channel_names=["a", "b"])
    assert multiscale.like(given, **SMALL).grid.channels == 2
    plain = Trajectories([0, 1, 2], values)
    assert multiscale.like(plain, **SMALL).grid.data_shape == (2, 17, 10)
    assert multiscale.like(plain, channels=2, **SMALL).grid.data_shape == (17, 10)
    assert multiscale.like(globe(lon, (1,)), **SMALL).grid.data_shape == (17, 10)
    with pytest.raises(ValueError, match=r"channels=3: fields are \(2, 17, 10\)"):
        multiscale.like(plain, channels=3)


def test_what_is_said_counts():
    data = globe(np.arange(0.0, 360.0, 15.0), gaps=True, missing="mask")
    mask = np.ones((17, 24), bool)
    mask[0] = False
    grid = multiscale.like(
        data, 1, (4, 6), boundary=["neumann", "replicate"], mask=mask, **SMALL
    ).grid
    assert grid.coarse == (4, 6)
    assert grid.boundary == ("neumann", "replicate")
    np.testing.assert_array_equal(grid.mask[0], mask)
    assert multiscale.like(data, mask=None, **SMALL).grid.mask is None


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (np.zeros((1, 3, 8)), {}, "data: got ndarray. Pass pyro_msde.Trajectories"),
        (globe(np.arange(9.0)), {"grid": 3}, "grid: read from the data"),
        (globe(np.arange(9.0)), {"adjacency": 3}, r"adjacency: .* multiscale\(adjacency="),
        (globe(np.arange(9.0)), {"lower": 3}, "lower: read from the data"),
        (globe(np.arange(9.0) ** 2), {}, r"coords\['lon'\] are not evenly spaced.*Interpolate"),
        (globe(np.arange(9.0)), {"coarse": 3}, "coarse: 1 axes"),
        (globe(np.arange(9.0)), {"mask": "land"}, "mask: its text is no mask"),
    ],
)
def test_what_is_refused(data, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        multiscale.like(data, **options)


def test_coarse_points_by_default_fit_a_budget():
    rng = np.random.default_rng(2)
    for ndim, most in ((1, 64), (2, 128), (3, 128)):
        for _ in range(40):
            shape = tuple(int(n) for n in rng.integers(8, {1: 2000, 2: 300, 3: 60}[ndim], ndim))
            coarse = default_coarse(shape, "neumann")
            grid = Grid(shape, coarse, boundary="neumann")
            assert math.prod(coarse) <= most
            assert min(coarse) >= 3
            # one distance in points, but for axes that have few of them anyway
            free = [s for s, n in zip(grid.stride, coarse, strict=True) if n > 4]
            assert max(free, default=1) <= 2 * min(free, default=1)
    assert default_coarse((1000,), "periodic") == (50,)
    assert default_coarse((4, 2), "neumann") == (4, 2)
    assert default_coarse((37, 49), "dirichlet") == (37, 7)  # of a prime every point


def test_it_is_pickled_by_name():
    assert pickle.loads(pickle.dumps(multiscale)) is multiscale


def test_longitudes_are_known_by_standard_name_and_may_be_in_radians():
    fields = np.random.default_rng(0).normal(size=(1, 3, 12))
    ring = 2 * math.pi * np.arange(12) / 12
    named = {"x": {"standard_name": "longitude"}}
    for x, units in ((np.rad2deg(ring), {}), (ring, {"x": "radians"})):
        options = {"dims": ["x"], "coords": {"x": x}, "units": units}
        data = Trajectories([0, 1, 2], fields, attrs=named, **options)
        assert multiscale.like(data, **SMALL).grid.boundary == ("periodic",)
        data = Trajectories([0, 1, 2], fields, **options)
        assert multiscale.like(data, **SMALL).grid.boundary == ("neumann",)


def test_a_labelled_mask_is_read_by_its_positions():
    data = globe(np.arange(0.0, 360.0, 30.0))
    sea = xr.DataArray(np.ones((17, 12), bool), data.coords, ("lat", "lon"))
    sea[:3, 1:4] = False
    for mask in (sea, sea[::-1], sea[:, ::-1].T):
        grid = multiscale.like(data, mask=mask, **SMALL).grid
        np.testing.assert_array_equal(grid.mask[0], sea.values)
