"""Rows of images that share axes: fields over time and space, or snapshots of two axes of space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pyro_msde.plot.scene import Axis, Words
from pyro_msde.plot.style import add_image, clipped, colour_bar, letters, new_axes, panels

__all__ = ["Canvas", "Row", "draw_rows"]

Array = NDArray[Any]

_WIDTH = 2.2  # inches of a column of print that images have, beside labels and colour bars
_TALLEST = 1.6


class Canvas(NamedTuple):
    """What images lie on: an axis across, an axis up, and whether both are of space."""

    across: Axis
    up: Axis
    in_space: bool

    @classmethod
    def of(cls, words: Words, times: Array) -> Canvas:
        """Time and space where there is one axis of space, else the two of space."""
        if len(words.space) == 1:
            return cls(Axis("t", times, words.time_units), words.space[0], False)
        return cls(words.space[0], words.space[1], True)

    def height(self, columns: int) -> float:
        """Of an image in inches, in so many columns."""
        if not self.in_space:
            return 0.85
        across, up = (abs(float(a.x[-1] - a.x[0])) for a in (self.across, self.up))
        return min(_TALLEST, _WIDTH / columns * up / across)


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
            image = add_image(ax, canvas.across.x, canvas.up.x, values, **row.colours)
            if canvas.in_space:
                ax.set_aspect("equal")
        colour_bar(image, list(row_axes), row.name, extend=clipped(row.images, row.colours))
        row_axes[0].set_ylabel(canvas.up.label)
    for ax in grid[-1]:
        ax.set_xlabel(canvas.across.label)
        if canvas.in_space:
            ax.xaxis.set_major_locator(MaxNLocator(6 // columns or 1))
    for ax, title in zip(grid[0], titles or (), strict=False):
        ax.set_title(title, fontsize=letters(ax))
    return grid
