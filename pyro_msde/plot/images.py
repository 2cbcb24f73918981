"""Rows of images that share axes: fields over time and space, or snapshots in two dimensions."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.textpath import TextPath
from numpy.typing import NDArray

from pyro_msde.grid import positions_at
from pyro_msde.plot.dates import format_dates
from pyro_msde.plot.scene import Nodes, Words
from pyro_msde.plot.space_axes import Axis, aspect, lies_across
from pyro_msde.plot.style import (
    COLUMN,
    LETTERS,
    PAGE,
    add_image,
    add_nodes,
    clipped,
    colour_bar,
    degree_ticks,
    few_ticks,
    letters,
    new_axes,
    panels,
    size_of,
)

__all__ = ["Canvas", "Row", "draw_rows"]

Array = NDArray[Any]

_BESIDE = 1.2  # inches for labels and colour bars, beside images
_TALLEST = 1.6
_LOWEST = 0.65  # for the ticks of a colour bar; lower images get a page's width
_NARROWEST = 0.6  # for a title
_LONGEST = 1.6  # of names of colour bars for which images are set farther apart
_FREE = 0.85  # where any aspect will do
_TICKS = 0.4, 0.2  # inches for a number and what is between two, across and up
_CLOSE = 1.1  # of what Axes have, up to which titles do not touch the next ones
_SHARE = 0.8  # of what Axes have before there are colour bars


class Canvas(NamedTuple):
    """What images lie on: an axis across, an axis up, and whether both are of space.

    On a graph these are of the nodes' positions. `turned` says that the first axis of values is
    the one up, as a latitude before a longitude is.
    """

    across: Axis
    up: Axis
    in_space: bool
    nodes: Nodes | None = None
    turned: bool = False

    @classmethod
    def of(cls, words: Words, times: Array) -> Canvas:
        """Time and space where there is one axis of space, else the two of space.

        Nodes of a graph are in two dimensions if they have positions.
        """
        if words.nodes is not None:
            x, y = words.nodes.positions.T
            return cls(Axis("x", x, None), Axis("y", y, None), True, words.nodes)
        if len(words.space) == 1:
            return cls(words.time_axis(times), words.space[0], False)
        return cls.in_two(words.space[0], words.space[1])

    @classmethod
    def in_two(cls, first: Axis, second: Axis) -> Canvas:
        """Two axes of space, in the order of the values: longitude and x lie across."""
        if lies_across(first, second):
            return cls(first, second, True)
        return cls(second, first, True, turned=True)

    @property
    def aspect(self) -> float | None:
        """Of a unit up to one across; None: any."""
        if self.nodes is not None:
            return 1.0
        return aspect(self.across, self.up) if self.in_space else None

    def height(self, columns: int, width: float = COLUMN) -> float:
        """Of an image in inches, in so many columns of a figure so wide."""
        ratio = self.aspect
        if ratio is None:
            return _FREE
        across, up = (float(np.ptp(a.x)) for a in (self.across, self.up))
        return min(_TALLEST, (width - _BESIDE) / columns * ratio * up / (across or up or 1.0))

    def page(self, columns: int) -> float:
        """Inches that a figure of so many columns is wide: a page's, if a column's are too few."""
        small = self.height(columns) < _LOWEST or (COLUMN - _BESIDE) / columns < _NARROWEST
        return PAGE if small else COLUMN

    def at_coarse(self, index: Sequence[Array]) -> Canvas:
        """The same at other points of its two axes, which may lie beyond those that it has."""
        pairs = zip(self[:2], index[::-1] if self.turned else index, strict=True)
        across, up = (axis._replace(x=positions_at(axis.x, i)) for axis, i in pairs)
        return self._replace(across=across, up=up)

    def draw(self, ax: Any, values: Array, **colours: Any) -> Any:
        """Draw values along the two axes, or of the nodes of a graph, (n,)."""
        if self.nodes is not None:
            return add_nodes(ax, self.nodes.positions, self.nodes.edges, values, **colours)
        values = values.T if self.turned else values
        image = add_image(ax, self.across.x, self.up.x, values, **colours)
        if self.in_space:
            ax.set_aspect(self.aspect or "auto")
        return image

    def _size_in(self, ax: Any) -> tuple[float, float]:
        """Inches across and up that an image has in these Axes, about."""
        width, height = size_of(ax)
        if self.aspect is None:
            return width, height
        across, up = (float(np.ptp(a.x)) or 1e-6 for a in (self.across, self.up))
        ratio = self.aspect * up / across
        return min(width, height / ratio), min(height, width * ratio)

    def finish(self, axes: Array) -> None:
        """Ticks and labels of (row, column) Axes that all show this, without overlap."""
        rows, columns = axes.shape
        for ax in axes.flat:
            if self.across.dated:
                format_dates(ax)
            elif self.in_space:
                for axis, place, length, room in zip(
                    (ax.xaxis, ax.yaxis), self[:2], self._size_in(ax), _TICKS, strict=True
                ):
                    if place.sides:
                        beside = columns > 1 and axis is ax.xaxis
                        degree_ticks(axis, place.x, length, place.sides, beside)
                    else:
                        few_ticks(axis, length, room, integer=place.units == "points")
            if self.in_space or self.up.points_down:
                ax.yaxis.set_inverted(self.up.points_down)
        for ax in axes[:-1].flat:
            ax.tick_params(labelbottom=False)
        for ax in axes[:, 1:].flat:
            ax.tick_params(labelleft=False)
        width, height = (_SHARE * length for length in self._size_in(axes[0, 0]))
        size = letters(axes[0, 0])
        across, up = ("" if self.in_space and a.sides else a.label for a in self[:2])
        wide = width < _length(across, size)
        for ax in axes[-1, (columns - 1) // 2 : columns // 2 + 1] if wide else axes[-1]:
            ax.set_xlabel(across)
        tall = height < _length(up, size)
        for ax in axes[rows // 2 : rows // 2 + 1, 0] if tall else axes[:, 0]:
            ax.set_ylabel(up)


class Row(NamedTuple):
    """Images (across, up) on one colour scale, and the name of its bar."""

    name: str
    images: Sequence[Array]
    colours: dict[str, Any]


def draw_rows(
    axes: Any, canvas: Canvas, rows: Sequence[Row], titles: Sequence[str] | None = None
) -> Array:
    """Draw rows of images, each with its colour bar, into the Axes given or new ones.

    Args:
        axes: rows × columns Axes. None: new ones.
        canvas: What all images lie on.
        rows: Rows of equally many images.
        titles: A title for each column.

    Returns:
        (row, column) array of the Axes.

    Raises:
        ValueError: Another number of Axes.
    """
    columns = len(rows[0].images)
    if axes is None:
        width = canvas.page(columns)
        each = canvas.height(columns, width)
        names = (_broken(row.name, max(each, _LOWEST), LETTERS) for row in rows)
        lowest = max(_LOWEST, min(_LONGEST, max(_length(name, LETTERS) for name in names)))
        height = 0.45 + len(rows) * (max(each, lowest) + 0.08)
        # compressed, low images would come closer than the names of their colour bars are long
        layout = "compressed" if canvas.in_space and each >= lowest else "constrained"
        size: dict[str, Any] = {"height": height, "width": width, "layout": layout}
        axes = new_axes(len(rows), columns, sharex=True, sharey=True, **size)
    flat, _ = panels(axes, len(rows) * columns)
    grid = np.array(flat, dtype=object).reshape(len(rows), columns)
    for row, row_axes in zip(rows, grid, strict=True):
        for ax, values in zip(row_axes, row.images, strict=True):
            image = canvas.draw(ax, values, **row.colours)
        extend = clipped(row.images, row.colours)
        name = _broken(row.name, canvas._size_in(row_axes[0])[1], letters(row_axes[0]))
        colour_bar(image, list(row_axes), name, extend=extend)
    canvas.finish(grid)
    for ax, title in zip(grid[0], titles or (), strict=False):
        ax.set_title(_wrapped(ax, title), fontsize=letters(ax))
    return grid


def _broken(name: str, room: float, size: float) -> str:
    """The name of a colour bar with its units below it, or its field above, if it is too long."""
    places = [m.start() for m in re.finditer(r" (?=\()|(?<=:) ", name)][::-1]
    broken = [name, *(f"{name[:i]}\n{name[i + 1 :]}" for i in places)]
    fitting = (text for text in broken if _length(text, size) < room)
    return next(fitting, min(broken, key=lambda text: _length(text, size)))


def _length(text: str, size: float) -> float:
    """Inches of the longest line of a text in letters of so many points."""
    lines = [line for line in text.split("\n") if line]  # of nothing there is no path
    paths = (TextPath((0, 0), line, size=size) for line in lines)
    return max((float(path.get_extents().width) / 72 for path in paths), default=0.0)


def _wrapped(ax: Any, title: str) -> str:
    """A title in lines no wider than its Axes."""
    lines = []
    for line in title.split("\n"):
        length = max(_length(line, letters(ax)), 1e-3)
        longest = max(1, int(len(line) * _CLOSE * size_of(ax)[0] / length))
        lines += textwrap.wrap(line, longest, break_long_words=False)
    return "\n".join(lines)
