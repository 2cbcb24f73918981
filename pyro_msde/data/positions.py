"""Positions along the axes of space, of two data sets."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["difference"]

Array = NDArray[Any]

_EQUAL = 1e-3  # of a spacing: float32 is within it


def difference(ours: Array, theirs: Array) -> tuple[str, bool]:
    """How their positions differ from ours, and whether only in where they lie.

    Returns:
        Words, empty if they do not differ; False if the same positions are in another order.
    """
    numbers = {x.dtype.kind in "fiu" for x in (ours, theirs)} == {True}
    if ours.shape != theirs.shape:
        return f"{len(theirs)} positions against {len(ours)}", True
    if not numbers:
        a, b = ours.astype(str), theirs.astype(str)
        if np.array_equal(a, b):
            return "", True
        words = f"{', '.join(b[:4])} against {', '.join(a[:4])}"
        return words, not np.array_equal(np.sort(a), np.sort(b))
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    near = _EQUAL * float(np.abs(np.diff(a)).mean()) if len(a) > 1 else _EQUAL * abs(float(a[0]))
    if np.abs(a - b).max() <= near:
        return "", True
    words = f"{b[0]:g} to {b[-1]:g} against {a[0]:g} to {a[-1]:g}"
    same = np.abs(np.sort(a) - np.sort(b)).max() <= near
    flipped = len(a) > 1 and (np.diff(a) > 0).all() and (np.diff(b) < 0).all()
    return words, not (same or flipped)
