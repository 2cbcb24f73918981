"""Forecasts as moving pictures: in a notebook, or written to a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.animation import FFMpegWriter, FuncAnimation

from pyro_msde.atomic import replaced
from pyro_msde.checks import check_number, check_whole
from pyro_msde.data import Trajectories
from pyro_msde.forecasts import Forecast
from pyro_msde.plot.checks import check_forecast, check_kind
from pyro_msde.plot.comparison import check_signed, forecast_rows
from pyro_msde.plot.images import Canvas, Row, draw_panels
from pyro_msde.plot.scene import Scene
from pyro_msde.plot.style import letters

__all__ = ["animation", "save_animation"]

_DPI = {".gif": 100.0, ".mp4": 200.0}  # of pages seven inches wide; GIFs are many times larger


def animation(
    fc: Forecast,
    truth: Trajectories | Any | None = None,
    *,
    trajectory: int = 0,
    channel: int | str = 0,
    signed: bool = False,
    anomalies: bool = False,
    every: int = 1,
    fps: float = 10.0,
    axes: Any = None,
) -> FuncAnimation:
    """What `forecast_images` draws, over time: truth, mean, standard deviation and error.

    Without a truth, mean and standard deviation alone. Maps twice as wide as high are below each
    other, others two by two. Colour scales are the same in all frames.

    The animation is matplotlib's own: in a notebook, `HTML(animation.to_jshtml())` of IPython shows
    it, and `save_animation` writes it to a file. It has to be kept in a variable until then.

    Args:
        fc: Forecast of fields with two axes of space, or on a graph whose nodes have positions.
        truth: `Trajectories` that have the forecast's times, or an array shaped as `fc.mean`. None:
            it is not known yet.
        trajectory: Which one, of both.
        channel: Which one, by name or number.
        signed: Draw mean − truth, white at zero, instead of its absolute value.
        anomalies: Draw truth and mean less the reference of the fit, white at zero.
        every: A frame for every so many of the forecast's times.
        fps: Frames a second.
        axes: Four Axes, or two without a truth. None: new ones.

    Raises:
        ValueError: One axis of space or three; otherwise as `forecast_images`.
    """
    check_forecast("fc", fc, 2, graphs=True)
    check_whole("every", every, 1)
    check_number("fps", fps)
    check_signed(signed, truth)
    scene = Scene.of(fc, truth, trajectory, channel, anomalies, alone=truth is None)
    canvas = Canvas.of(scene.words, scene.times)
    if not canvas.in_space:
        raise ValueError(
            "fc: fields have one axis of space. Plot forecast_images, which shows all times."
        )
    shown = np.arange(0, len(scene.times), every)
    options = {"signed": signed, "anomalies": anomalies, "alone": truth is None}
    rows = forecast_rows([scene] * len(shown), list(shown), **options)
    return _moving(axes, canvas, rows, scene.words.at_times(scene.times[shown]), fps)


def _moving(
    axes: Any, canvas: Canvas, rows: Sequence[Row], titles: Sequence[str], fps: float
) -> FuncAnimation:
    """A frame for each title, of the images that rows have for it."""
    drawn, images = draw_panels(axes, canvas, rows)
    first = drawn[0, 0]
    below = "\n" * bool(first.get_title(loc="left"))
    title = first.set_title(titles[0] + below, fontsize=letters(first))
    figure: Any = first.figure
    if axes is None:
        figure.set_dpi(_DPI[".gif"])
        figure.canvas.draw()
        figure.set_layout_engine("none")  # or each frame is laid out anew

    def show(frame: int) -> list[Any]:
        for image, row in zip(images, rows, strict=True):
            canvas.change(image, row.images[frame])
        title.set_text(titles[frame] + below)
        return [*images, title]

    return FuncAnimation(
        figure, show, frames=len(titles), interval=1000 / fps, cache_frame_data=False
    )


def save_animation(animation: FuncAnimation, path: str | os.PathLike[str]) -> None:
    """Write an animation as GIF or mp4, whole or not at all.

    matplotlib's own `animation.save` leaves what it had written where it fails, and finds `ffmpeg`
    only if it is installed beside Python, while this takes that of `imageio-ffmpeg`, too.

    Args:
        animation: What `animation` gave, or another of matplotlib's.
        path: A file in a folder that exists, whose name ends in ".gif" or ".mp4". A GIF is half as
            sharp, and still larger.

    Raises:
        ValueError: Another ending.
        ImportError: An mp4 without `ffmpeg`.
        FileNotFoundError: There is no such folder.
    """
    check_kind("animation", animation, FuncAnimation, "what plot.animation gave")
    kind = os.fspath(path)[-4:].lower() if isinstance(path, str | os.PathLike) else None
    if kind not in _DPI:
        raise ValueError(f"path={path!r}: give the name of a file that ends in .gif or .mp4.")
    settings: Any = {} if kind == ".gif" else _ffmpeg()
    writer = "pillow" if kind == ".gif" else "ffmpeg"
    with mpl.rc_context(settings), replaced(Path(path)) as file:
        animation.save(file, writer=writer, dpi=_DPI[kind])


def _ffmpeg() -> dict[str, Any]:
    """Setting of matplotlib with which it finds `ffmpeg`; ImportError if there is none."""
    if FFMpegWriter.isAvailable():
        return {}
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return {"animation.ffmpeg_path": get_ffmpeg_exe()}
    except (ImportError, RuntimeError) as error:  # the package may lack the program
        raise ImportError(
            "path: an mp4 needs ffmpeg, which is not installed. Install it with pip install "
            "'pyro-msde[animation]', or write a .gif."
        ) from error
