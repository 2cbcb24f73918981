"""Models made for given data: grid, channels, walls and gaps are read from these."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from pyro_msde.checks import check_kind, check_whole
from pyro_msde.data import Metadata, Trajectories, in_degrees, in_order, is_longitude
from pyro_msde.equations import axis_letters
from pyro_msde.grid import BoundaryWords, Grid, check_on_grid, default_coarse, ends_by_channel
from pyro_msde.models.equations import IDENTIFIED, takes_equation

__all__ = ["Factory", "has_channel_axis"]

_LOG = logging.getLogger(__name__)

P = ParamSpec("P")
M = TypeVar("M")

_MODES = 20  # of the linear path among all of the macroscale state
_READ = ("grid", "lower", "upper", "num_covariates", "num_controls", "static")  # from the data


class Factory(Generic[P, M]):
    """A function that makes models of fields on a grid, and its `like`, which reads the grid.

    Args:
        make: Takes a grid first.
    """

    def __init__(self, make: Callable[P, M]) -> None:
        self._make = make
        update_wrapper(self, make)

    def __call__(self, *args: P.args, **options: P.kwargs) -> M:
        """What the function makes."""
        return self._make(*args, **options)

    def __reduce__(self) -> str:
        """Pickled by name, as functions are."""
        return self._make.__name__

    def like(
        self,
        data: Trajectories,
        n_eta: int = 0,
        coarse: int | tuple[int, ...] | None = None,
        *,
        boundary: BoundaryWords | None = None,
        channels: int | None = None,
        mask: Any = "unobserved",
        **options: Any,
    ) -> M:
        """The model for some data, whose grid it reads; the log says in one line what it took.

        Args:
            data: Trajectories of fields on a grid. Their `coords` say where it begins and ends.
            n_eta: Microscale states.
            coarse: Coarse points per axis. None: at most 64 in one dimension, 128 in more, at one
                distance on all axes.
            boundary: As for the model. None: longitudes that close are a ring, "periodic"; other
                axes are "neumann".
            channels: Values per point, which the first axis of the fields is for. None: it is for
                channels where the data name these or the axis "channel", or have four axes, or
                where it is one long.
            mask: Where there is a field, as for `Grid`; "unobserved": at all points but those that
                never hold an observation in these data. None: at all points.
            **options: Other options of the model.

        Raises:
            ValueError: Data that are no trajectories, or on no even grid; options that are read
                from the data; what the model refuses.
        """
        check_kind("data", data, Trajectories, "pyro_msde.Trajectories")
        if "adjacency" in options:
            model = getattr(self, "__name__", "the model")
            raise ValueError(
                "adjacency: `like` reads a grid from the data's coordinates. For sensors on a "
                f"graph call {model}(adjacency=…, coarse=…, n_eta=…)."
            )
        for name in _READ:
            if name in options:
                raise ValueError(f"{name}: read from the data. Leave it out.")
        grid = _grid_of(data, coarse, boundary, channels, mask)
        _LOG.info("%s.like: %s", getattr(self, "__name__", "model"), _described(grid, data))
        inputs: dict[str, Any] = {"num_covariates": len(data.covariate_names)}
        if data.controls is not None:
            inputs["num_controls"] = len(data.control_names)
        if data.static is not None:
            inputs["static"] = data.static
        if options.get("architecture") != "published":
            options = {"modes": _MODES, **options}
            given = len(data.covariate_names) + len(data.control_names)
            if takes_equation(grid, given, len(data.static_names)):
                options = {"equation": IDENTIFIED, **options}
        letters = (
            None if data.dims is None else axis_letters(data.dims[-grid.ndim :], grid.channels)
        )
        if options.get("equation") is not None and letters is not None:
            options = {"axes": letters, **options}
        make: Callable[..., M] = self._make
        return make(grid, n_eta=n_eta, **inputs, **options)


def _grid_of(
    data: Trajectories,
    coarse: int | tuple[int, ...] | None,
    boundary: BoundaryWords | None,
    channels: int | None,
    mask: Any,
) -> Grid:
    has_channel = has_channel_axis(data, channels)
    count = data.field_shape[0] if has_channel else 1
    shape = data.field_shape[int(has_channel) :]
    axes = [None] * len(shape) if data.dims is None else list(data.dims[int(has_channel) :])
    if boundary is None:
        boundary = ["periodic" if _is_ring(data, axis) else "neumann" for axis in axes]
    ends = ends_by_channel(boundary, len(shape), count)[0]
    domain = [
        (0.0, 1.0) if x is None else ends[k].domain(x)
        for k, x in enumerate(_positions(data, axis) for axis in axes)
    ]
    if isinstance(mask, str) and mask == "unobserved":
        mask = _observed(data, count, shape)
    mask = in_order("mask", mask, Metadata.of(data), data.field_shape, same_units=False)
    grid = Grid(
        shape,
        default_coarse(shape, boundary, count) if coarse is None else coarse,
        channels=count,
        boundary=boundary,
        lower=[low for low, _ in domain],
        upper=[high for _, high in domain],
        mask=mask,
        unit_gain=True,
    )
    check_on_grid("data", data, grid)
    return grid


def has_channel_axis(data: Trajectories, channels: int | None = None) -> bool:
    """Whether the first axis of the fields is one of channels.

    Raises:
        ValueError: It is of another length than was said.
    """
    first = None if data.dims is None else data.dims[0]
    named = data.channel_names is not None or first == "channel" or len(data.field_shape) == 4
    named |= data.field_shape[0] == 1
    if channels is None:
        return named and len(data.field_shape) > 1
    channels = check_whole("channels", channels, 1)
    if channels == 1 and not named:
        return False
    if len(data.field_shape) == 1 or data.field_shape[0] != channels:
        raise ValueError(
            f"channels={channels}: fields are {data.field_shape}. Their first axis has to be that "
            "of the channels."
        )
    return True


def _positions(data: Trajectories, axis: str | None) -> NDArray[np.float64] | None:
    """Of the points along an axis, if they are numbers."""
    x = None if axis is None else data.coords.get(axis)
    if x is None or x.dtype.kind not in "fiu" or len(x) < 2 or x[0] == x[-1]:
        return None
    return x.astype(np.float64)


def _is_ring(data: Trajectories, axis: str | None) -> bool:
    """Whether an axis is of longitudes all around the globe."""
    x = _positions(data, axis)
    if x is None or axis is None:
        return False
    units = data.units.get(axis)
    if not is_longitude(axis, units, data.attrs.get(axis)):
        return False
    x = in_degrees(x, units)
    spacing = abs(x[-1] - x[0]) / (len(x) - 1)
    # one point fewer or more would leave a gap, or have one place twice
    return bool(abs(spacing * len(x) - 360) < 0.5 * spacing)


def _observed(data: Trajectories, channels: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """(channel, *space) where any snapshot holds an observation."""
    seen = np.zeros((channels, *shape), bool)
    for fields in data.fields(channels, shape):
        seen |= ~np.isnan(fields).all(0)
    return seen


def _described(grid: Grid, data: Trajectories) -> str:
    names = "" if data.dims is None else f" ({', '.join(data.dims[-grid.ndim :])})"
    sizes = [" × ".join(map(str, n)) for n in (grid.data_shape, grid.coarse)]
    extra = "" if grid.shape == grid.data_shape else f", padded to {grid.shape}"
    gaps = "" if grid.mask is None else f", {_gaps(grid):,} of them without a field"
    return (
        f"{sizes[0]} points{names}{gaps}{extra}, {sizes[1]} coarse, {grid.channels} channel(s), "
        f"boundary={grid.boundary}, lower={_short(grid.lower)}, upper={_short(grid.upper)}."
    )


def _gaps(grid: Grid) -> int:
    """How many points have no field, on average over channels."""
    share = 0.0 if grid.mask is None else float(1 - grid.mask.mean())
    return round(share * float(np.prod(grid.data_shape)))


def _short(ends: tuple[float, ...]) -> tuple[float, ...]:
    """Without the rounding of a file's float32."""
    return tuple(float(f"{end:.6g}") for end in ends)
