"""Points put at the ends of an axis where the coarse points do not divide those of the fields.

Nothing is ever observed there. They go to ends where a field may go on beyond its last point, half
of them to either if both are such, so that the coarse points lie evenly about the fields. A
wall that holds the field at zero stays where it is: beyond it there is no field to put points of.
Rings have no end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.grid.boundaries import Ends

__all__ = ["padding_of", "padding_on_axis", "positions_at"]

_SEARCHED = 2**16  # numbers of coarse points that an error looks through


def padding_of(
    shape: tuple[int, ...], coarse: tuple[int, ...], ends: tuple[tuple[Ends, ...], ...]
) -> tuple[tuple[int, int], ...]:
    """Points before and after, per axis.

    Args:
        shape: Points of the fields per axis.
        coarse: Coarse points per axis.
        ends: For each channel those of every axis; one entry if all channels are alike.

    Raises:
        ValueError: The coarse points do not divide the others on an axis without an open end, or
            are so many that one would have no point of the fields about it.
    """
    return tuple(
        _checked(axis, n, n_c, [channel[axis] for channel in ends])
        for axis, (n, n_c) in enumerate(zip(shape, coarse, strict=True))
    )


def _checked(axis: int, n: int, n_c: int, channels: list[Ends]) -> tuple[int, int]:
    padding = padding_on_axis(n, n_c, channels)
    if padding is None:
        around = range(1, min(n, _SEARCHED) + 1)
        fitting = [k for k in around if padding_on_axis(n, k, channels) is not None]
        fitting += [] if n in fitting else [n]
        nearest = sorted(sorted(fitting, key=lambda k: abs(k - n_c))[:6])
        wall = not (channels[0].periodic or any(_open_sides(channels)))
        raise ValueError(
            f"coarse: n_y={n} not divisible by n_c={n_c} on axis {axis}; "
            f"choose one of {', '.join(map(str, nearest))}"
            + (". Points are added only where no wall holds the field" if wall else "")
        )
    return padding


def padding_on_axis(n: int, n_c: int, channels: list[Ends]) -> tuple[int, int] | None:
    """Points before and after; None: some coarse point would have no point of the fields about it.

    Args:
        n: Points of the fields.
        n_c: Coarse points.
        channels: Ends of the axis, for each channel or for all.
    """
    stride = -(-n // n_c)
    extra = stride * n_c - n
    lower, upper = _open_sides(channels)
    before = extra - extra // 2 if lower and upper else extra * lower
    after = extra - before
    fits = extra == 0 or ((lower or upper) and max(before, after) < stride)
    return (before, after) if fits else None


def _open_sides(channels: list[Ends]) -> tuple[bool, bool]:
    """Whether points may be put before each end, in all channels."""
    lower, upper = (all(ends.open[side] for ends in channels) for side in (0, 1))
    return lower, upper


def positions_at(x: NDArray[Any], index: NDArray[np.int64]) -> NDArray[Any]:
    """Positions of points of an axis by their numbers, which may lie beyond its ends.

    Args:
        x: (n,) evenly spaced positions, or names.
        index: Numbers; those below 0 and from n on are of points in the padding, for which names
            are those of the nearest end.
    """
    inside = index.clip(0, len(x) - 1)
    if (inside == index).all() or x.dtype.kind not in "fiu":
        return x[inside]
    return x[inside] + (index - inside) * (float(x[-1] - x[0]) / (len(x) - 1))
