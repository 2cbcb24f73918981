"""Some of many snapshots or points: so many of them, or those nearest to what is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["evenly_spaced", "nearest"]

Indices = NDArray[np.int64]


def evenly_spaced(length: int, count: int) -> Indices:
    """Indices of at most `count` of `length` snapshots, the first and the last among them.

    Raises:
        ValueError: `count` is not positive.
    """
    if count < 1:
        raise ValueError(f"times: {count} snapshots. Pass a positive number, or times.")
    return np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(np.int64))


def nearest(x: NDArray[Any], wanted: ArrayLike) -> Indices:
    """Increasing indices of the numbers x (n,) that are nearest to those wanted."""
    return np.unique(np.abs(x[:, None] - np.asarray(wanted)).argmin(0))
