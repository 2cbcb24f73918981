"""How many coarse points to take where nobody says: about as many for every grid."""

from __future__ import annotations

import math

from pyro_msde.grid.boundaries import BoundaryWords, Ends, ends_by_channel
from pyro_msde.grid.padding import padding_of

__all__ = ["default_coarse"]

_MOST = {1: 64, 2: 128, 3: 128}  # coarse points in all, by axes
_FEWEST = 3  # on an axis


def default_coarse(
    shape: tuple[int, ...], boundary: BoundaryWords, channels: int = 1
) -> tuple[int, ...]:
    """Coarse points per axis: as many as fit a budget, with one distance in points on all axes.

    On axes that must be divided they are as many more as it takes to do so.

    Args:
        shape: Points of the fields per axis.
        boundary: As for `Grid`.
        channels: Values per point.

    Raises:
        ValueError: As `Grid` says of boundaries.
    """
    ends = ends_by_channel(boundary, len(shape), channels)
    sizes = shape
    for stride in range(1, max(shape) + 1):
        sizes = tuple(
            _on_axis(n, stride, tuple((channel[axis],) for channel in ends))
            for axis, n in enumerate(shape)
        )
        if math.prod(sizes) <= _MOST[len(shape)]:
            break
    return sizes


def _on_axis(n: int, stride: int, ends: tuple[tuple[Ends, ...], ...]) -> int:
    """The fewest coarse points that a grid may have, no further apart than a stride."""
    for n_c in range(min(n, max(_FEWEST, -(-n // stride))), n):
        try:
            padding_of((n,), (n_c,), ends)
        except ValueError:
            continue
        return n_c
    return n
