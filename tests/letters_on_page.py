"""Letters of a figure that lie on each other, by the boxes that the renderer gives."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np


def overlapping(axes: Any) -> list[tuple[str, str]]:
    """Pairs of texts of the Axes' figure that share more than a pixel, or stand off the page."""
    figure = np.ravel(np.asarray(axes, dtype=object))[0].figure
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    texts = [text for ax in figure.axes for text in _texts(ax)]
    texts += [text for legend in figure.legends for text in legend.get_texts()]
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts if t.get_text()]
    width, height = figure.bbox.width + 1, figure.bbox.height + 1
    off = [
        (name, "the page")
        for name, box in boxes
        if box.x0 < -1 or box.y0 < -1 or box.x1 > width or box.y1 > height
    ]
    return off + [(a, b) for (a, p), (b, q) in combinations(boxes, 2) if _meet(p, q)]


def _meet(p: Any, q: Any) -> bool:
    across = min(p.x1, q.x1) - max(p.x0, q.x0)
    up = min(p.y1, q.y1) - max(p.y0, q.y0)
    return bool(across > 1 and up > 1)


def _texts(ax: Any) -> list[Any]:
    texts = [ax.title, ax._right_title]
    legend = ax.get_legend()
    texts += [] if legend is None else list(legend.get_texts())
    for axis in (ax.xaxis, ax.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks():
            if low <= tick.get_loc() <= high:
                texts += [t for t in (tick.label1, tick.label2) if t.get_visible()]
        texts += [axis.label, axis.offsetText]
    return texts
