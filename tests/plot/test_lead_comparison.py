"""A fit beside simple forecasts, by lead time."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from named_fields import draw, line

from pyro_msde import plot
from pyro_msde.baselines import simple_baselines


def table(*dims: str) -> xr.Dataset:
    """Scores as `pyro_msde.compare` gives them."""
    sizes = (3, 4, 2)[: 2 + len(dims)]
    rng = np.random.default_rng(0)
    units = {"rmse": {"units": "K"}, "crps": {"units": "K"}, "coverage": {"level": 0.9}}
    return xr.Dataset(
        {n: (("forecaster", "lead", *dims), rng.uniform(size=sizes), a) for n, a in units.items()},
        {
            "forecaster": ["fit", "persistence", "climatology"],
            "lead": ("lead", [1.0, 2.0, 4.0, 9.0], {"units": "days"}),
        },
    )


def test_lines_are_the_table_in_three_panels():
    scores = table()
    scores["rmse"][1, 3] = np.inf
    axes = plot.comparison_by_lead(scores)
    assert [ax.get_ylabel() for ax in axes] == ["RMSE (K)", "CRPS (K)", "coverage"]
    assert axes[2].get_xlabel() == "lead time (days)"
    for ax, name in zip(axes, ("rmse", "crps", "coverage"), strict=True):
        for forecaster in ("fit", "persistence", "climatology"):
            expected = scores[name].sel(forecaster=forecaster).values
            expected = np.where(np.isfinite(expected), expected, np.nan)
            np.testing.assert_array_equal(line(ax, forecaster), expected)
    draw(axes)


def test_the_legend_fits_the_figure():
    names = ["fit", *(kind.name for kind in simple_baselines())]
    scores = table().isel(forecaster=[0] * len(names)).assign_coords(forecaster=names)
    axes = plot.comparison_by_lead(scores)
    draw(axes)
    figure = axes[0].figure
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width


def test_one_channel_is_drawn_into_axes_of_ones_own():
    scores = table("channel")
    _, given = plt.subplots(3)
    axes = plot.comparison_by_lead(scores, channel=1, axes=given)
    assert (axes == given).all()
    np.testing.assert_array_equal(line(axes[0], "fit"), scores["rmse"][0, :, 1])


def test_a_channel_by_its_name():
    scores = table("channel").assign_coords(channel=["u", "v"])
    axes = plot.comparison_by_lead(scores, channel="v")
    np.testing.assert_array_equal(line(axes[0], "fit"), scores["rmse"][0, :, 1])
    with pytest.raises(ValueError, match=r"channel: 'w' is unknown\. Pass one of 'u', 'v'"):
        plot.comparison_by_lead(scores, channel="w")
    with pytest.raises(
        ValueError, match=r"channel: 'u' is unknown\. Pass one of whole numbers below"
    ):
        plot.comparison_by_lead(table("channel"), channel="u")


def test_units_are_those_of_the_channel():
    scores = table("channel").assign_coords(channel=["t", "z"], units=("channel", ["K", "m"]))
    for name in ("rmse", "crps"):
        del scores[name].attrs["units"]
    axes = plot.comparison_by_lead(scores, channel="z")
    assert [ax.get_ylabel() for ax in axes] == ["RMSE (m)", "CRPS (m)", "coverage"]


def test_other_tables_and_channels_are_refused():
    with pytest.raises(ValueError, match="table: has no scores by forecaster and lead"):
        plot.comparison_by_lead(xr.Dataset())
    with pytest.raises(TypeError, match="table: got int"):
        plot.comparison_by_lead(3)
    with pytest.raises(ValueError, match="channel: 2, but the table has 2"):
        plot.comparison_by_lead(table("channel"), channel=2)
