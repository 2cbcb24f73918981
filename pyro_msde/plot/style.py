"""Colours, sizes, labels and the Axes that all pictures share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.image import PcolorImage
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator
from numpy.typing import NDArray

__all__ = [
    "COLUMN",
    "CYCLE",
    "DASHES",
    "LETTERS",
    "OKABE_ITO",
    "PAGE",
    "POSITIVE",
    "SIGNED",
    "SPREAD",
    "add_image",
    "add_nodes",
    "change_image",
    "clipped",
    "colour_bar",
    "degree_ticks",
    "few_ticks",
    "label",
    "legend",
    "letters",
    "new_axes",
    "panel",
    "panels",
    "signed_colours",
    "size_of",
    "spread_colours",
    "value_colours",
    "wide_legend",
]

Array = NDArray[Any]

# Okabe & Ito 2008, without the yellow, which is too light for lines on white
OKABE_ITO = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
}
CYCLE = [OKABE_ITO[c] for c in ("blue", "vermilion", "green", "purple", "orange", "sky", "black")]
SIGNED, POSITIVE, SPREAD = "RdBu_r", "viridis", "magma_r"  # fields with and without signs, errors
# told apart in print without colour
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 3)))

COLUMN, PAGE = 3.4, 7.0  # inches that a column and a page of print are wide
_DEGREES = (5, 10, 15, 20, 30, 60, 90, 120, 180)  # between ticks of maps
_DEGREE_ROOM = {"EW": 0.38, "NS": 0.2}  # inches for each
_NEAR = 0.15  # half a label
_NOISE, _NEAR_ZERO = 0.03, 0.25  # of a field's largest value
LETTERS = 8.0  # points, of labels on our own figures
_NOWHERE = "0.75"  # grey of land, solid bodies and gaps
_SETTINGS: dict[Any, Any] = {
    "font.size": LETTERS,
    "axes.labelsize": LETTERS,
    "axes.titlesize": LETTERS,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 200.0,
}


def new_axes(
    rows: int = 1,
    columns: int = 1,
    *,
    height: float,
    width: float = COLUMN,
    layout: str = "constrained",
    **options: Any,
) -> Any:
    """(rows, columns) array of Axes on a new figure, of so many inches.

    Images of fixed aspect want the layout "compressed".
    """
    import matplotlib.pyplot as plt

    with plt.rc_context(_SETTINGS):
        figure, axes = plt.subplots(
            rows,
            columns,
            figsize=(width, height),
            layout=layout,
            squeeze=False,
            **options,
        )
    for ax in axes.flat:
        ax.tick_params(labelsize=7, width=0.6, length=2.5)
    figure.align_ylabels()
    return axes


def panels(axes: Any, count: int, *, name: str = "axes", **options: Any) -> tuple[list[Axes], bool]:
    """`count` Axes below each other, given or new, and whether they are new.

    Args:
        axes: Those given; None: new ones.
        count: How many.
        name: What errors call them.
        **options: Of `new_axes`.

    Raises:
        TypeError: Something else is given.
        ValueError: Another number is given.
    """
    if axes is None:
        return list(new_axes(count, **options).flat), True
    given = list(np.ravel(np.asarray(axes, dtype=object)))
    if len(given) != count:
        raise ValueError(f"{name}: {len(given)} given, but the picture has {count} panels.")
    for one in given:
        if not isinstance(one, Axes):
            kind = type(one).__name__
            raise TypeError(f"{name}: got {kind}. Pass matplotlib Axes, or leave it out.")
    return given, False


def panel(ax: Any, **options: Any) -> Axes:
    """One Axes, given or new; errors as of `panels`."""
    return panels(ax, 1, name="ax", **options)[0][0]


def label(name: str, units: str | None) -> str:
    """Label of an axis; "1" are the units of pure numbers."""
    return name if units in (None, "", "1") else f"{name} ({units})"


def size_of(ax: Any) -> tuple[float, float]:
    """Inches across and up that Axes have on the page, before a layout moves them."""
    place, page = ax.get_position(original=True), ax.figure.bbox
    inch = ax.figure.dpi
    return float(place.width * page.width / inch), float(place.height * page.height / inch)


def few_ticks(axis: Any, length: float, room: float = 0.6, **options: Any) -> None:
    """Numbers along an axis of so many inches that have so many each; options of MaxNLocator."""
    axis.set_major_locator(MaxNLocator(int(np.clip(length / room, 1, 6)), **options))


def degree_ticks(axis: Any, x: Array, length: float, sides: str, beside: bool = False) -> None:
    """A few ticks such as 60°E along an axis of so many inches.

    Args:
        axis: Of matplotlib.
        x: Degrees.
        length: Inches from end to end.
        sides: Letters of what is above and below zero, such as "EW".
        beside: Leave out the last if it is near the end, and the first is, too, where it would
            touch the first one of the Axes to the right.
    """
    low, high = float(x.min()), float(x.max())
    most = int(np.clip(length / _DEGREE_ROOM[sides], 2, 6))
    step = next((s for s in _DEGREES if high // s + -low // s < most), None)
    narrow = high - low < 2 * _DEGREES[0]
    axis.set_major_locator(MaxNLocator(most) if narrow or not step else MultipleLocator(step))
    near = _NEAR * (high - low) / length
    crowded = beside and step is not None and -(-low // step) * step - low < near

    def text(degrees: float, _: Any) -> str:
        if crowded and degrees > high - near:
            return ""
        if sides == "EW":
            degrees = (degrees + 180) % 360 - 180
        return f"{abs(degrees):.6g}°" + ("" if degrees in (0, -180) else sides[int(degrees < 0)])

    axis.set_major_formatter(FuncFormatter(text))


def letters(ax: Axes) -> float:
    """Size of the letters of the axis label, to which others are made to fit."""
    return float(ax.xaxis.label.get_fontsize())


def legend(ax: Axes, **options: Any) -> None:
    """Legend without a frame, in letters a little smaller than the axis label's."""
    size = letters(ax) - 1
    ax.legend(
        frameon=False,
        fontsize=size,
        title_fontsize=size,
        handlelength=1.6,
        borderaxespad=0.2,
        **options,
    )


