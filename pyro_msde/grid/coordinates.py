"""Positions along the axes of space, against the model's grid."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.data import Trajectories
from pyro_msde.errors import warn
from pyro_msde.grid.grids import Grid
from pyro_msde.protocols import Places

__all__ = ["check_on_grid"]

Array = NDArray[Any]

_UNEVEN = 0.01  # of a spacing: Gaussian latitudes are within it
_ELSEWHERE = 0.6  # of a spacing: points at cells' centres or at their edges are within it


def check_on_grid(argument: str, data: Trajectories, grid: Places) -> None:
    """Positions that the data give are those of an even grid, in its order.

    Warns if they are others than the model's grid has.

    Raises:
        ValueError: They are not in order, or not evenly spaced.
    """
    if type(grid) is not Grid or data.dims is None:  # modes and sensors lie on no axes
        return
    axes = zip(data.dims[-grid.ndim :], grid.coordinates, grid.ends[0], strict=True)
    for axis, place, ends in axes:
        x = data.coords.get(axis, place)
        if x.dtype.kind not in "fiu" or len(x) < 2:
            continue
        x = x.astype(np.float64)
        _check_even(f"{argument}: coords[{axis!r}]", x)
        spacing = abs(float(place[1] - place[0]))
        if np.abs(x - place).max() > _ELSEWHERE * spacing:
            lower, upper = ends.domain(x)
            warn(
                f"{argument}: coords[{axis!r}] run from {x[0]:g} to {x[-1]:g}, the model's grid "
                f"from {place[0]:g} to {place[-1]:g}. Build the model with lower={lower:.6g} and "
                f"upper={upper:.6g} on this axis, between which a {ends.word} axis has these "
                "points."
            )


def _check_even(what: str, x: Array) -> None:
    steps = np.diff(x)
    mean = float(x[-1] - x[0]) / len(steps)
    bad = np.flatnonzero(steps * np.sign(np.median(steps) or 1.0) <= 0)
    if len(bad):
        i = int(bad[0]) + 1
        raise ValueError(
            f"{what} are not in order: {x[i]:g} after {x[i - 1]:g} at index {i}. "
            "Sort values and coordinates along it."
        )
    bad = np.flatnonzero(np.abs(steps / mean - 1) > _UNEVEN)
    if len(bad):
        i = int(bad[0]) + 1
        raise ValueError(
            f"{what} are not evenly spaced: {steps[i - 1]:g} before index {i}, {mean:g} on average."
            " Interpolate the data to an even grid, or pass adjacency=… for points anywhere."
        )
