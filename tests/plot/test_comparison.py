"""Rows of truth, mean, standard deviation and error, for one or several models."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from letters_on_page import overlapping
from named_fields import TIMES, draw, image, untrained_fit
from problems import NUM_POINTS

from pyro_msde import Fit, Grid, Trajectories, plot
from pyro_msde.data import Scaling
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale


def bars(axes):
    """Labels of the colour bars."""
    return [ax.get_ylabel() for ax in axes[0, 0].figure.axes if ax not in axes.ravel()]


def test_images_of_one_axis_are_over_time(case):
    _, truth, fc = case
    axes = plot.forecast_images(fc, truth, trajectory=2)
    mean, sd, y = fc.mean[2].numpy(), fc.sd[2].numpy(), truth.values[2]
    assert axes.shape == (4, 1)
    for ax, values in zip(axes[:, 0], (y, mean, sd, np.abs(mean - y)), strict=True):
        assert np.array_equal(image(ax), values.T)
    limits = [
        ax.images[0].get_clim() if ax.images else ax.collections[0].get_clim() for ax in axes[:, 0]
    ]
    assert limits[0] == limits[1]
    assert limits[2] == limits[3]
    assert (axes[3, 0].get_xlabel(), axes[3, 0].get_ylabel()) == ("t (day)", "s (km)")
    assert bars(axes) == ["h: truth (m)", "h: mean (m)", "h: sd (m)", "h: |error| (m)"]
    draw(axes)


def test_images_of_two_axes_are_at_the_times_chosen(plane):
    _, truth, fc = plane
    axes = plot.forecast_images(fc, truth, times=[4.0, 4.48], channel=-1, signed=True)
    assert axes.shape == (4, 2)
    for column, i in zip(axes.T, (0, 3), strict=True):
        mean, sd, y = fc.mean[i, 1].numpy(), fc.sd[i, 1].numpy(), truth.values[0][i, 1]
        for ax, values in zip(column, (y, mean, sd, mean - y), strict=True):
            assert np.array_equal(image(ax), values.T)
    low, high = axes[3, 0].images[0].get_clim()
    assert low == -high  # white is zero
    assert low == axes[3, 1].images[0].get_clim()[0]
    assert [ax.get_title() for ax in axes[0]] == ["t = 4 day", "t = 4.5 day"]
    assert (axes[3, 0].get_xlabel(), axes[3, 0].get_ylabel()) == ("a (km)", "b (km)")
    parts = ("truth", "mean", "sd", "error")
    words = [" ".join(name.split()) for name in bars(axes)]
    assert words == [f"w, second: {part} (m)" for part in parts]
    draw(axes)


def test_forecasts_without_a_truth_are_mean_and_spread(case, plane):
    _, _, fc = case
    axes = plot.forecast_images(fc, trajectory=1)
    assert axes.shape == (2, 1)
    for ax, values in zip(axes[:, 0], (fc.mean[1], fc.sd[1]), strict=True):
        assert np.array_equal(image(ax), values.numpy().T)
    assert [ax.get_clim()[0] for ax in (axes[1, 0].images or axes[1, 0].collections)] == [0]
    draw(axes)
    _, _, fc = plane
    axes = plot.forecast_images(fc, times=[4.2], channel=1)
    assert np.array_equal(image(axes[0, 0]), fc.mean[1, 1].numpy().T)
    assert np.array_equal(image(axes[1, 0]), fc.sd[1, 1].numpy().T)
    with pytest.raises(ValueError, match="trajectory: 1, but the forecast has 1"):
        plot.forecast_images(fc, trajectory=1)
    with pytest.raises(ValueError, match="signed: there is no error without a truth"):
        plot.forecast_images(fc, signed=True)
    with pytest.raises(ValueError, match="truth: got None"):
        plot.forecast_comparison({"fc": fc}, None)


def test_long_names_of_colour_bars_are_in_two_lines_beside_their_images():
    rng = np.random.default_rng(3)
    name = "specific_humidity"
    units = {"t": "K", name: "kg kg-1"}
    values = rng.normal(size=(1, 4, 2, NUM_POINTS)).astype(np.float32)
    data = Trajectories(TIMES[:4], values, channel_names=["t", name], units=units)
    model = multiscale.like(data, n_eta=0, components=2, width=3)
    fit = Fit(model, AmortizedGP(model), Scaling((1.0, 1.0), 80.0), has_channel=True)
    axes = plot.forecast_images(fit.forecast(data, num_samples=2), data, channel=name)
    parts = ("truth", "mean", "sd", "|error|")
    assert bars(axes) == [f"{name}:\n{part} (kg kg-1)" for part in parts]
    assert overlapping(axes) == []


def test_models_stand_beside_each_other_on_one_scale(case):
    _, truth, fc = case
    closure = untrained_fit(0).predict(truth.values[0][0], TIMES, num_samples=3)
    axes = plot.forecast_comparison({"closure": closure, "both scales": fc}, truth)
    assert [ax.get_title() for ax in axes[0]] == ["closure", "both scales"]
    y = truth.values[0]
    for column, mean, sd in (
        (axes[:, 0], closure.mean.numpy(), closure.sd.numpy()),
        (axes[:, 1], fc.mean[0].numpy(), fc.sd[0].numpy()),
    ):
        for ax, values in zip(column, (y, mean, sd, np.abs(mean - y)), strict=True):
            assert np.array_equal(image(ax), values.T)
    for row in axes:
        limits = {x.get_clim() for ax in row for x in (*ax.images, *ax.collections)}
        assert len(limits) == 1
    draw(axes)


def test_models_of_two_axes_are_compared_at_one_time(plane):
    fit, truth, fc = plane
    other = fit.predict(truth.values[0][0], truth.times[0], num_samples=2, seed=1)
    _, given = plt.subplots(4, 2)
    axes = plot.forecast_comparison({"A": fc, "B": other}, truth, time=4.21, axes=given)
    assert (axes == given).all()
    assert np.array_equal(image(axes[1, 1]), other.mean[1, 0].numpy().T)
    assert axes[0, 1].get_title() == "B\nt = 4.2 day"
    last = plot.forecast_comparison({"A": fc}, truth)
    assert np.array_equal(image(last[0, 0]), truth.values[0][-1, 0].T)


def test_forecasts_that_cannot_be_compared_are_refused(case):
    fit, truth, fc = case
    with pytest.raises(ValueError, match="forecasts: empty"):
        plot.forecast_comparison({}, truth)
    late = fit.predict(truth.values[0][0], TIMES[1:], t0=4.0, num_samples=2)
    with pytest.raises(ValueError, match="'late' has other times or another grid"):
        plot.forecast_comparison({"fc": fc, "late": late}, truth)
    with pytest.raises(ValueError, match="axes: 3 given, but the picture has 4 panels"):
        plot.forecast_images(fc, truth, axes=np.array([None] * 3))
    solid = replace(fc, model=SimpleNamespace(grid=Grid((6, 10, 4), (3, 2, 2))))
    with pytest.raises(ValueError, match="3 axes of space"):
        plot.forecast_images(solid, truth)
