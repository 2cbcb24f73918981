"""Between a fine and a coarse grid of an axis, as matrices; and what such a grid can represent.

An axis is periodic (points 0, 1/n, …) or between walls where the field is zero (1/(n+1), …), of
length one. Spectral matrices use the basis that a grid of m points resolves,

    1, cos 2πkx, sin 2πkx, …, cos πmx     or     sin πkx, k = 1 … m.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["apply", "interpolation", "points", "sampling"]

Array = NDArray[Any]


def points(n: int, periodic: bool) -> Array:
    """(n,) positions on an axis of length one."""
    return np.arange(n) / n if periodic else np.arange(1, n + 1) / (n + 1)


def interpolation(fine: int, coarse: int, periodic: bool, kind: str) -> Array:
    """(fine, coarse) matrix; kind "linear" or "spectral"."""
    if kind == "linear":
        return _linear(points(coarse, periodic), points(fine, periodic), periodic)
    inverse = np.linalg.inv(_basis(points(coarse, periodic), coarse, periodic))
    return np.asarray(_basis(points(fine, periodic), coarse, periodic) @ inverse)


def sampling(fine: int, coarse: int, periodic: bool, kind: str) -> Array:
    """(coarse, fine) matrix.

    Kind "point": values at the coarse points, linearly interpolated where those are no fine ones;
    "lowpass": values there of the spectral basis' least-squares fit, which averages noise.
    """
    if kind == "point":
        return _linear(points(fine, periodic), points(coarse, periodic), periodic)
    fit = np.linalg.pinv(_basis(points(fine, periodic), coarse, periodic))
    return np.asarray(_basis(points(coarse, periodic), coarse, periodic) @ fit)


def apply(matrices: Sequence[Array], fields: Array) -> Array:
    """One matrix for each axis of space, the last ones of fields (..., *space)."""
    ndim = len(matrices)
    for axis, matrix in enumerate(matrices, start=fields.ndim - ndim):
        fields = np.moveaxis(np.moveaxis(fields, axis, -1) @ matrix.T, -1, axis)
    return fields


def _basis(x: Array, m: int, periodic: bool) -> Array:
    """(len(x), m) functions that m points resolve."""
    if not periodic:
        return np.sin(np.pi * np.outer(x, np.arange(1, m + 1)))
    angle = 2 * np.pi * np.outer(x, np.arange(1, m // 2 + 1))
    # of the shortest wave of an even number of points only the cosine is seen
    return np.hstack([np.ones((len(x), 1)), np.cos(angle), np.sin(angle)])[:, :m]


def _linear(known: Array, at: Array, periodic: bool) -> Array:
    """(len(at), len(known)) piecewise linear interpolation."""
    columns = np.eye(len(known))
    if periodic:
        knots, values = np.append(known, 1.0), np.vstack([columns, columns[:1]])
    else:
        knots = np.concatenate([[0.0], known, [1.0]])
        values = np.pad(columns, ((1, 1), (0, 0)))
    return np.stack([np.interp(at, knots, v) for v in values.T], axis=1)
