"""Static fields: from data and files to what the drift is told at coarse points."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyro_msde import Grid, SensorGraph, Trajectories
from pyro_msde.data import Metadata, check_trajectories, static_at_coarse_points
from pyro_msde.models import multiscale

POINTS = (12, 20)
RNG = np.random.default_rng(0)


def fields(boundary="periodic", coarse=(3, 5)):
    grid = Grid(POINTS, coarse, boundary=boundary)
    height = np.add.outer(np.arange(12.0), np.zeros(20)) + 100
    return grid, np.stack([height, RNG.standard_normal(POINTS)])


def test_coarse_points_have_means_around_them_of_size_one():
    grid, static = fields("dirichlet")
    told = static_at_coarse_points(static, grid)
    assert told.shape == (15, 2)
    torch.testing.assert_close(told.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(told.square().mean(0), torch.ones(2))
    height = told[:, 0].reshape(3, 5)
    # walls weigh nothing: a constant stays one, and along the slope there is one value a row
    assert bool((height.diff(dim=0) > 0.5).all())
    assert float(height.std(1).max()) < 1e-4
    assert not static_at_coarse_points(np.full((1, *POINTS), 7.0), grid).any()


def test_a_gaussian_mean_by_hand():
    grid = Grid(20, 5, boundary="periodic")
    field = RNG.standard_normal(20)
    weights = grid.kernel("gaussian", 2)[0].numpy()
    reach = len(weights) // 2
    means = np.array(
        [
            sum(w * field[(i + j - reach) % 20] for j, w in enumerate(weights))
            for i in grid.coarse_index[0]
        ]
    )
    expected = (means - means.mean()) / means.std()
    told = static_at_coarse_points(field[None], grid)[:, 0]
    np.testing.assert_allclose(told, expected, atol=1e-5)


@pytest.mark.parametrize("boundary", ["neumann", "antisymmetric", "replicate"])
def test_padded_and_bounded_grids_and_graphs_take_them(boundary):
    grid, static = fields(boundary, coarse=(5, 7) if boundary != "antisymmetric" else (3, 5))
    assert bool(static_at_coarse_points(static, grid).isfinite().all())
    ring = (np.arange(9)[:, None] + np.array([-1, 1])) % 9
    for graph in (SensorGraph(ring), SensorGraph(ring, channels=2)):
        told = static_at_coarse_points(np.arange(9.0)[None], graph)
        assert told.shape == (9, 1)


def observed(static=None, **options):
    t = np.arange(4.0)
    values = RNG.standard_normal((2, 4, *POINTS))
    return Trajectories(t, values, static=static, dims=["y", "x"], **options)


def test_xarray_gives_back_static_fields_and_broadcasts_them():
    _, static = fields()
    data = observed(static, static_names=["height", "rough"], units={"height": "m"})
    ds = data.to_xarray()
    assert ds.height.dims == ("y", "x")
    again = Trajectories.from_xarray(ds, "u", static=["height", "rough"])
    np.testing.assert_array_equal(again.static, static)
    assert again.static_names == ("height", "rough")
    assert again.units["height"] == "m"
    assert Metadata.of(again).static == ("height", "rough")
    assert again[[1]].thinned(2).static is again.static
    ds["slope"] = ("x", np.arange(20.0))
    ds["turned"] = ds.height.T
    some = Trajectories.from_xarray(ds.transpose("x", ...), "u", static=["slope", "turned"])
    assert some.static.shape == (2, *some.field_shape)
    slope = dict(zip(some.dims, range(2), strict=True))["x"]
    np.testing.assert_array_equal(np.moveaxis(some.static[0], slope, 0)[:, 3], np.arange(20.0))
    np.testing.assert_array_equal(
        some.static[1], static[0] if some.dims == ("y", "x") else static[0].T
    )
    ds["late"] = ("time", np.arange(4.0))
    with pytest.raises(ValueError, match="static: 'late' has dimensions"):
        Trajectories.from_xarray(ds, "u", static=["late"])
    with pytest.raises(ValueError, match="static: no variable 'sea'"):
        Trajectories.from_xarray(ds, "u", static=["sea"])


def test_channels_have_static_fields_in_common():
    data = Trajectories(
        np.arange(3.0), np.ones((1, 3, 2, 5)), static=np.arange(5.0)[None], dims=["channel", "x"]
    )
    assert data.to_xarray().static_0.dims == ("x",)
    model = multiscale.like(data, coarse=5, channels=2)
    check_trajectories("data", model, data)
    assert "static static_0" in repr(data)


@pytest.mark.parametrize(
    ("static", "message"),
    [
        (np.ones((3, 12)), r"static: shape \(3, 12\), where fields are"),
        (np.ones((1, 20, 12)), r"static: shape \(1, 20, 12\)"),
        (np.ones((0, *POINTS)), "static: shape"),
        (3.0, "static: shape"),
        (np.full((1, *POINTS), np.nan), "static: NaN or infinite, 240 of 240"),
    ],
)
def test_fields_that_do_not_suit_the_data_are_refused(static, message):
    with pytest.raises(ValueError, match=message):
        observed(static)
    with pytest.raises(ValueError, match="static_names"):
        observed(fields()[1], static_names=["one"])


def test_models_know_their_static_fields():
    grid, static = fields()
    data = observed(static)
    model = multiscale.like(data, coarse=grid.coarse, boundary="periodic", located=True)
    places = model.drift.net.places
    torch.testing.assert_close(places[:, -2:], static_at_coarse_points(static, model.grid))
    assert places.shape[1] == model.grid.locations().shape[1] + 2
    check_trajectories("data", model, data)
    check_trajectories("data", model, observed())  # the model knows them
    with pytest.raises(ValueError, match="data: its static fields are not those"):
        check_trajectories("data", model, observed(static[::-1]))
    blind = multiscale(grid)
    with pytest.raises(ValueError, match="data: 2 static fields, the model takes none"):
        check_trajectories("data", blind, data)
    with pytest.raises(ValueError, match="static: read from the data"):
        multiscale.like(data, static=static)
    with pytest.raises(ValueError, match="static: the coupling takes none"):
        multiscale(grid, static=static, coupling=True, n_eta=1)
    with pytest.raises(ValueError, match=r"static: shape \(12, 20\); the grid has \(12, 20\)"):
        multiscale(grid, static=static[0])
    with pytest.raises(ValueError, match="static: hold NaN"):
        multiscale(grid, static=np.where(static > 100, np.nan, static))


def test_a_saved_text_is_checked():
    grid, static = fields()
    text = multiscale(grid, static=static).config["static"]
    assert torch.equal(multiscale(grid, static=text).static, multiscale(grid, static=static).static)
    for damaged in (text[:-8], "no text", ""):
        with pytest.raises(ValueError, match="static: its text"):
            multiscale(grid, static=damaged)


def test_a_file_without_an_axis_of_trajectories_has_static_fields():
    _, static = fields()
    ds = observed(static).to_xarray().isel(trajectory=0)
    again = Trajectories.from_xarray(ds, "u", static=["static_1"])
    np.testing.assert_array_equal(again.static, static[1:])


def test_what_stands_on_land_counts_for_nothing():
    x = np.arange(32.0)
    mask = x < 24
    grid = Grid(32, 8, boundary="neumann", mask=mask)
    found = [
        static_at_coarse_points(np.where(mask, x, land)[None], grid) for land in (0.0, -9999.0)
    ]
    torch.testing.assert_close(found[0], found[1])


def test_a_field_without_an_axis_of_static_fields_is_refused():
    t, y = np.arange(3.0), np.random.default_rng(0).random((1, 3, 4, 8))
    with pytest.raises(ValueError, match=r"static: shape \(4, 8\)"):
        Trajectories(t, y, static=y[0, 0])
    two = Trajectories(t, y, static=y[0, 0], channel_names=list("abcd"))
    assert two.static.shape == (4, 8)
