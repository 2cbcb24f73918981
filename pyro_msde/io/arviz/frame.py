"""Names, coordinates and units of the axes, taken from the data, and Datasets made with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pyro_msde.data import Trajectories, nearest, to_numpy
from pyro_msde.grid import positions_at
from pyro_msde.protocols import Places

__all__ = ["Frame", "Variable", "units_attr"]

Array = NDArray[Any]
Variable = tuple[tuple[str, ...], Any, dict[str, str]]  # dimensions, values, attributes


@dataclass(frozen=True)
class Frame:
    """Axes of the data and of what is derived from them.

    Attributes:
        grid: The model's.
        name: The field's name.
        lead: Names of the axes of trajectories and of times.
        channel: Name of the channel axis, or nothing.
        space: Names of the axes of space.
        index: Per axis of space, grid indices of the probes; of one probe after the other, all
            axes' equally long, where these are `stacked`.
        stacked: Probes lie along one axis, "probe", since some of the points chosen are off the
            grid's mask, and are left out.
        units: By name of field, axis or "time".
        coords: Coordinates by name, each along one or two dimensions.
    """

    grid: Places
    name: str
    lead: tuple[str, str]
    channel: tuple[str, ...]
    space: tuple[str, ...]
    index: tuple[Array, ...]
    units: Mapping[str, str]
    coords: Mapping[str, xr.Variable]
    stacked: bool = False

    @classmethod
    def of(
        cls,
        grid: Places,
        data: Trajectories,
        times: xr.DataArray,
        probes: Mapping[str, Any] | None = None,
    ) -> Frame:
        """Axes of `data`, at `times` (time,) or (trajectory, snapshot), and of probes.

        Raises:
            ValueError: Data of another grid, an unknown axis, positions outside the data.
        """
        has_channel = data.has_channel_axis(grid.channels, grid.data_shape)
        dims = data.dims or tuple(f"dim_{i}" for i in range(len(data.field_shape)))
        channel, space = dims[: int(has_channel)], dims[int(has_channel) :]
        if not isinstance(probes, Mapping | None):
            raise ValueError(f"probes: got {type(probes).__name__}. Pass positions by axis.")
        wanted = dict(probes or {})
        if not set(wanted) <= set(space):
            raise ValueError(f"probes: axes {sorted(wanted)}, but those of space are {space}.")
        coords = {"time": times.variable}
        for d in channel:
            names = data.channel_names or data.coords.get(d, np.arange(grid.channels))
            coords[d] = xr.Variable((d,), np.asarray(names))
        known = dict(zip(space, grid.coordinates, strict=True))
        positions = {d: np.asarray(data.coords.get(d, known[d])) for d in space}
        chosen = [
            _nearest(x, wanted[d], d) if d in wanted else np.unique(coarse.clip(0, len(x) - 1))
            for (d, x), coarse in zip(positions.items(), grid.coarse_index, strict=True)
        ]
        index, stacked = _on_grid(grid, chosen)
        for (d, x), at, coarse in zip(positions.items(), index, grid.coarse_index, strict=True):
            places = {d: x, f"{d}_probe": x[at], f"{d}_coarse": positions_at(x, coarse)}
            for name, place in places.items():
                axis = "probe" if stacked and name == f"{d}_probe" else name
                coords[name] = xr.Variable((axis,), place, units_attr(data.units.get(d)))
        lead = ("trajectory", str(times.dims[-1]))
        return cls(grid, data.name, lead, channel, space, index, data.units, coords, stacked)

    def at(self, times: xr.DataArray) -> Frame:
        """The same axes at other times."""
        coords = {**self.coords, "time": times.variable}
        return replace(self, lead=("trajectory", str(times.dims[-1])), coords=coords)

    def field_dims(self, kind: str = "") -> tuple[str, ...]:
        """Axes of fields: of the whole grid, or those of kind "probe", "coarse" or "lag"."""
        if kind == "probe" and self.stacked:
            return (*self.channel, "probe")
        return (*self.channel, *(f"{d}_{kind}" if kind else d for d in self.space))

    def at_probes(self, values: Array) -> Array:
        """Values (..., *field) at the probes."""
        at: Any = (..., *(self.index if self.stacked else np.ix_(*self.index)))
        return values[at]

    @property
    def exists(self) -> Array:
        """(*field) bool, True where there is a field."""
        mask = self.grid.mask
        if mask is None:
            return np.ones(
                (self.grid.channels, *self.grid.data_shape)[int(not self.channel) :], dtype=bool
            )
        return mask if self.channel else mask[0]

    def squeeze(self, values: Array) -> Array:
        """Values (..., channel, *space) without the channel axis where the data have none."""
        return values if self.channel else values.squeeze(-1 - len(self.space))

    def dataset(self, variables: Mapping[str, Any], all_coords: bool = False) -> xr.Dataset:
        """Variables with the coordinates of their dimensions, or with all coordinates."""
        ds = xr.Dataset(dict(variables))
        numbered = {"chain", "draw", "trajectory", "microscale"} & set(ds.dims)
        known = {k: v for k, v in self.coords.items() if all_coords or set(v.dims) <= set(ds.dims)}
        ds = ds.assign_coords(known | {name: np.arange(ds.sizes[name]) for name in numbered})
        return ds.assign_attrs(inference_library="pyro_msde")


def units_attr(units: str | None) -> dict[str, str]:
    """Attributes of a variable with these units."""
    return {} if units is None else {"units": units}


def _on_grid(grid: Places, chosen: Sequence[Array]) -> tuple[tuple[Array, ...], bool]:
    """Indices of the probes by axis, and whether they are of one probe after the other.

    Raises:
        ValueError: None of them is where there is a field.
    """
    if grid.mask is None:
        return tuple(chosen), False
    each = np.meshgrid(*chosen, indexing="ij")
    exists = np.asarray(grid.mask.any(0))[tuple(each)]
    if exists.all():
        return tuple(chosen), False
    if not exists.any():
        raise ValueError("probes: all are off the grid's mask. Pass positions of points on it.")
    return tuple(at[exists] for at in each), True


def _nearest(x: Array, positions: Any, name: str) -> Array:
    """Increasing indices of the points nearest to `positions`, at most one spacing outside x.

    Where x are names, of the points that are called so.
    """
    if x.dtype.kind not in "fiu":
        return _named(x, positions, name)
    at = np.atleast_1d(to_numpy(positions, f"probes[{name!r}]"))
    margin = float(np.abs(np.diff(x)).max()) if len(x) > 1 else 0.0
    outside = at[~((at >= x.min() - margin) & (at <= x.max() + margin))]
    if len(outside) or at.ndim != 1 or not len(at):
        raise ValueError(
            f"probes: {name}={outside.tolist() or at.tolist()}. Pass a row of positions from "
            f"{x.min():g} to {x.max():g}."
        )
    return nearest(x, at)


def _named(x: Array, positions: Any, name: str) -> Array:
    wanted = np.atleast_1d(np.asarray(positions))
    found = np.isin(x.astype(str), wanted.astype(str))
    unknown = wanted[~np.isin(wanted.astype(str), x.astype(str))]
    if len(unknown) or not found.any():
        raise ValueError(
            f"probes: {name}={unknown.tolist() or wanted.tolist()}. Pass names of points, such as "
            f"{x[0]!s}."
        )
    return np.flatnonzero(found)
