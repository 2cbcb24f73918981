"""Maps lie as maps do, land is grey, times are dates, and no label lies on another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import matplotlib.dates as mdates
import matplotlib.pyplot as plt
import numpy as np
import pytest
from letters_on_page import overlapping
from named_fields import image, land, sea_data, sea_fit
from numpy.testing import assert_allclose, assert_array_equal
from problems import NUM_POINTS, tiny_model, tiny_pair

from pyro_msde import Fit, Grid, Trajectories, plot
from pyro_msde.data import Metadata, Reference, Scaling, TimeUnits
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale
from pyro_msde.networks import MultiscaleDrift, PolynomialMLP
from pyro_msde.plot.dates import date_positions, date_titles
from pyro_msde.plot.scene import Words
from pyro_msde.plot.space_axes import Axis, aspect, lies_across
from pyro_msde.plot.style import value_colours

GREY = round(0.75 * 255)


def drawn(ax: Any) -> np.ndarray:
    """The page (row, column, colour)."""
    ax.figure.canvas.draw()
    return np.asarray(ax.figure.canvas.buffer_rgba())


def pixel(page: np.ndarray, ax: Any, x: float, y: float) -> tuple[int, ...]:
    """Colour (red, green, blue) of the page at a point in the Axes' units."""
    column, row = ax.transData.transform((x, y))
    return tuple(int(c) for c in page[len(page) - 1 - int(row), int(column), :3])


def ticks(axis: Any) -> list[str]:
    """Numbers along an axis, from end to end."""
    axis.axes.figure.canvas.draw()
    low, high = sorted(axis.get_view_interval())
    return [
        tick.label1.get_text()
        for tick in axis.get_major_ticks()
        if low <= tick.get_loc() <= high and tick.label1.get_text()
    ]


def winds(lon: np.ndarray, lat: np.ndarray) -> Any:
    """Two channels of winds, an untrained fit of them, and their forecast."""
    values = np.random.default_rng(5).normal(size=(1, 4, 2, len(lat), len(lon)))
    hours = np.datetime64("2000-01-01") + 6 * np.arange(4) * np.timedelta64(1, "h")
    units = {"u10": "m s**-1", "v10": "m s**-1", "lon": "degrees_east", "lat": "degrees_north"}
    options: dict[str, Any] = {"channel_names": ["u10", "v10"], "dims": ("channel", "lat", "lon")}
    coords = {"lat": lat, "lon": lon}
    data = Trajectories(hours, values.astype(np.float32), coords=coords, units=units, **options)
    model = multiscale.like(data, n_eta=0, coarse=(3, 4), components=2, width=3)
    scaling = Scaling((1.0, 1.0), 1e7)
    fit = Fit(model, AmortizedGP(model), scaling, has_channel=True, metadata=Metadata.of(data))
    return fit.forecast(data, num_samples=2), data


@pytest.fixture(scope="module")
def globe():
    """Winds over the whole globe, from Greenwich eastwards."""
    return winds(np.arange(0.0, 360, 15), np.linspace(82.5, -82.5, 12))


@pytest.fixture(scope="module")
def sea():
    """A fit with a reference of 285 K, its data, their forecast."""
    fit, data = sea_fit(Reference(np.full((1, 1, 1, 1), 285.0))), sea_data(285.0)
    return fit, data, fit.forecast(data, num_samples=3)


@pytest.fixture(scope="module")
def column():
    """Temperatures at pressures, daily from 2001-01-30: a fit, its data, their forecast."""
    model, guide = tiny_pair(2)
    days = np.datetime64("2001-01-30") + np.arange(7) * np.timedelta64(1, "D")
    rng = np.random.default_rng(1)
    values = 250 + rng.normal(size=(1, 7, NUM_POINTS)).astype(np.float32)
    pressure = np.linspace(1000, 100, NUM_POINTS)
    units = {"t": "K", "p": "hPa"}
    data = Trajectories(days, values, name="t", dims=("p",), coords={"p": pressure}, units=units)
    fit = Fit(model, guide, Scaling((1.0,), 5e7), metadata=Metadata.of(data))
    return fit, data, fit.forecast(data, num_samples=3)


