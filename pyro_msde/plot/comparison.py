"""Forecasts as rows of images: truth, mean, standard deviation, error; one or several models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.data import Trajectories, same_times
from pyro_msde.forecasts import Forecast
from pyro_msde.plot.checks import check_forecast, check_kind
from pyro_msde.plot.images import Canvas, Row, draw_rows
from pyro_msde.plot.scene import Scene, choose_times
from pyro_msde.plot.style import label, signed_colours, spread_colours, value_colours

__all__ = ["check_signed", "forecast_comparison", "forecast_images", "forecast_rows"]

Array = NDArray[Any]


def forecast_images(
    fc: Forecast,
    truth: Trajectories | Any | None = None,
    *,
    trajectory: int = 0,
    times: int | Sequence[float] = 3,
    channel: int | str = 0,
    signed: bool = False,
    anomalies: bool = False,
    axes: Any = None,
) -> Array:
    """Truth, predictive mean, standard deviation and error of the mean, below each other.

    Without a truth, mean and standard deviation alone.

    Fields with one axis of space are drawn over all of the forecast's times, in one column; those
    with two in a column for each time chosen, and likewise those on a graph whose nodes have
    positions. Truth and mean share one colour scale, standard deviation and absolute error
    another: where these two differ, the forecast is over- or underconfident.

    Args:
        fc: Forecast of fields with one or two axes of space.
        truth: `Trajectories` that have the forecast's times, or an array shaped as `fc.mean`. None:
            it is not known yet.
        trajectory: Which one, of both.
        times: For two axes of space, and nodes with positions: how many of the forecast's times,
            evenly spaced, or times near which to choose.
        channel: Which one, by name or number.
        signed: Draw mean − truth, white at zero, instead of its absolute value.
        anomalies: Draw truth and mean less the reference of the fit, white at zero.
        axes: 4 × columns Axes, or 2 × columns without a truth. None: new ones.

    Returns:
        (4, column) array of the Axes, or (2, column).

    Raises:
        ValueError: Three axes of space, a truth of other times or shape, no such trajectory or
            channel, another number of Axes, errors with their sign without a truth.
    """
    check_forecast("fc", fc, 2, graphs=True)
    check_signed(signed, truth)
    scene = Scene.of(fc, truth, trajectory, channel, anomalies, alone=truth is None)
    options = {"signed": signed, "anomalies": anomalies, "alone": truth is None}
    if not Canvas.of(scene.words, scene.times).in_space:
        return _draw([scene], [slice(None)], None, axes, **options)
    chosen = choose_times(scene.times, times, scene.words)
    titles = scene.words.at_times(scene.times[chosen])
    return _draw([scene] * len(chosen), list(chosen), titles, axes, **options)


def forecast_comparison(
    forecasts: Mapping[str, Forecast],
    truth: Trajectories | Any,
    *,
    trajectory: int = 0,
    time: float | None = None,
    channel: int | str = 0,
    signed: bool = False,
    anomalies: bool = False,
    axes: Any = None,
) -> Array:
    """Forecasts of the same truth by several models: rows as `forecast_images`, a column a model.

    Each row has one colour scale for all models.

    Args:
        forecasts: By the title of the column, such as "n_η = 0" and "n_η = 5"; of fields on the
            same grid, with one or two axes of space, at the same times.
        truth: `Trajectories` that have the forecasts' times, or an array shaped as their means.
        trajectory: Which one, of all.
        time: For two axes of space: the time near which to choose. None: the last.
        channel: Which one, by name or number.
        signed: Draw mean − truth, white at zero, instead of its absolute value.
        anomalies: Draw truth and mean less the reference of the fit, white at zero.
        axes: 4 × models Axes. None: new ones.

    Returns:
        (4, model) array of the Axes.

    Raises:
        ValueError: No forecasts, or forecasts of other times or grids than the first; otherwise
            as `forecast_images`.
    """
    check_kind("forecasts", forecasts, Mapping, "a dict of forecasts by title")
    if not forecasts:
        raise ValueError("forecasts: empty. Pass at least one, by the title of its column.")
    first = next(iter(forecasts.values()))
    for name, fc in forecasts.items():
        check_forecast(f"forecasts[{name!r}]", fc, 2, graphs=True)
    for name, fc in forecasts.items():
        same = same_times(first.times, fc.times)
        if not same or fc.shape[-fc.model.grid.ndim :] != first.shape[-first.model.grid.ndim :]:
            raise ValueError(
                f"forecasts: {name!r} has other times or another grid than the first. Predict both "
                "at the same times."
            )
    scenes = [Scene.of(fc, truth, trajectory, channel, anomalies) for fc in forecasts.values()]
    titles = list(forecasts)
    at: Any = slice(None)
    times = scenes[0].times
    if Canvas.of(scenes[0].words, times).in_space:
        at = choose_times(times, [times[-1] if time is None else time], scenes[0].words)[0]
        (when,) = scenes[0].words.at_times([times[at]])
        titles = [f"{name}\n{when}" for name in titles]
    options = {"signed": signed, "anomalies": anomalies}
    return _draw(scenes, [at] * len(scenes), titles, axes, **options)


def check_signed(signed: bool, truth: Any) -> None:
    """Errors with their sign are of a truth; ValueError without one."""
    if truth is None and signed:
        raise ValueError("signed: there is no error without a truth. Pass the truth, or leave it.")


def _draw(
    scenes: Sequence[Scene],
    at: Sequence[Any],
    titles: Sequence[str] | None,
    axes: Any,
    **options: bool,
) -> Array:
    """One column for each scene at its times."""
    canvas = Canvas.of(scenes[0].words, scenes[0].times)
    return draw_rows(axes, canvas, forecast_rows(scenes, at, **options), titles)


def forecast_rows(
    scenes: Sequence[Scene],
    at: Sequence[Any],
    *,
    signed: bool,
    anomalies: bool,
    alone: bool = False,
) -> list[Row]:
    """Four rows, two of a forecast alone, with an image for each scene at its times."""
    words, channel = scenes[0].words, scenes[0].channel
    field = words.field_name(channel)
    pairs = list(zip(scenes, at, strict=True))
    truth, mean, sd = (
        [getattr(scene, name)[i] for scene, i in pairs] for name in ("truth", "mean", "sd")
    )
    error = [m - y for m, y in zip(mean, truth, strict=True)]
    if not signed:
        error = [np.abs(e) for e in error]
    spread = spread_colours(*sd) if signed else spread_colours(*sd, *error)
    fields = np.stack(truth), np.stack(mean)
    values = signed_colours(*fields, percentile=100) if anomalies else value_colours(*fields)
    of, miss = " anomaly" if anomalies else "", "error" if signed else "|error|"
    rows = (
        (f"{field}{of}: truth", truth, values),
        (f"{field}{of}: mean", mean, values),
        (f"{field}: sd", sd, spread),
        (f"{field}: {miss}", error, signed_colours(*error) if signed else spread),
    )
    return [
        Row(label(name, words.units_of(channel)), images, colours)
        for name, images, colours in (rows[1:3] if alone else rows)
    ]
