"""Points added at the ends of a grid's axes, so that its coarse points divide their number.

Models see fields with them, users never do: nothing is observed there, and forecasts are cropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional as F

__all__ = ["Padding", "cropped", "padded"]

Padding = Sequence[tuple[int, int]]  # points before and after, per axis of space


def padded(fields: Tensor, padding: Padding) -> Tensor:
    """Fields (..., *space) with zeros (False) at the points added; themselves if there are none.

    Args:
        fields: With the points of the data.
        padding: Points before and after, per axis of space.
    """
    if not any(map(any, padding)):
        return fields
    return F.pad(fields, [size for pair in reversed(padding) for size in pair])


def cropped(fields: Tensor, padding: Padding) -> Tensor:
    """The inverse: a view of fields (..., *space) without the points added."""
    if not any(map(any, padding)):
        return fields
    axes = zip(fields.shape[fields.ndim - len(padding) :], padding, strict=True)
    index: tuple[Any, ...] = tuple(slice(before, n - after) for n, (before, after) in axes)
    return fields[(..., *index)]