def test_longitude_is_horizontal_and_north_is_up(sea):
    _, data, fc = sea
    axes = plot.forecast_images(fc, data, times=[4.6])
    ax = axes[1, 0]
    assert {a.get_xlabel() + a.get_ylabel() for a in axes.ravel()} == {""}  # degrees say it
    assert set(ticks(axes[-1, 0].xaxis)) == {"0°", "90°E", "180°", "90°W"}
    assert set(ticks(ax.yaxis)) <= {"60°S", "30°S", "0°", "30°N", "60°N"}
    assert_array_equal(image(ax), fc.mean[0, -1].numpy())  # rows of an image are latitudes
    (low, high), (west, east) = ax.get_ylim(), ax.get_xlim()
    assert (low, high, west, east) == (-80, 80, -15, 345)
    # the grid from −70° to 70° is around the equator, where degrees are as long both ways
    assert ax.get_aspect() == pytest.approx(1.0)


def test_an_array_of_truth_is_drawn_with_the_names_of_the_fit(sea):
    _, _, fc = sea
    one = replace(fc, paths=fc.paths[:, :, :1], _cache={}, _kept=[])
    axes = plot.forecast_images(one, np.zeros(one.shape), times=1)
    assert "90°E" in ticks(axes[-1, 0].xaxis)


@pytest.mark.parametrize(
    "columns", [1, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3, 4))]
)
def test_maps_of_the_globe_fill_the_page(globe, columns):
    fc, data = globe
    axes = plot.forecast_images(fc, data, times=columns, channel="v10")
    assert overlapping(axes) == []
    figure = axes[0, 0].figure
    assert figure.get_figwidth() == (3.4 if columns == 1 else 7.0)
    boxes = np.array([[ax.get_window_extent().bounds for ax in row] for row in axes])
    inches = boxes / figure.dpi
    assert inches[..., 3].min() > 0.6  # nearly as high as the name of a colour bar
    # what lies between one map and the next holds no more than ticks
    assert (inches[:-1, :, 1] - inches[1:, :, 1] - inches[1:, :, 3]).max() < 0.3
    assert (inches[:, 1:, 0] - inches[:, :-1, 0] - inches[:, :-1, 2]).max(initial=0) < 0.3
    names = [ax.get_ylabel() for ax in figure.axes if ax not in axes.ravel()]
    parts = ("truth", "mean", "sd", "|error|")
    assert [" ".join(n.split()) for n in names] == [f"v10: {p} (m s**-1)" for p in parts]
    assert max(name.count("\n") for name in names) <= 1
    assert len(ticks(axes[-1, 0].xaxis)) >= 3 - (columns == 4)
    assert set(ticks(axes[-1, 0].xaxis)) <= {
        "0°",
        "60°E",
        "90°E",
        "120°E",
        "180°",
        "120°W",
        "90°W",
        "60°W",
    }


@pytest.mark.parametrize(
    ("west", "east"),
    [
        (100.0, 180.0),
        *(pytest.param(*w, marks=pytest.mark.slow) for w in ((0.0, 30.0), (-4.0, 4.0))),
    ],
)
def test_degrees_of_a_box_do_not_overlap(west, east):
    fc, data = winds(np.linspace(west, east, 9), np.linspace(0, 20, 9))
    axes = plot.forecast_images(fc, data, times=2)
    assert overlapping(axes) == []
    assert len(ticks(axes[-1, 0].xaxis)) >= 2


def test_descending_latitudes_are_drawn_north_up():
    grid = Grid((8, 12), (4, 3), boundary="neumann", lower=(70, 0), upper=(30, 120))
    macro, micro = PolynomialMLP([9 + 1, 7, 1], 3), PolynomialMLP([1 + 12, 11, 1], 3)
    model = tiny_model(1, grid=grid, drift=MultiscaleDrift(grid, 1, macro, micro, half_width=1))
    lat, lon = 67.5 - 5 * np.arange(8), 5 + 10.0 * np.arange(12)
    values = np.broadcast_to(lat[:, None], (1, 3, 8, 12)).astype(np.float32)
    data = Trajectories(
        [0.0, 0.1, 0.2], values, dims=("lat", "lon"), coords={"lat": lat, "lon": lon}
    )
    fit = Fit(model, AmortizedGP(model), Scaling((50.0,), 80.0))
    axes = plot.forecast_images(fit.forecast(data, num_samples=2), data, times=1)
    ax = axes[0, 0]
    assert ax.get_ylim() == (30, 70)
    assert ax.get_aspect() == pytest.approx(1 / np.cos(np.deg2rad(50)))
    colours = plt.get_cmap("viridis")(np.array([0.0, 1.0]), bytes=True)[:, :3]
    assert pixel(drawn(ax), ax, 60, 32.5) == tuple(colours[0])  # the least in the south
    assert pixel(drawn(ax), ax, 60, 67.5) == tuple(colours[1])


