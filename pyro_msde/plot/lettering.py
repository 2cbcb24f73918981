"""How long texts are on a page, and where they break."""

from __future__ import annotations

import re
import textwrap
from typing import Any

from matplotlib.textpath import TextPath

from pyro_msde.plot.style import letters, size_of

__all__ = ["broken", "length_of", "wrapped"]

_CLOSE = 1.1  # of what Axes have, up to which titles do not touch the next ones


def broken(name: str, room: float, size: float) -> str:
    """The name of a colour bar with its units below it, or its field above, if it is too long.

    Args:
        name: Such as "u: mean (K)".
        room: Inches that it has.
        size: Of its letters, in points.
    """
    places = [m.start() for m in re.finditer(r" (?=\()|(?<=:) ", name)][::-1]
    ways = [name, *(f"{name[:i]}\n{name[i + 1 :]}" for i in places)]
    fitting = (text for text in ways if length_of(text, size) < room)
    return next(fitting, min(ways, key=lambda text: length_of(text, size)))


def length_of(text: str, size: float) -> float:
    """Inches of the longest line of a text in letters of so many points."""
    lines = [line for line in text.split("\n") if line]  # of nothing there is no path
    paths = (TextPath((0, 0), line, size=size) for line in lines)
    return max((float(path.get_extents().width) / 72 for path in paths), default=0.0)


def wrapped(ax: Any, title: str) -> str:
    """A title in lines no wider than its Axes."""
    lines = []
    for line in title.split("\n"):
        length = max(length_of(line, letters(ax)), 1e-3)
        longest = max(1, int(len(line) * _CLOSE * size_of(ax)[0] / length))
        lines += textwrap.wrap(line, longest, break_long_words=False)
    return "\n".join(lines)