def wide_legend(
    axes: Sequence[Axes], new: bool, *, columns: int | None = None, **options: Any
) -> None:
    """Legend of the first Axes: above the figure if it is ours, else in these Axes."""
    if not new:
        legend(axes[0], **options)
        return
    handles, names = axes[0].get_legend_handles_labels()
    figure: Any = axes[0].figure
    figure.legend(
        handles,
        names,
        loc="outside upper center",
        ncols=columns or len(names),
        frameon=False,
        fontsize=letters(axes[0]) - 1,
        handlelength=1.6,
        columnspacing=1.2,
    )


def value_colours(*fields: Array) -> dict[str, Any]:
    """Colours of the first of these fields that has any values.

    Fields of both signs, as anomalies are, diverge from white at zero, as far to both sides. Those
    of one sign but for noise are sequential: from zero if they come near it, else from end to end.
    """
    values = next((v[np.isfinite(v)] for v in fields if np.isfinite(v).any()), np.zeros(1))
    low, high = float(values.min()), float(values.max())
    size = max(-low, high) or 1.0
    if min(-low, high) > _NOISE * size:
        return {"cmap": SIGNED, "vmin": -size, "vmax": size}
    near = min(abs(low), abs(high)) < _NEAR_ZERO * size
    if near or low == high:
        low, high = min(low, 0.0), max(high, 0.0)
    return {"cmap": POSITIVE, "vmin": low, "vmax": high if high > low else low + 1.0}


def spread_colours(*values: Array, percentile: float = 99.5) -> dict[str, Any]:
    """Colours of errors and standard deviations, from zero to all but the largest."""
    return {"cmap": SPREAD, "vmin": 0, "vmax": _most(values, percentile)}