@pytest.mark.parametrize(
    ("first", "second", "across"),
    [
        (("lat", None), ("lon", None), False),
        (("a", "degrees_north"), ("b", "degrees_east"), False),
        (("lon", None), ("lat", None), True),
        (("y", "m"), ("x", "m"), False),
        (("lev", "hPa"), ("lat", None), False),
        (("x", "m"), ("z", "m"), True),
        (("a", None), ("b", None), True),
        (("b", None), ("longitude", None), False),
        (("lat", None), ("b", None), False),
    ],
)
def test_which_axis_lies_across(first, second, across):
    x = np.arange(3.0)
    assert lies_across(Axis(first[0], x, first[1]), Axis(second[0], x, second[1])) == across


def test_maps_in_radians_are_as_wide_as_those_in_degrees():
    lat, lon = np.linspace(40.0, 60.0, 5), np.linspace(0.0, 30.0, 7)
    expected = aspect(Axis("lon", lon, None), Axis("lat", lat, None))
    assert expected == pytest.approx(1 / np.cos(np.deg2rad(50)))
    turned = (Axis(n, np.deg2rad(x), "radians") for n, x in (("lon", lon), ("lat", lat)))
    assert aspect(*turned) == pytest.approx(expected)


def test_attributes_say_what_an_axis_is():
    x = np.arange(3.0)
    assert Axis("a", x, None, {"axis": "Z"}).rank == 2
    assert Axis("a", x, "1", {"standard_name": "latitude"}).is_latitude
    assert Axis("a", x, "radian", {"standard_name": "latitude"}).rank == 1
    assert Axis("nav_lon", x, "degrees").rank == 0
    assert Axis("lat", x, "km").rank == 1
    assert Axis("a", x, "m", {"positive": "down"}).points_down
    assert not Axis("lev", x, "m", {"positive": "up"}).points_down
    assert Axis("p", x, "hPa").points_down


def test_aspects():
    def axis(name, ends, units=None):
        return Axis(name, np.array(ends), units)

    lon, lat = axis("lon", [-80.0, 40.0]), axis("lat", [40.0, 80.0])
    assert aspect(lon, lat) == pytest.approx(2.0)  # at 60° a degree of longitude is half as long
    assert aspect(axis("x", [0, 2.0], "m"), axis("y", [0, 1.0], "m")) == 1
    assert aspect(axis("x", [0, 2.0], "km"), axis("z", [0, 1.0], "m")) is None
    assert aspect(lat, axis("p", [100.0, 1000.0], "hPa")) is None
    assert aspect(axis("lon", [0, 359.0]), axis("lat", [-5, 5.0])) is None  # a line


def test_land_and_gaps_are_grey(sea):
    _, data, fc = sea
    axes = plot.forecast_images(fc, data, times=[4.6])
    lat, lon = data.coords["lat"], data.coords["lon"]
    gaps, page = np.isnan(data.values[0][-1]), drawn(axes[0, 0])
    for row, grey in zip(axes[:, 0], (gaps, ~land(), ~land(), gaps), strict=True):
        for i, j in ((0, 2), (5, 6), (7, 1), *np.argwhere(gaps & land())[:3], (6, 10)):
            colour = pixel(page, row, lon[j], lat[i])
            assert (colour == (GREY, GREY, GREY)) == bool(grey[i, j])


