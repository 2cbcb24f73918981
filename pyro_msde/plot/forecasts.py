"""Forecast fields against the truth: snapshots, and maps over space and time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from pyro_msde.data import Trajectories
from pyro_msde.forecasts import Forecast
from pyro_msde.plot.checks import check_forecast
from pyro_msde.plot.dates import format_dates
from pyro_msde.plot.scene import Scene, choose_times
from pyro_msde.plot.style import (
    OKABE_ITO,
    add_image,
    clipped,
    colour_bar,
    letters,
    new_axes,
    panels,
    spread_colours,
    value_colours,
    wide_legend,
)

__all__ = ["forecast_snapshots", "forecast_spacetime"]

Array = NDArray[Any]


def forecast_snapshots(
    fc: Forecast,
    truth: Trajectories | Any,
    *,
    trajectory: int = 0,
    times: int | Sequence[float] = 5,
    channel: int | str = 0,
    axes: Any = None,
) -> Array:
    """Truth, predictive mean and mean ± 2 standard deviations at some times, below each other.

    Args:
        fc: Forecast of fields with one axis of space.
        truth: `Trajectories` that have the forecast's times, or an array shaped as `fc.mean`.
        trajectory: Which one, of both.
        times: How many of the forecast's times, evenly spaced, or times near which to choose.
        channel: Which one, by name or number.
        axes: As many Axes as times. None: new ones.

    Returns:
        (time,) array of the Axes.

    Raises:
        ValueError: More axes of space, a truth of other times or another shape, or another number
            of Axes than times.
    """
    check_forecast("fc", fc, 1)
    scene = Scene.of(fc, truth, trajectory, channel)
    chosen = choose_times(scene.times, times, scene.words)
    drawn, new = panels(
        axes, len(chosen), height=0.45 + 0.8 * len(chosen), sharex=True, sharey=True
    )
    titles = scene.words.at_times(scene.times[chosen])
    for ax, i, title in zip(drawn, chosen, titles, strict=True):
        _snapshot(ax, scene, i)
        ax.set_title(title, loc="right", pad=2, fontsize=letters(ax))
    drawn[-1].set_xlabel(scene.words.space[0].label)
    drawn[len(drawn) // 2].set_ylabel(scene.field_label)
    wide_legend(drawn, new)
    return np.array(drawn, dtype=object)


def _snapshot(ax: Axes, scene: Scene, i: int) -> None:
    x, mean, sd = scene.words.space[0].x, scene.mean[i], scene.sd[i]
    band: dict[str, Any] = dict(color=OKABE_ITO["sky"], alpha=0.45, linewidth=0)
    ax.plot(x, scene.truth[i], color="black", linewidth=1, label="truth")
    ax.plot(x, mean, color=OKABE_ITO["vermilion"], linewidth=1, linestyle="--", label="mean")
    low = np.maximum(mean - 2 * sd, scene.least)
    ax.fill_between(x, low, mean + 2 * sd, label="mean ± 2 sd", zorder=1, **band)
    ax.set_xlim(x.min(), x.max())


def forecast_spacetime(
    fc: Forecast,
    truth: Trajectories | Any,
    *,
    trajectory: int = 0,
    channel: int | str = 0,
    axes: Any = None,
) -> Array:
    """Maps over time and space: truth, mean; absolute error of the mean, standard deviation.

    Truth and mean share one colour scale, error and standard deviation another: where these two
    differ, the forecast is over- or underconfident.

    Args:
        fc: Forecast of fields with one axis of space, or on a graph, whose nodes are drawn in
            their order; at two times or more.
        truth: `Trajectories` that have the forecast's times, or an array shaped as `fc.mean`.
        trajectory: Which one, of both.
        channel: Which one, by name or number.
        axes: (2, 2) Axes. None: new ones.

    Returns:
        (2, 2) array of the Axes.

    Raises:
        ValueError: More axes of space, a truth of other times or shape, not four Axes.
    """
    check_forecast("fc", fc, 1, graphs=True)
    scene = Scene.of(fc, truth, trajectory, channel)
    if axes is None:
        axes = new_axes(2, 2, height=3.3, sharex=True, sharey=True)
    grid = np.array(panels(axes, 4)[0], dtype=object).reshape(2, 2)
    error = np.abs(scene.mean - scene.truth)
    values, spread = value_colours(scene.truth, scene.mean), spread_colours(error, scene.sd)
    _maps(grid[0], scene, {"truth": scene.truth, "mean": scene.mean}, values)
    _maps(grid[1], scene, {"|mean − truth|": error, "standard deviation": scene.sd}, spread)
    across = scene.words.time_axis(scene.times)
    for ax in grid.flat:
        if across.dated:
            format_dates(ax)
    for ax in grid[1]:
        ax.set_xlabel(across.label)
    return grid


def _maps(axes: Array, scene: Scene, fields: dict[str, Array], colours: dict[str, Any]) -> None:
    """Maps of fields (time, x) beside each other, with one colour bar."""
    across, up = scene.words.time_axis(scene.times), scene.words.space[0]
    for ax, (title, values) in zip(axes, fields.items(), strict=True):
        image = add_image(ax, across.x, up.x, values, **colours)
        ax.set_title(title, fontsize=letters(ax))
    extend = clipped(list(fields.values()), colours)
    colour_bar(image, list(axes), scene.field_label, extend=extend)
    axes[0].set_ylabel(up.label)
    if up.points_down:
        axes[0].yaxis.set_inverted(True)
