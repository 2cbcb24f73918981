"""How many coarse points to take where nobody says: about as many for every grid."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pyro_msde.checks import check_whole
from pyro_msde.grid.boundaries import BoundaryWords, Ends, ends_by_channel
from pyro_msde.grid.grids import sizes_of
from pyro_msde.grid.padding import padding_on_axis

__all__ = ["default_coarse"]

_MOST = {1: 64, 2: 128, 3: 128}  # coarse points in all, by axes
_FEWEST = 3  # on an axis


def default_coarse(
    shape: int | Sequence[int], boundary: BoundaryWords, channels: int = 1
) -> tuple[int, ...]:
    """Coarse points per axis: as many as fit a budget, with one distance in points on all axes.

    On axes that must be divided they are as many more as it takes to do so.

    Args:
        shape: Points of the fields per axis.
        boundary: As for `Grid`.
        channels: Values per point.

    Raises:
        ValueError: As `Grid` says of sizes and boundaries.
    """
    shape = sizes_of("shape", shape)
    channels = check_whole("channels", channels, 1)
    ends = ends_by_channel(boundary, len(shape), channels)
    most = _MOST[len(shape)]
    choices = [
        _choices(n, most, [channel[axis] for channel in ends]) for axis, n in enumerate(shape)
    ]
    stride = max(1, math.floor((math.prod(shape) / most) ** (1 / len(shape))))
    fewest = tuple(few[0] for few in choices)
    while True:
        pairs = zip(shape, choices, strict=True)
        sizes = tuple(next((k for k in few if k * stride >= n), few[-1]) for n, few in pairs)
        if math.prod(sizes) <= most or sizes == fewest:
            return sizes
        stride = max(stride + 1, int(1.02 * stride))


def _choices(n: int, most: int, channels: list[Ends]) -> list[int]:
    """Coarse points that an axis may have, at most a few times as many as a grid is to have."""
    few = range(min(n, _FEWEST), min(n, 4 * most) + 1)
    return [k for k in few if padding_on_axis(n, k, channels) is not None] or [n]
