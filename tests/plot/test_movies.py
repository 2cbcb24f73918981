"""Moving pictures: what each frame shows, on which scales, and what is on the disk."""

from __future__ import annotations

import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from letters_on_page import overlapping
from matplotlib.animation import FFMpegWriter
from named_fields import image, land, sea_data, sea_fit
from numpy.testing import assert_array_equal
from PIL import Image

from pyro_msde import plot
from pyro_msde.plot import movies
from pyro_msde.plot.images import Canvas
from pyro_msde.plot.scene import Words

pytestmark = pytest.mark.usefixtures("long_steps")


def frames(path):
    """(frame, row, column, colour) of a GIF."""
    with Image.open(path) as gif:
        pages = []
        for k in range(gif.n_frames):
            gif.seek(k)
            pages.append(np.asarray(gif.convert("RGB")))
    return np.stack(pages)


@pytest.fixture(scope="module")
def sea():
    """Data with land and gaps, and their forecast."""
    data = sea_data(285.0)
    return data, sea_fit().forecast(data, num_samples=3)


def test_each_frame_shows_its_time_on_the_same_scales(plane, tmp_path):
    _, truth, fc = plane
    _, axes = plt.subplots(2, 2, layout="constrained")
    moving = plot.animation(fc, truth, channel="second", every=2, fps=4, axes=axes)
    mean, sd, y = fc.mean[:, 1].numpy(), fc.sd[:, 1].numpy(), truth.values[0][:, 1]
    scales = [ax.images[0].get_clim() for ax in axes.flat]
    assert scales[0] == scales[1]
    assert scales[2] == scales[3]
    size = np.abs([mean[::2], y[::2]]).max()  # fields of both signs
    assert scales[0] == (-size, size)
    for frame, i in enumerate((0, 2, 4)):
        moving._func(frame)
        for ax, values in zip(axes.flat, (y, mean, sd, np.abs(mean - y)), strict=True):
            assert_array_equal(image(ax), values[i].T)
        assert axes[0, 0].get_title() == f"t = {truth.times[0][i]:g} day"
        assert [ax.images[0].get_clim() for ax in axes.flat] == scales
    plot.save_animation(moving, tmp_path / "plane.gif")
    with Image.open(tmp_path / "plane.gif") as gif:
        assert (gif.n_frames, gif.info["duration"], gif.info["loop"]) == (3, 250, 0)


def test_masked_points_are_grey_in_all_frames(sea, tmp_path):
    data, fc = sea
    moving = plot.animation(fc, data, channel=0)
    figure = moving._fig
    assert overlapping(figure.axes[:4]) == []
    panels = figure.axes[:4]
    i, j = np.argwhere(~land())[0]
    at = (data.coords["lon"][j], data.coords["lat"][i])
    places = [ax.transData.transform(at) for ax in panels]
    plot.save_animation(moving, tmp_path / "sea.gif")
    shown = frames(tmp_path / "sea.gif")
    assert shown.shape[:1] == (5,)
    assert shown.shape[2] == round(100 * figure.get_figwidth())
    for x, y in places:
        colour = shown[:, shown.shape[1] - 1 - int(y), int(x)]
        assert np.abs(colour.astype(int) - round(0.75 * 255)).max() < 6  # a GIF has few colours


def test_points_that_are_not_evenly_spaced_move_as_well(sea):
    data, fc = sea
    lat, lon = Words.of(fc.grid, data).space
    canvas = Canvas.in_two(lat._replace(x=lat.x**3), lon)
    values = np.arange(96.0).reshape(8, 12)
    _, ax = plt.subplots()
    drawn = canvas.draw(ax, values, vmin=0, vmax=95)
    canvas.change(drawn, values[::-1])
    assert_array_equal(drawn.get_array(), values[::-1])


def test_wide_maps_are_stacked_and_others_two_by_two(sea, plane):
    data, fc = sea
    wide = plot.animation(fc, data)
    assert [ax.get_subplotspec().get_gridspec().ncols for ax in wide._fig.axes[:4]] == [1] * 4
    alone = plot.animation(fc, anomalies=False)
    assert len(alone._fig.axes) == 4  # two with a colour bar each
    _, truth, forecast = plane
    square = plot.animation(forecast, truth)
    assert [ax.get_subplotspec().get_gridspec().ncols for ax in square._fig.axes[:4]] == [2] * 4
    for moving in (wide, alone, square):
        moving._draw_was_started = True  # matplotlib warns of those that nobody saw


def test_nothing_is_left_where_writing_fails(plane, tmp_path):
    _, truth, fc = plane
    moving = plot.animation(fc, truth)
    (tmp_path / "a.gif").write_bytes(b"before")
    show = moving._func

    def fail(frame):
        if frame == 3:
            raise KeyboardInterrupt
        return show(frame)

    moving._func = fail
    with pytest.raises(KeyboardInterrupt):
        plot.save_animation(moving, tmp_path / "a.gif")
    assert [f.name for f in tmp_path.iterdir()] == ["a.gif"]
    assert (tmp_path / "a.gif").read_bytes() == b"before"
    with pytest.raises(ValueError, match=r"path='a.avi': give the name of a file that ends in"):
        plot.save_animation(moving, "a.avi")
    with pytest.raises(FileNotFoundError):
        plot.save_animation(moving, tmp_path / "none" / "a.gif")


@pytest.mark.slow
def test_an_mp4_has_all_frames(plane, tmp_path):
    _, truth, fc = plane
    if not FFMpegWriter.isAvailable():
        pytest.importorskip("imageio_ffmpeg", reason="ffmpeg is not installed")
    moving = plot.animation(fc, truth)
    plot.save_animation(moving, tmp_path / "plane.mp4")
    program = movies._ffmpeg().get("animation.ffmpeg_path", "ffmpeg")
    told = subprocess.run(
        [program, "-i", str(tmp_path / "plane.mp4"), "-f", "null", "-"],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    assert "Video: h264" in told
    assert "frame=    5" in told.replace("\r", "\n")


def test_without_ffmpeg_the_error_says_what_to_install(plane, tmp_path, monkeypatch):
    _, truth, fc = plane
    moving = plot.animation(fc, truth)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with (
        mpl.rc_context({"animation.ffmpeg_path": "no-such-program"}),
        pytest.raises(ImportError, match=r"pip install 'pyro-msde\[animation\]', or write a .gif"),
    ):
        plot.save_animation(moving, tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []
    moving._draw_was_started = True


def test_what_cannot_move_is_refused(case, plane):
    _, truth, fc = case
    with pytest.raises(ValueError, match="fc: fields have one axis of space"):
        plot.animation(fc, truth)
    _, truth, fc = plane
    with pytest.raises(ValueError, match="every=0"):
        plot.animation(fc, truth, every=0)
    with pytest.raises(ValueError, match="fps=0"):
        plot.animation(fc, truth, fps=0)
    with pytest.raises(ValueError, match="signed: there is no error without a truth"):
        plot.animation(fc, signed=True)
    with pytest.raises(TypeError, match="animation: got NoneType"):
        plot.save_animation(None, "a.gif")