def test_a_map_without_a_truth_has_dates_units_and_land(sea):
    fit, data, _ = sea
    dated = {"units": {**data.units, "time": "days since 2000-01-01"}, "calendar": "standard"}
    fit = replace(fit, metadata=replace(fit.metadata, **dated))
    fc = fit.predict(data.values[0][0], np.array([4.0, 5.0]), t0=4.0, num_samples=3)
    axes = plot.forecast_images(fc, times=2, anomalies=True)
    assert axes.shape == (2, 2)
    assert_allclose(image(axes[0, 1]), fc.mean[1] - 285, rtol=0, atol=1e-12)
    assert [ax.get_title() for ax in axes[0]] == ["2000-01-05", "2000-01-06"]
    names = [ax.get_ylabel() for ax in axes[0, 0].figure.axes if ax not in axes.ravel()]
    assert all("(K)" in name for name in names)
    page = drawn(axes[0, 0])
    for ax in axes.ravel():
        assert pixel(page, ax, 60.0, -70.0) == (GREY, GREY, GREY)
        assert pixel(page, ax, 60.0, 70.0) != (GREY, GREY, GREY)
    assert overlapping(axes) == []


def test_a_snapshot_wholly_missing_is_grey(sea):
    _, data, fc = sea
    axes = plot.forecast_images(fc, data, trajectory=1, times=[4.3])
    assert pixel(drawn(axes[0, 0]), axes[0, 0], 300.0, 50.0) == (GREY, GREY, GREY)
    low, high = axes[1, 0].images[0].get_clim()
    assert 270 < low < high < 300


def test_colours_of_fields_with_and_without_signs():
    def shown(*ends):
        colours = value_colours(np.array([*ends, np.nan]))
        return colours["cmap"], colours["vmin"], colours["vmax"]

    assert shown(-3.0, 2.0) == ("RdBu_r", -3, 3)
    assert shown(270.0, 300.0) == ("viridis", 270, 300)
    assert shown(1.0, 9.0) == ("viridis", 0, 9)
    assert shown(-0.01, 9.0) == ("viridis", -0.01, 9)
    assert shown(-30.0, -20.0) == ("viridis", -30, -20)
    assert shown(-9.0, 0.1) == ("viridis", -9, 0.1)
    assert shown(5.0, 5.0) == ("viridis", 0, 5)
    assert shown(0.0, 0.0) == ("viridis", 0, 1)
    assert value_colours(np.array([np.nan]), np.array([4.0, 5.0]))["vmin"] == 4


def test_anomalies_diverge_from_white_at_the_reference(sea):
    _, data, fc = sea
    axes = plot.forecast_images(fc, data, times=[4.6], anomalies=True)
    assert_allclose(image(axes[0, 0]), data.values[0][-1] - 285, rtol=0, atol=1e-12)
    assert_allclose(image(axes[1, 0]), fc.mean[0, -1] - 285, rtol=0, atol=1e-12)
    low, high = axes[0, 0].images[0].get_clim()
    assert low == -high
    plain = plot.forecast_images(fc, data, times=[4.6])
    for row in (2, 3):
        assert_array_equal(image(axes[row, 0]), image(plain[row, 0]))
    with pytest.raises(ValueError, match="anomalies: the fit has no reference"):
        plot.forecast_images(replace(fc, reference=None), data, anomalies=True)


def test_pressure_falls_upwards_over_dates(column):
    _, data, fc = column
    axes = plot.forecast_spacetime(fc, data)
    ax = axes[1, 0]
    bottom, top = ax.get_ylim()
    assert bottom > top
    assert ax.get_ylabel() == "p (hPa)"
    assert_allclose(ax.get_xlim(), mdates.date2num(["2001-01-29T12", "2001-02-05T12"]))
    ax.figure.canvas.draw()
    words = [t.get_text() for t in ax.get_xticklabels()]
    assert 2 <= len([w for w in words if w]) <= 4
    assert ax.xaxis.get_offset_text().get_text().startswith("2001-")
    assert plot.forecast_snapshots(fc, data, times=2)[1].get_title(loc="right") == "2001-02-05"
    assert overlapping(plot.latent_paths(fc, data)) == []


def test_dates_of_other_calendars_are_in_the_months_of_their_names():
    units = TimeUnits("days since 1999-12-30", "360_day")
    places = date_positions(units, np.arange(0.0, 361.0))  # to the 30th of December 2000
    assert (np.diff(places) > 0).all()
    named = {str(d)[:10]: p for d, p in zip(units.dates(np.arange(361.0)), places, strict=True)}
    assert named["2000-01-01"] == mdates.date2num(np.datetime64("2000-01-01"))
    assert named["2000-03-01"] == mdates.date2num(np.datetime64("2000-03-01"))
    assert mdates.num2date(named["2000-02-30"]).strftime("%Y-%m-%d") == "2000-02-29"
    assert date_positions(TimeUnits("days"), np.arange(3.0)) is None
    assert date_positions(TimeUnits("days since -5000-01-01", "360_day"), np.arange(3.0)) is None


