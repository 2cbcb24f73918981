"""Snapshots and maps of forecasts: what is drawn, labels with units, whose Axes they are."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from named_fields import HORIZON, TIMES, X, draw, image, line
from problems import NUM_POINTS, tiny_grid, tiny_pair

from pyro_msde import Fit, Trajectories, plot
from pyro_msde.data import Scaling


def test_snapshots_draw_truth_mean_and_two_standard_deviations(case):
    _, truth, fc = case
    axes = plot.forecast_snapshots(fc, truth, trajectory=1, times=[4.0, 4.31, 4.9])
    assert len(axes) == 3
    for ax, i in zip(axes, (0, 2, 6), strict=True):
        assert np.array_equal(line(ax, "truth"), truth.values[1][i])
        assert np.array_equal(line(ax, "mean"), fc.mean[1, i])
        assert np.array_equal(ax.lines[0].get_xdata(), X)
        band = ax.collections[0].get_paths()[0].vertices
        mean, sd = fc.mean[1, i].numpy(), fc.sd[1, i].numpy()
        low, high = (mean - 2 * sd).min(), (mean + 2 * sd).max()
        assert np.allclose([band[:, 1].min(), band[:, 1].max()], [low, high], rtol=1e-6, atol=0)
    assert [ax.get_title(loc="right") for ax in axes] == [
        f"t = {t} day" for t in ("4", "4.3", "4.9")
    ]
    assert axes[-1].get_xlabel() == "s (km)"
    assert axes[1].get_ylabel() == "h (m)"
    names = [text.get_text() for text in axes[0].figure.legends[0].get_texts()]
    assert names == ["truth", "mean", "mean ± 2 sd"]
    draw(axes)


def test_points_known_by_names_are_drawn_where_the_grid_has_them(case):
    fit, truth, fc = case
    names = [f"s{i:02d}" for i in range(NUM_POINTS)]
    named = Trajectories(truth.times, truth.values, dims=["station"], coords={"station": names})
    axes = plot.forecast_snapshots(fc, named)
    assert np.array_equal(axes[0].lines[0].get_xdata(), fc.grid.coordinates[0])
    draw(axes)
    draw(plot.forecast_images(fc, named))
    draw(plot.latent_paths(fc, named))
    draw(plot.smoothing_kernel(fit, data=named))
    draw(plot.power_spectra(fit, named.values[0], data=named))


def test_snapshots_are_five_from_first_to_last(case):
    _, truth, fc = case
    titles = [ax.get_title(loc="right") for ax in plot.forecast_snapshots(fc, truth)]
    assert titles == [f"t = {TIMES[i]:.4g} day" for i in (0, 2, 3, 4, 6)]


def test_an_array_of_truth_is_drawn_without_units(case):
    _, truth, fc = case
    axes = plot.forecast_snapshots(fc, np.stack(truth.values), trajectory=2, times=2)
    assert np.array_equal(line(axes[1], "truth"), truth.values[2][-1])
    assert axes[1].get_xlabel() == "x"
    assert axes[1].get_title(loc="right") == "t = 4.9"


def test_a_forecast_of_one_field_is_set_against_the_trajectory_asked_for(case):
    fit, truth, _ = case
    fc = fit.predict(truth.values[2][0], TIMES[1:4], t0=4.0, num_samples=2)
    axes = plot.forecast_snapshots(fc, truth, trajectory=2, times=3)
    assert np.array_equal(line(axes[2], "truth"), truth.values[2][3])
    assert np.array_equal(line(axes[2], "mean"), fc.mean[2])


def test_spacetime_draws_four_maps_on_two_scales(case):
    _, truth, fc = case
    axes = plot.forecast_spacetime(fc, truth, trajectory=1)
    mean, sd, y = fc.mean[1].numpy(), fc.sd[1].numpy(), truth.values[1]
    assert axes.shape == (2, 2)
    assert np.array_equal(image(axes[0, 0]), y.T)
    assert np.array_equal(image(axes[0, 1]), mean.T)
    assert np.array_equal(image(axes[1, 0]), np.abs(mean - y).T)
    assert np.array_equal(image(axes[1, 1]), sd.T)
    for row in axes:
        limits = [x.get_clim() for ax in row for x in (*ax.images, *ax.collections)]
        assert limits[0] == limits[1]
    low, high = axes[0, 0].images[0].get_clim()
    assert (low, high) == (-np.abs(y).max(), np.abs(y).max())  # white is zero
    assert axes[1, 0].images[0].get_clim()[0] == 0
    assert axes[1, 1].get_xlabel() == "t (day)"
    assert axes[0, 0].get_ylabel() == "s (km)"
    # times are uneven: borders lie half way between them
    assert np.allclose(axes[0, 0].get_xlim(), [3.95, 5.0], rtol=0, atol=1e-9)
    bars = [ax for ax in axes[0, 0].figure.axes if ax not in axes.ravel()]
    assert [bar.get_ylabel() for bar in bars] == ["h (m)", "h (m)"]
    draw(axes)


def test_a_field_without_signs_has_a_sequential_map(case):
    _, truth, fc = case
    axes = plot.forecast_spacetime(fc, np.stack(truth.values) ** 2)
    assert axes[0, 0].images[0].get_clim()[0] == 0
    assert axes[0, 0].images[0].get_cmap().name == "viridis"


def test_pictures_are_drawn_into_the_axes_given(case):
    fit, truth, fc = case
    figure, grid = plt.subplots(2, 2)
    assert list(plot.forecast_snapshots(fc, truth, times=2, axes=grid[0])) == list(grid[0])
    assert grid[0, 0].get_legend() is not None
    assert not figure.legends
    assert (plot.forecast_spacetime(fc, truth, axes=grid) == grid).all()
    assert list(plot.latent_paths(fc, axes=grid[1])) == list(grid[1])
    assert list(plot.scale_separation(fit, truth.values[0][0], axes=grid[:, 1])) == list(grid[:, 1])
    assert plot.coverage_by_lead(fc, truth, bins=2, ax=grid[0, 0]) is grid[0, 0]
    assert plot.smoothing_kernel(fit, ax=grid[1, 1]) is grid[1, 1]
    assert len(plt.get_fignums()) == 1
    with pytest.raises(ValueError, match="axes: 4 given, but the picture has 2 panels"):
        plot.latent_paths(fc, axes=grid)


def test_new_figures_are_a_column_wide(case):
    _, truth, fc = case
    for axes in (plot.forecast_spacetime(fc, truth), plot.forecast_snapshots(fc, truth)):
        assert axes.ravel()[0].figure.get_size_inches()[0] == pytest.approx(3.4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trajectory": 3}, "trajectory: 3, but the forecast has 3"),
        ({"channel": 1}, "channel: 1, but fields have 1"),
        ({"times": 0}, "times: 0"),
    ],
)
def test_what_the_forecast_lacks_is_refused(case, options, message):
    _, truth, fc = case
    with pytest.raises(ValueError, match=message):
        plot.forecast_snapshots(fc, truth, **options)


def test_one_channel_is_drawn_with_its_name():
    grid = tiny_grid(channels=2)
    model, guide = tiny_pair(0, grid=grid)
    fit = Fit(model, guide, Scaling((2.0, 5.0), HORIZON), has_channel=True)
    values = np.random.default_rng(0).normal(size=(1, 3, 2, NUM_POINTS)).astype(np.float32)
    truth = Trajectories(
        TIMES[:3], values, dims=("part", "x"), coords={"part": ["first", "second"]}
    )
    fc = fit.predict(values[:, 0], TIMES[:3], num_samples=2)
    axes = plot.forecast_snapshots(fc, truth, channel=1, times=1)
    assert np.array_equal(line(axes[0], "truth"), values[0, 0, 1])
    assert np.array_equal(line(axes[0], "mean"), fc.mean[0, 0, 1])
    assert axes[0].get_ylabel() == "u, second"


def test_a_truth_of_other_times_or_shape_is_refused(case):
    fit, truth, fc = case
    other = fit.predict(truth.values[0][0], [4.0, 4.2], num_samples=2)
    with pytest.raises(ValueError, match=r"t=4\.2; the nearest is at t=4\.[13]"):
        plot.forecast_snapshots(other, truth)
    with pytest.raises(ValueError, match=r"truth: shape \(7, 30\)"):
        plot.forecast_spacetime(fc, truth.values[0])


def test_fields_of_two_axes_are_refused(plane):
    fc = plane[2]
    with pytest.raises(ValueError, match="2 axes of space"):
        plot.forecast_spacetime(fc, np.zeros(3))


def test_overview_sets_snapshots_beside_maps_with_one_legend(case):
    _, truth, fc = case
    figure = plot.forecast_overview(fc, truth, trajectory=1)
    left, right = figure.subfigs
    snapshots = left.axes
    assert len(snapshots) == 5
    for ax, i in zip(snapshots, (0, 2, 3, 4, 6), strict=True):
        assert np.array_equal(line(ax, "truth"), truth.values[1][i])
    assert all(ax.get_legend() is None for ax in snapshots)
    assert [t.get_text() for t in left.legends[0].get_texts()] == ["truth", "mean", "mean ± 2 sd"]
    maps = right.axes[:4]
    assert np.array_equal(image(maps[0]), truth.values[1].T)
    assert np.array_equal(image(maps[3]), fc.sd[1].numpy().T)
    draw(snapshots)
