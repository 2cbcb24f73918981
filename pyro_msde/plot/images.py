"""Rows of images that share axes: fields over time and space, or snapshots in two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyro_msde.grid import positions_at
from pyro_msde.plot.dates import format_dates
from pyro_msde.plot.lettering import broken, length_of, wrapped
from pyro_msde.plot.scene import Nodes, Words
from pyro_msde.plot.space_axes import Axis, aspect, lies_across
from pyro_msde.plot.style import (
    COLUMN,
    LETTERS,
    PAGE,
    add_image,
    add_nodes,
    change_image,
    clipped,
    colour_bar,
    degree_ticks,
    few_ticks,
    letters,
    new_axes,
    panels,
    size_of,
)

__all__ = ["Canvas", "Row", "draw_panels", "draw_rows"]

Array = NDArray[Any]

_BESIDE = 1.2  # inches for labels and colour bars, beside images
_TALLEST = 1.6
_LOWEST = 0.65  # for the ticks of a colour bar; lower images get a page's width
_NARROWEST = 0.6  # for a title
_LONGEST = 1.6  # of names of colour bars for which images are set farther apart
_FREE = 0.85  # where any aspect will do
_THINNEST = 0.2  # of images in space, which are stretched instead
_HIGHEST = 6.4  # inches that panels have up a page
_LONG = 0.5  # height of wide images, width of high ones
_LINE = 0.22  # inches for a name above an image
_TITLE = 0.14  # for each line of titles but one
_TICKS = 0.4, 0.2  # inches for a number and what is between two, across and up
_BAR = 0.7  # inches that a colour bar takes of what Axes have before there is one


class Canvas(NamedTuple):
    """What images lie on: an axis across, an axis up, and whether both are of space.

    On a graph these are of the nodes' positions. `turned` says that the first axis of values is
    the one up, as a latitude before a longitude is; `stretched`, that a unit up is longer than one
    across, as the image would be a line.
    """

    across: Axis
    up: Axis
    in_space: bool
    nodes: Nodes | None = None
    turned: bool = False
    stretched: bool = False

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
        fixed = self.in_space and not self.stretched
        return aspect(self.across, self.up) if fixed else None

    def in_columns(self, columns: int) -> Canvas:
        """The same, stretched if in so many columns of a page images would be lines."""
        thin = min(self.size_within((PAGE - _BESIDE) / columns, _TALLEST)) < _THINNEST
        return self._replace(stretched=thin and self.nodes is None)

    def height(self, columns: int, width: float = COLUMN) -> float:
        """Of an image in inches, in so many columns of a figure so wide."""
        ratio = self.aspect
        if ratio is None:
            return _FREE
        across, up = (float(np.ptp(a.x)) for a in (self.across, self.up))
        return min(_TALLEST, (width - _BESIDE) / columns * ratio * up / (across or up or 1.0))

    def names_above(self, rows: Sequence[Row], height: float, size: float) -> bool:
        """Whether maps so high are too low for their colour bars to have names along them."""
        names = [broken(row.name, height, size) for row in rows]
        longest = max(length_of(name, size) for name in names)
        return self.in_space and height < max(longest, _LOWEST)

    def page(self, columns: int) -> float:
        """Inches that a figure of so many columns is wide: a page's, if a column's are too few."""
        small = self.height(columns) < _LOWEST or (COLUMN - _BESIDE) / columns < _NARROWEST
        return PAGE if small or self.stretched else COLUMN

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

    def change(self, image: Any, values: Array) -> None:
        """Give an image that `draw` made other values."""
        if self.nodes is not None:
            image.set_array(values)
        else:
            values = values.T if self.turned else values
            change_image(image, self.across.x, self.up.x, values)

    def size_in(self, ax: Any) -> tuple[float, float]:
        """Inches across and up that an image has in these Axes, about."""
        return self.size_within(*size_of(ax))

    def size_within(self, width: float, height: float) -> tuple[float, float]:
        """Inches across and up that an image has in so many."""
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
                    (ax.xaxis, ax.yaxis), self[:2], self.size_in(ax), _TICKS, strict=True
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
        figure = axes[0, 0].figure  # or a part of one, which has no width of its own
        share = 1 - _BAR * figure.dpi / figure.bbox.width
        width, height = (share * length for length in self.size_in(axes[0, 0]))
        size = letters(axes[0, 0])
        across, up = ("" if self.in_space and a.sides else a.label for a in self[:2])
        wide = width < length_of(across, size)
        for ax in axes[-1, (columns - 1) // 2 : columns // 2 + 1] if wide else axes[-1]:
            ax.set_xlabel(across)
        tall = height < length_of(up, size)
        for ax in axes[rows // 2 : rows // 2 + 1, 0] if tall else axes[:, 0]:
            ax.set_ylabel(up)


class Row(NamedTuple):
    """Images (across, up) on one colour scale, and the name of its bar."""

    name: str
    images: Sequence[Array]
    colours: dict[str, Any]

    def add_bar(self, image: Any, axes: Sequence[Any], height: float, above: bool) -> None:
        """Colour bar beside images so high, its name along it or above the first of them."""
        extend = clipped(self.images, self.colours)
        size = letters(axes[0])
        if above:
            axes[0].set_title(self.name, loc="left", fontsize=size)
        colour_bar(image, axes, "" if above else broken(self.name, height, size), extend=extend)


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
    canvas = canvas.in_columns(columns)
    if axes is None:
        lines = max((title.count("\n") for title in titles or ()), default=0)
        axes, above = _new_axes(canvas, rows, columns, lines)
    else:
        first = panels(axes, len(rows) * columns)[0][0]
        above = canvas.names_above(rows, canvas.size_in(first)[1], letters(first))
    grid = np.array(panels(axes, len(rows) * columns)[0], dtype=object).reshape(len(rows), columns)
    for row, row_axes in zip(rows, grid, strict=True):
        for ax, values in zip(row_axes, row.images, strict=True):
            image = canvas.draw(ax, values, **row.colours)
        row.add_bar(image, list(row_axes), canvas.size_in(row_axes[0])[1], above)
    canvas.finish(grid)
    for ax, title in zip(grid[0], titles or (), strict=False):
        ax.set_title(wrapped(ax, title) + "\n" * above, fontsize=letters(ax))
    return grid


def draw_panels(axes: Any, canvas: Canvas, rows: Sequence[Row]) -> tuple[Array, list[Any]]:
    """Draw the first image of each row in a panel with its own colour bar.

    Panels are below each other if images are wide, beside each other if they are high, else two by
    two.

    Args:
        axes: As many Axes as rows. None: new ones, as wide as a page.
        canvas: What all images lie on.
        rows: Two or four.

    Returns:
        (row, column) array of the Axes, and the images.

    Raises:
        ValueError: Another number of Axes.
    """
    width, height = canvas.size_within(1.0, 1.0)
    columns = 1 if height < _LONG else len(rows) if width < _LONG else 2
    lines = len(rows) // columns
    if axes is None:
        room = PAGE / columns - _BESIDE
        width, height = canvas.size_within(room, _HIGHEST / lines)
        height, above = max(height, _LINE), canvas.names_above(rows, height, LETTERS)
        size = {
            "width": columns * (width + _BESIDE),
            "height": 0.45 + _TITLE * above + lines * (height + 0.08 + _LINE * above),
        }
        axes = new_axes(lines, columns, sharex=True, sharey=True, layout="compressed", **size)
    else:
        height = canvas.size_in(panels(axes, len(rows))[0][0])[1]
        above = canvas.names_above(rows, height, letters(np.ravel(axes)[0]))
    grid = np.array(panels(axes, len(rows))[0], dtype=object).reshape(lines, columns)
    images = []
    for ax, row in zip(grid.flat, rows, strict=True):
        images.append(canvas.draw(ax, row.images[0], **row.colours))
        row.add_bar(images[-1], [ax], height, above)
    canvas.finish(grid)
    return grid, images


def _new_axes(canvas: Canvas, rows: Sequence[Row], columns: int, lines: int) -> tuple[Any, bool]:
    """Axes for images, names and so many more lines of titles; whether names are above images."""
    width = canvas.page(columns)
    each = canvas.height(columns, width)
    above = canvas.names_above(rows, each, LETTERS)
    names = (broken(row.name, max(each, _LOWEST), LETTERS) for row in rows)
    longest = min(_LONGEST, max(length_of(name, LETTERS) for name in names))
    lowest = _LINE if above else max(_LOWEST, longest)
    height = 0.45 + _TITLE * (lines + above)
    height += len(rows) * (max(each, lowest) + 0.08 + _LINE * above)
    layout = "compressed" if canvas.in_space else "constrained"
    size: dict[str, Any] = {"height": height, "width": width, "layout": layout}
    return new_axes(len(rows), columns, sharex=True, sharey=True, **size), above