def test_a_strip_is_as_long_as_its_degrees_and_names_are_above():
    fc, data = winds(np.linspace(0, 359, 36), np.linspace(-9.5, 9.5, 6))
    axes = plot.forecast_images(fc, data, times=1)
    assert [ax.get_aspect() for ax in axes.flat] == pytest.approx([1.0] * 4)
    assert axes[0, 0].figure.get_figwidth() == 7.0
    parts = ("truth", "mean", "sd", "|error|")
    names = [ax.get_title(loc="left") for ax in axes[:, 0]]
    assert names == [f"u10: {part} (m s**-1)" for part in parts]
    assert overlapping(axes) == []
    assert axes[0, 0].get_window_extent().width / axes[0, 0].figure.dpi > 5.5


def test_strips_in_columns_that_would_be_lines_are_stretched():
    fc, data = winds(np.linspace(0, 359, 36), np.linspace(-9.5, 9.5, 6))
    axes = plot.forecast_images(fc, data, times=3)
    assert overlapping(axes) == []
    assert axes[0, 0].get_window_extent().height / axes[0, 0].figure.dpi > 0.5


def test_titles_have_the_digits_that_tell_times_apart():
    words = Words((), (), "u", None, "s")
    assert words.at_times([99.95, 100.0, 100.05]) == ["t = 99.95 s", "t = 100 s", "t = 100.05 s"]
    assert words.at_times([0.0, 1 / 3]) == ["t = 0 s", "t = 0.3333 s"]
    assert words.at_times([0.5, 0.5]) == ["t = 0.5 s"] * 2


def test_titles_have_times_of_day_where_days_do_not_tell():
    hours = TimeUnits("hours since 2000-01-31 06:00")
    assert date_titles(hours, np.array([0.0, 24.0])) == ["2000-01-31", "2000-02-01"]
    assert date_titles(hours, np.array([0.0, 6.0])) == ["2000-01-31 06:00", "2000-01-31 12:00"]
    assert date_titles(hours, np.array([18.0])) == ["2000-02-01"]
    assert date_titles(TimeUnits("h"), np.array([18.0])) is None


@pytest.mark.parametrize("width", [3.4, 7.0])
@pytest.mark.parametrize("columns", [1, 3])
def test_labels_of_maps_do_not_overlap(sea, width, columns):
    _, data, fc = sea
    axes = None
    if width > 4:
        height = 7.0 / columns + 2
        _, axes = plt.subplots(4, columns, figsize=(width, height), layout="compressed")
    assert overlapping(plot.forecast_images(fc, data, times=columns, axes=axes)) == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [3.4, 7.0])
def test_labels_of_other_pictures_do_not_overlap(sea, column, width):
    def axes(*shape):
        return None if width < 4 else plt.subplots(*shape, figsize=(7, 5), layout="constrained")[1]

    fit, data, fc = sea
    y, times = data.values[0][:3], data.times[0][:3]
    pictures = [
        plot.forecast_images(fc, data, anomalies=True, axes=axes(4, 3)),
        plot.forecast_comparison({"one": fc, "another": fc}, data, axes=axes(4, 2)),
        plot.scale_images(fit, y, times, axes=axes(4, 3)),
        plot.scale_operators(fit, y[0], axes=axes(2, 2)),
        plot.smoothing_kernel(fit, ax=None if width < 4 else axes(1, 1)),
        plot.drift_sensitivity(fit, y, half_width=1, axes=axes(2, 1)),
    ]
    fit, data, fc = column
    pictures += [
        plot.forecast_spacetime(fc, data, axes=axes(2, 2)),
        plot.forecast_images(fc, data, axes=axes(4, 1)),
        plot.forecast_snapshots(fc, data, times=3, axes=axes(3, 1)),
        plot.scale_separation(fit, data.values[0][0], axes=axes(2, 1)),
        plot.latent_paths(fc, data, axes=axes(2, 1)),
    ]
    found = {k: overlapping(each) for k, each in enumerate(pictures)}
    assert not any(found.values()), found
