"""The kernel κ, and smoothing, restriction, prolongation with it (Ilersich & Nair 2025, App. I)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray

from pyro_msde.data import Trajectories, to_numpy
from pyro_msde.grid import SensorGraph, positions_at
from pyro_msde.io.arviz import kernel_draws
from pyro_msde.plot.checks import check_fit
from pyro_msde.plot.encoded import Encoded
from pyro_msde.plot.images import Canvas
from pyro_msde.plot.scene import Words
from pyro_msde.plot.space_axes import Axis
from pyro_msde.plot.style import (
    OKABE_ITO,
    SIGNED,
    add_image,
    clipped,
    colour_bar,
    legend,
    letters,
    new_axes,
    panel,
    panels,
    value_colours,
)
from pyro_msde.protocols import FittedModel
from pyro_msde.renaming import renamed_arguments

__all__ = ["scale_operators", "smoothing_kernel"]

Array = NDArray[Any]

_NAMES = ("$y$", "$S y$", "$T_r y$", "$T_p T_r y$")


def smoothing_kernel(
    fit: FittedModel,
    *,
    start: Any = None,
    data: Trajectories | None = None,
    channel: int | str = 0,
    ax: Axes | None = None,
) -> Axes:
    """Smoothing kernel κ against the lag: mean, and central 90 % where it has a posterior.

    For two axes of space an image, with contours at a tenth and a half of the largest value: solid
    those of κ, dashed those of its start.

    Args:
        fit: The `Fit`, of fields with one or two axes of space.
        start: (channel, *kernel) κ before training, such as `gaussian_kernel` of the grid. None:
            it is not drawn.
        data: Gives names, positions and units.
        channel: Which one, by name or number.
        ax: Axes. None: new.

    Returns:
        The Axes; for two axes of space with an image and its colour bar.

    Raises:
        ValueError: Three axes of space, a model without such a kernel, a start of another shape, no
            such channel.
    """
    grid = check_fit(fit, data, 2)
    draws = kernel_draws(fit)
    before = None if start is None else to_numpy(start, "start")
    if before is not None and before.shape != tuple(draws.shape[1:]):
        raise ValueError(f"start: shape {before.shape}, but κ has {tuple(draws.shape[1:])}.")
    words = Words.of(grid, data, fit.metadata)
    space, number = words.space, words.number_of(channel)
    first = None if before is None else before[number]
    kernels = draws[:, number].numpy()
    layout = "constrained" if grid.ndim == 1 else "compressed"
    ax = panel(ax, height=1.9 if grid.ndim == 1 else 2.6, layout=layout)
    if grid.ndim == 2:
        _kernel_image(ax, Canvas.in_two(*space), kernels.mean(0), first)
    else:
        ax.set_xlabel(f"lag in {space[0].label}")
        _kernel_lines(ax, _lags(space[0], kernels.shape[1]), kernels, first, grid.stride[0])
    return ax


def _kernel_lines(ax: Axes, lags: Array, draws: Array, start: Array | None, stride: int) -> None:
    """Mean and band of draws (draw, lag), the start, and where the next coarse points are."""
    if len(draws) > 1:
        low, high = np.quantile(draws, [0.05, 0.95], axis=0)
        ax.fill_between(lags, low, high, color=OKABE_ITO["sky"], alpha=0.45, linewidth=0)
    name = None if start is None else "learned"
    ax.plot(lags, draws.mean(0), color=OKABE_ITO["blue"], linewidth=1, label=name)
    if start is not None:
        ax.plot(lags, start, color="black", linewidth=0.9, linestyle="--", label="start")
    ax.axhline(0, color="0.6", linewidth=0.6, zorder=0)
    for words, side in (("coarse spacing", 1), (None, -1)):
        at = side * (lags[1] - lags[0]) * stride
        ax.axvline(at, color="0.4", linewidth=0.8, linestyle=":", zorder=0, label=words)
    legend(ax)
    ax.set_xlim(lags.min(), lags.max())
    ax.set_ylabel("κ")


def _kernel_image(ax: Axes, canvas: Canvas, kernel: Array, start: Array | None) -> None:
    """Image of a kernel (lag, lag), and contours of it and of its start."""
    if canvas.turned:
        kernel, start = kernel.T, None if start is None else start.T
    lags = [_lags(axis, size) for axis, size in zip(canvas[:2], kernel.shape, strict=True)]
    size = float(np.abs(kernel).max())
    image = add_image(ax, lags[0], lags[1], kernel, cmap=SIGNED, vmin=-size, vmax=size)
    ax.set_aspect(canvas.aspect or "auto")
    ax.yaxis.set_inverted(canvas.up.points_down)
    ax.set_xlabel(f"lag in {canvas.across.label}")
    ax.set_ylabel(f"lag in {canvas.up.label}")
    colour_bar(image, [ax], "κ")
    if start is None:
        return
    for values, dashes, name in ((kernel, "solid", "learned"), (start, "dashed", "start")):
        levels = float(values.max()) * np.array([0.1, 0.5])
        ax.contour(*lags, values.T, levels, colors="black", linestyles=dashes, linewidths=0.7)
        ax.plot([], [], color="black", linestyle=dashes, linewidth=0.7, label=name)
    legend(ax, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2)


def _lags(axis: Axis, size: int) -> Array:
    spacing = float(axis.x[1] - axis.x[0]) if len(axis.x) > 1 else 1.0
    return (np.arange(size) - size // 2) * spacing


@renamed_arguments(parameters="covariates")
def scale_operators(
    fit: FittedModel,
    y: Any,
    *,
    covariates: Any = None,
    controls: Any = None,
    times: Any = None,
    data: Trajectories | None = None,
    channel: int | str = 0,
    axes: Any = None,
) -> Array:
    """One snapshot y, smoothed S y, restricted T_r y, and brought back T_p T_r y.

    One axis of space: lines in one panel, T_r y as points. Two: four images on one colour scale;
    likewise on a graph whose nodes have positions, T_r y at all nodes of a cluster.

    Args:
        fit: The `Fit`, of fields with one or two axes of space. Of a posterior over θ one draw is
            taken.
        y: One field as `fit.predict` takes it.
        covariates: As for `fit.predict`.
        controls: (field, c) or (c,) at the time of each, if the trajectories had controls.
        times: Of y; a fit whose reference is a mean cycle asks for it.
        data: Gives names, positions and units.
        channel: Which one, by name or number.
        axes: One Axes for one axis of space, four for two and for nodes with positions. None: new
            ones.

    Returns:
        (1, 1) or (2, 2) array of the Axes.

    Raises:
        ValueError: Three axes of space, a field of another grid, another number of Axes, no such
            channel.
    """
    grid = check_fit(fit, data, 2, graphs=True)
    words = Words.of(grid, data, fit.metadata)
    number = words.number_of(channel)
    fields = [values[number] for values in _applied(fit, y, covariates, controls, times)]
    canvas = Canvas.of(words, np.zeros(1))
    if not canvas.in_space:
        (ax,), _ = panels(axes, 1, height=2.1)
        _lines(ax, words, fields, grid.coarse_index[0])
        ax.set_ylabel(words.field_label(number))
        return np.array([[ax]], dtype=object)
    canvas = canvas.in_columns(2)
    if axes is None:
        width = canvas.page(2)
        height = 0.9 + 2 * (max(canvas.height(2, width), 0.5) + 0.1)
        size = {"height": height, "width": width}
        axes = new_axes(2, 2, layout="compressed", sharex=True, sharey=True, **size)
    drawn = np.array(panels(axes, 4)[0], dtype=object).reshape(2, 2)
    if isinstance(grid, SensorGraph):
        fields[2] = fields[2][grid.clusters]
    _images(drawn, canvas, fields, grid.coarse_index, words.field_label(number))
    return drawn


@torch.no_grad()
def _applied(fit: FittedModel, y: Any, covariates: Any, controls: Any, times: Any) -> list[Array]:
    """y, S y, T_r y and T_p T_r y, each (channel, *space or *coarse), in the user's units."""
    encoded = Encoded.of(fit, y, covariates=covariates, controls=controls, times=times, single=True)
    operators = encoded.theta.operators
    smoothed = operators.smooth(encoded.scaled)
    restricted = operators.sample(smoothed)
    applied = (smoothed, restricted, operators.prolong(restricted))
    fields = [encoded.fields, *map(encoded.in_units, applied)]
    arrays = [np.asarray(values[0].cpu()) for values in fields]
    mask = encoded.model.grid.mask
    if mask is not None:
        for k in (1, 3):  # not the macroscale, which has states beside the fields' points
            arrays[k] = np.where(mask, arrays[k], np.nan)
    return arrays