def signed_colours(*values: Array, percentile: float = 99.5) -> dict[str, Any]:
    """Colours with white at zero, as far to both sides as all but the largest values."""
    size = _most(values, percentile)
    return {"cmap": SIGNED, "vmin": -size, "vmax": size}


def _most(values: Sequence[Array], percentile: float) -> float:
    sizes = np.concatenate([np.abs(v[np.isfinite(v)]) for v in values])
    return float(np.percentile(sizes, percentile)) or 1.0 if sizes.size else 1.0


def clipped(fields: Sequence[Array], colours: dict[str, Any]) -> str:
    """Ends of the colour bar beyond which fields go, as matplotlib's `extend` names them."""
    low = any((v < colours["vmin"]).any() for v in fields)
    high = any((v > colours["vmax"]).any() for v in fields)
    return {(False, False): "neither", (True, False): "min", (False, True): "max"}.get(
        (low, high), "both"
    )


def add_image(ax: Axes, x: Array, y: Array, values: Array, **colours: Any) -> Any:
    """Image of values (x, y) at points that need not be evenly spaced; grey where NaN."""
    ax.set_facecolor(_NOWHERE)
    image = ax.pcolorfast(_edges(x), _edges(y), np.ma.masked_invalid(values.T), **colours)
    image.set_rasterized(True)
    return image


def change_image(image: Any, x: Array, y: Array, values: Array) -> None:
    """Give an image that `add_image` made at these points other values (x, y)."""
    places = (_edges(x), _edges(y)) if isinstance(image, PcolorImage) else ()
    image.set_data(*places, np.ma.masked_invalid(values.T))


def add_nodes(ax: Any, positions: Array, edges: Array, values: Array, **colours: Any) -> Any:
    """Values (n,) of nodes at positions (n, 2), and lines between those that are joined (2, E)."""
    lines = LineCollection(
        list(positions[edges.T]), colors="0.8", linewidths=0.4, zorder=1, rasterized=True
    )
    ax.add_collection(lines)
    width = 72 * size_of(ax)[0]  # points
    size = float(np.clip(0.25 * width**2 / len(positions), 2, 40))
    colours["cmap"] = colormaps[colours["cmap"]].with_extremes(bad=_NOWHERE)
    options: dict[str, Any] = {"s": size, "linewidths": 0, "zorder": 2, "plotnonfinite": True}
    nodes = ax.scatter(*positions.T, c=values, **options, **colours)
    nodes.set_rasterized(True)
    ax.set_aspect("equal")
    ax.margins(0.05)
    return nodes


def colour_bar(image: Any, axes: Sequence[Axes], name: str, *, extend: str = "neither") -> Any:
    """Colour bar beside Axes, with letters as on their own scales."""
    size = letters(axes[0])
    figure: Any = axes[0].figure
    width = figure.bbox.width / figure.dpi  # a part of a figure has no other
    pad = min(0.05, 0.2 / width)  # of what the Axes have
    bar = figure.colorbar(image, ax=list(axes), extend=extend, aspect=14, pad=pad)
    bar.set_label(name, size=size)
    bar.formatter.set_powerlimits((-3, 4))
    bar.formatter.set_useOffset(False)  # 280.3 says more than +2.8e2
    bar.formatter.set_useMathText(True)
    bar.ax.yaxis.set_offset_position("left")  # or it takes room beside the bar
    bar.ax.yaxis.get_offset_text().set_fontsize(size - 1)
    bar.ax.tick_params(labelsize=size - 1, width=0.6, length=2.5)
    bar.outline.set_linewidth(0.6)
    return bar


def _edges(x: Array) -> Array:
    """(n + 1,) borders half way between the points x (n,)."""
    if len(x) == 1:
        return np.array([x[0] - 0.5, x[0] + 0.5])
    middle = 0.5 * (x[1:] + x[:-1])
    return np.concatenate([[2 * x[0] - middle[0]], middle, [2 * x[-1] - middle[-1]]])
