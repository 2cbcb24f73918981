"""Positions along the axes of space, of two data sets."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["difference", "places_of"]

Array = NDArray[Any]

_EQUAL = 1e-3  # of a spacing: float32 is within it


def difference(ours: Array, theirs: Array) -> tuple[str, bool]:
    """How their positions differ from ours, and whether only in where they lie.

    Returns:
        Words, empty if they do not differ; False if the same positions are in another order.
    """
    if ours.shape != theirs.shape:
        return f"{len(theirs)} positions against {len(ours)}", True
    if not _are_numbers(ours, theirs):
        a, b = ours.astype(str), theirs.astype(str)
        if np.array_equal(a, b):
            return "", True
        words = f"{', '.join(b[:4])} against {', '.join(a[:4])}"
        return words, not np.array_equal(np.sort(a), np.sort(b))
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    near = _nearness(a)
    if np.abs(a - b).max() <= near:
        return "", True
    words = f"{b[0]:g} to {b[-1]:g} against {a[0]:g} to {a[-1]:g}"
    same = np.abs(np.sort(a) - np.sort(b)).max() <= near
    flipped = len(a) > 1 and (np.diff(a) > 0).all() and (np.diff(b) < 0).all()
    return words, not (same or flipped)


def places_of(argument: str, axis: str, ours: Array, theirs: Array) -> NDArray[np.int64]:
    """(len(ours),) where each of our positions is among theirs, which may be more.

    Raises:
        ValueError: One is not among them, or more than once.
    """
    if not difference(ours, theirs)[0]:
        return np.arange(len(ours))
    near: Any
    if _are_numbers(ours, theirs):
        a, b = ours.astype(np.float64), theirs.astype(np.float64)
        near = _nearness(a)
        low, high = a - near, a + near
    else:
        a, b = ours.astype(str), theirs.astype(str)
        low = high = a
    order = np.argsort(b, kind="stable")
    first = np.searchsorted(b, low, "left", sorter=order)
    count = np.searchsorted(b, high, "right", sorter=order) - first
    for wrong, what in ((count == 0, "lacks"), (count > 1, "has more than once")):
        if wrong.any():
            i = int(wrong.argmax())
            raise ValueError(
                f"{argument}: along {axis!r} it {what} {ours[i]}, a position of the data, "
                f"{int(wrong.sum())} of {len(ours)} in all. Select or interpolate these."
            )
    return order[first].astype(np.int64)


def _are_numbers(*arrays: Array) -> bool:
    return all(x.dtype.kind in "fiu" for x in arrays)


def _nearness(x: Array) -> float:
    """By how much equal positions may differ."""
    return _EQUAL * float(np.abs(np.diff(x)).mean()) if len(x) > 1 else _EQUAL * abs(float(x[0]))
