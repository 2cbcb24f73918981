"""What pictures are asked for, checked in one place before anything is drawn."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pyro_msde.checks import check_kind
from pyro_msde.data import Trajectories, to_numpy
from pyro_msde.forecasts import Forecast
from pyro_msde.grid import Grid, SensorGraph
from pyro_msde.protocols import FittedModel, Places

__all__ = [
    "check_channel",
    "check_data",
    "check_finite_forecast",
    "check_fit",
    "check_forecast",
    "check_grid",
    "check_index",
    "check_kind",
    "check_truth",
]

Array = NDArray[Any]


def check_forecast(name: str, fc: Any, axes_of_space: int, *, graphs: bool = False) -> None:
    """A forecast of fields with so many axes of space, or fewer; on a graph, if `graphs`.

    Raises:
        TypeError: No `Forecast`.
        ValueError: More axes of space, or none.
    """
    check_kind(name, fc, Forecast, "what fit.predict gave")
    check_grid(name, fc.grid, axes_of_space, graphs=graphs)


def check_fit(fit: FittedModel, data: Any, axes_of_space: int, *, graphs: bool = False) -> Grid:
    """The grid of a fit of fields with so many axes of space, or fewer, and what names them.

    If `graphs`, fields on a graph are drawn as well.

    Raises:
        TypeError: No `Fit`, or data that are neither None nor `Trajectories`.
        ValueError: More axes of space, or none; data of another grid.
    """
    check_kind("fit", fit, ("model", "guide"), "what pyro_msde.fit gave")  # `Fit` comes later
    grid = check_grid("fit", fit.model.grid, axes_of_space, graphs=graphs)
    check_data("data", data, grid)
    return grid


def check_grid(name: str, grid: Places, axes_of_space: int, *, graphs: bool = False) -> Grid:
    """A regular grid with so many axes, or fewer; or a graph, if `graphs`."""
    if not grid.regular and not (graphs and isinstance(grid, SensorGraph)):
        raise ValueError(f"{name}: fields are on {grid!r}; this picture is for regular grids.")
    if grid.ndim > axes_of_space:
        most = "one" if axes_of_space == 1 else "at most two"
        raise ValueError(
            f"{name}: fields have {grid.ndim} axes of space; this picture takes {most}."
        )
    return cast(Grid, grid)


def check_finite_forecast(fc: Forecast, row: Any) -> None:
    """One trajectory's mean and standard deviation.

    Raises:
        ValueError: They are not finite where there is a field.
    """
    for name in ("mean", "sd"):
        finite = getattr(fc, name)[row].isfinite()
        finite = (finite if fc.mask is None else finite | ~fc.mask).flatten(1).all(1)
        if not bool(finite.all()):
            i = int(finite.int().argmin())
            raise ValueError(
                f"fc: its {name} is NaN or infinite at t={fc.times[i]:.6g}. See what diverged, and "
                "forecast a shorter time."
            )


def check_data(name: str, data: Any, grid: Grid) -> None:
    """What names, positions and units are taken from.

    Raises:
        TypeError: Neither None nor `Trajectories`.
        ValueError: Fields of another grid.
    """
    if data is not None:
        check_kind(name, data, Trajectories, "pyro_msde.Trajectories, or leave it out")
        try:
            data.has_channel_axis(grid.channels, grid.data_shape)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error


def check_truth(fc: Forecast, truth: Any) -> Array | None:
    """`Trajectories` of the forecast's grid, or an array shaped as its mean, which is returned.

    Raises:
        ValueError: Another shape, or numbers that are not finite.
    """
    if isinstance(truth, Trajectories):
        check_data("truth", truth, fc.grid)
        return None
    values = to_numpy(truth, "truth")
    if values.shape != tuple(fc.shape):
        raise ValueError(
            f"truth: shape {values.shape}, but the forecast's mean has {tuple(fc.shape)}."
        )
    if not np.isfinite(values).all():
        raise ValueError("truth: holds NaN or infinite values. Leave these trajectories out.")
    return values


def check_channel(name: str, channel: Any, names: Sequence[str], count: int, of: str) -> int:
    """A channel, by its name or as `check_index`, counted from the first.

    Raises:
        TypeError: Neither a name nor a whole number.
        ValueError: There is no such channel.
    """
    if not isinstance(channel, str):
        return check_index(name, channel, count, of)
    if channel not in names:
        known = ", ".join(map(repr, names)) or f"whole numbers below {count}"
        raise ValueError(f"{name}: {channel!r} is unknown. Pass one of {known}.")
    return list(names).index(channel)


def check_index(name: str, index: Any, count: int, of: str) -> int:
    """A whole number that counts from the first, or from the last if negative.

    Raises:
        TypeError: No whole number.
        ValueError: There are not so many.
    """
    no_number = isinstance(index, bool | np.bool_ | np.timedelta64)
    if no_number or not isinstance(index, numbers.Integral):
        raise TypeError(f"{name}: got {type(index).__name__}. Pass a whole number.")
    place = int(index)
    if not -count <= place < count:
        raise ValueError(f"{name}: {place}, but {of} {count}.")
    return place % count