def _lines(ax: Axes, words: Words, fields: list[Array], coarse: Array) -> None:
    x = words.space[0].x
    styles: tuple[dict[str, Any], ...] = (
        {"color": "0.7", "linewidth": 2.0},
        {"color": OKABE_ITO["blue"], "linewidth": 1},
        {"color": OKABE_ITO["vermilion"], "linestyle": "none", "marker": "o", "markersize": 3.5},
        {"color": "black", "linewidth": 1, "linestyle": "--"},
    )
    for name, values, style in zip(_NAMES, fields, styles, strict=True):
        points = positions_at(x, coarse) if style.get("marker") else x
        ax.plot(points, values, label=name, **style)
    ax.set_xlim(x.min(), x.max())
    ax.set_xlabel(words.space[0].label)
    # to the right, beside the power of ten that the left may have
    legend(ax, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, columnspacing=1.2)


def _images(
    axes: Array, canvas: Canvas, fields: list[Array], coarse: tuple[Array, ...], name: str
) -> None:
    colours = value_colours(fields[0])
    for ax, title, values in zip(axes.flat, _NAMES, fields, strict=True):
        here = canvas if values.shape == fields[0].shape else canvas.at_coarse(coarse)
        image = here.draw(ax, values, **colours)
        if canvas.nodes is None:
            ax.set_xlim(canvas.across.x.min(), canvas.across.x.max())
            ax.set_ylim(canvas.up.x.min(), canvas.up.x.max())
        ax.set_title(title, fontsize=letters(ax))
    colour_bar(image, list(axes.flat), name, extend=clipped(fields, colours))
    canvas.finish(axes)
