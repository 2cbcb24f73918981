"""Rows of images that share axes: fields over time and space, or snapshots in two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pyro_msde.grid import positions_at
from pyro_msde.plot.scene import Axis, Nodes, Words
from pyro_msde.plot.style import (
    add_image,
    add_nodes,
    clipped,
    colour_bar,
    letters,
    new_axes,
    panels,
)

__all__ = ["Canvas", "Row", "draw_rows"]

Array = NDArray[Any]

_WIDTH = 2.2  # inches of a column of print that images have, beside labels and colour bars
_TALLEST = 1.6
_LOWEST = 0.5  # nodes may lie on a line


class Canvas(NamedTuple):
    """What images lie on: an axis across, an axis up, and whether both are of space.

    On a graph these are of the nodes' positions.
    """

    across: Axis
    up: Axis
    in_space: bool
    nodes: Nodes | None = None

    @classmethod
    def of(cls, words: Words, times: Array) -> Canvas:
        """Time and space where there is one axis of space, else the two of space.

        Nodes of a graph are in two dimensions if they have positions.
        """
        if words.nodes is not None:
            x, y = words.nodes.positions.T
            return cls(Axis("x", x, None), Axis("y", y, None), True, words.nodes)
        if len(words.space) == 1:
            return cls(Axis("t", times, words.time_units), words.space[0], False)
        return cls(words.space[0], words.space[1], True)

    def height(self, columns: int) -> float:
        """Of an image in inches, in so many columns."""
        if not self.in_space:
            return 0.85
        across, up = (float(np.ptp(a.x)) for a in (self.across, self.up))
        if self.nodes is not None:
            return min(_TALLEST, max(_LOWEST, _WIDTH / columns * up / (across or up or 1.0)))
        return min(_TALLEST, _WIDTH / columns * up / across)

    def at_coarse(self, index: Sequence[Array]) -> Canvas:
        """The same at other points of its two axes, which may lie beyond those that it has."""
        pairs = zip(self[:2], index, strict=True)
        across, up = (axis._replace(x=positions_at(axis.x, i)) for axis, i in pairs)
        return self._replace(across=across, up=up)

    def draw(self, ax: Any, values: Array, **colours: Any) -> Any:
        """Draw values (across, up), or of the nodes of a graph, (n,)."""
        if self.nodes is not None:
            return add_nodes(ax, self.nodes.positions, self.nodes.edges, values, **colours)
        image = add_image(ax, self.across.x, self.up.x, values, **colours)
        if self.in_space:
            ax.set_aspect("equal")
        return image


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
        height = 0.45 + len(rows) * (canvas.height(columns) + 0.08)
        layout = "compressed" if canvas.in_space else "constrained"
        axes = new_axes(len(rows), columns, height=height, layout=layout, sharex=True, sharey=True)
    flat, _ = panels(axes, len(rows) * columns)
    grid = np.array(flat, dtype=object).reshape(len(rows), columns)
    for row, row_axes in zip(rows, grid, strict=True):
        for ax, values in zip(row_axes, row.images, strict=True):
            image = canvas.draw(ax, values, **row.colours)
        colour_bar(image, list(row_axes), row.name, extend=clipped(row.images, row.colours))
        row_axes[0].set_ylabel(canvas.up.label)
    for ax in grid[-1]:
        ax.set_xlabel(canvas.across.label)
        if canvas.in_space:
            ax.xaxis.set_major_locator(MaxNLocator(6 // columns or 1))
    for ax, title in zip(grid[0], titles or (), strict=False):
        ax.set_title(title, fontsize=letters(ax))
    return grid
