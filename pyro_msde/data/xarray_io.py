"""`Trajectories` from and to xarray. Only `Trajectories` calls this; users have its methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pyro_msde.checks import checked_names
from pyro_msde.data.arrays import to_numpy
from pyro_msde.data.instants import TimeUnits
from pyro_msde.data.missing_values import decoded
from pyro_msde.data.time_reading import read_times
from pyro_msde.errors import warn

__all__ = ["dated", "read_xarray", "write_xarray"]

Array = NDArray[Any]

_MEMBERS = ("member", "ensemble", "ens", "realization", "realisation", "number", "run", "sample")
_KEPT = ("standard_name", "long_name", "axis", "positive")


def read_xarray(
    ds: xr.Dataset | xr.DataArray,
    name: str | Sequence[str] | None,
    *,
    trajectory: str,
    time: str,
    channel: str,
    covariates: Sequence[str] | None,
    controls: Sequence[str] | None,
    static: Sequence[str] | None,
) -> dict[str, Any]:
    """The arguments of `Trajectories`. See `Trajectories.from_xarray`."""
    if not isinstance(ds, xr.Dataset | xr.DataArray):
        raise ValueError(f"ds: got {type(ds).__name__}. Pass an xarray Dataset or DataArray.")
    if name is None:
        name = _own_name(ds)
    several = not isinstance(name, str)
    variables = checked_names("name", name) if not isinstance(name, str) else (name,)
    if not variables:
        raise ValueError("name: no variables. Pass one, or several.")
    for argument, given in {"trajectory": trajectory, "time": time, "channel": channel}.items():
        if not isinstance(given, str):
            raise ValueError(f"{argument}: got {given!r}. Pass a name.")
    covariates = None if covariates is None else checked_names("covariates", covariates)
    controls = None if controls is None else checked_names("controls", controls)
    static = None if static is None else checked_names("static", static)
    others = (*(covariates or ()), *(controls or ()), *(static or ()))
    first = variables[0]
    ds = ds.to_dataset(name=first) if isinstance(ds, xr.DataArray) else ds
    for variable in variables:
        _require(ds, variable, "name")
    if time not in ds.variables:
        known = ", ".join(str(d) for d in ds[first].dims)
        raise ValueError(
            f"time: no times {time!r} in the data. Pass the name of their dimension, one of "
            f"{known}, or assign them as a coordinate."
        )
    for argument, keys in (("covariates", covariates), ("controls", controls), ("static", static)):
        for key in keys or ():
            _require(ds, key, argument)
    # what is not read may have any attributes
    ds = decoded(ds[[*variables, time, *others]])
    _check_dimensions(ds, variables, channel if several else None)
    unchanging = ds  # static fields are of no trajectory
    if trajectory not in ds[first].dims:
        ds = ds.expand_dims(trajectory)
    time_dim = _time_dim(ds, first, time, trajectory)
    axes = [str(d) for d in ds[first].dims if d not in (trajectory, time_dim)]
    _warn_of_members(first, axes)
    dims = [d for d in axes if d == channel] + [d for d in axes if d != channel]
    parts = [to_numpy(ds[v].transpose(trajectory, time_dim, *dims), v) for v in variables]
    values = np.stack(parts, 2) if several else parts[0]
    dims = [channel, *dims] if several else dims
    instants = ds[time].transpose(trajectory, time_dim, missing_dims="ignore")
    (times,), clock = read_times([instants], _units_in_file(instants), time)
    times = np.broadcast_to(times, values.shape[:2])
    lengths = [_length(t, v, k) for k, (t, v) in enumerate(zip(times, values, strict=True))]
    described = [*variables, *(d for d in dims if d in ds.coords)]
    with_units = (*described, *others)
    units = {key: ds[key].attrs["units"] for key in with_units if "units" in ds[key].attrs}
    units |= {} if clock.text is None else {"time": clock.text}

    def cut(rows: Array) -> list[Array]:
        return [row[:n] for row, n in zip(rows, lengths, strict=True)]

    return {
        "times": cut(times),
        "values": cut(values),
        "covariates": _covariates(ds, covariates, trajectory) if covariates else None,
        "controls": cut(_controls(ds, controls, trajectory, time_dim)) if controls else None,
        "static": _static(unchanging, static, dims[int(channel == dims[0]) :]) if static else None,
        "name": "_".join(variables),
        "channel_names": variables if several else None,
        "dims": dims,
        "coords": {d: ds[d].values for d in dims if d in ds.coords},
        "units": {key: str(unit) for key, unit in units.items()},
        "attrs": {key: own for key in (*described, time) if (own := _kept(ds[key].attrs))},
        "calendar": clock.calendar,
        "covariate_names": tuple(covariates or ()) or None,
        "control_names": tuple(controls or ()) or None,
        "static_names": tuple(static or ()) or None,
    }


def _own_name(ds: xr.Dataset | xr.DataArray) -> str:
    """That of a DataArray.

    Raises:
        ValueError: It has none, or a Dataset was given.
    """
    if isinstance(ds, xr.Dataset):
        known = ", ".join(str(v) for v in ds.data_vars)
        raise ValueError(f"name: missing. Pass one, or several, of {known}.")
    if not isinstance(ds.name, str):
        raise ValueError("name: missing, and the DataArray has none. Pass what to call it.")
    return ds.name


def _require(ds: xr.Dataset, variable: str, argument: str) -> None:
    if variable not in ds.variables:
        known = ", ".join(str(v) for v in ds.data_vars)
        raise ValueError(f"{argument}: no variable {variable!r}. The data hold {known}.")


def _units_in_file(instants: xr.DataArray) -> TimeUnits:
    """Units of dates in the file that they were read from, if these are known and fixed."""
    text, calendar = (instants.encoding.get(key) for key in ("units", "calendar"))
    units = TimeUnits(text, calendar) if isinstance(text, str) and " since " in text else None
    is_numbers = instants.dtype.kind not in "MO"
    return TimeUnits() if units is None or is_numbers or not units.is_fixed else units


def _warn_of_members(variable: str, axes: Sequence[str]) -> None:
    """Independent runs are no axis of space."""
    for axis in axes:
        if axis.lower() in _MEMBERS:
            warn(
                f"{variable}: its dimension {axis!r} is read as an axis of space. If it numbers "
                f"independent runs, pass trajectory={axis!r}; else rename it."
            )


def _check_dimensions(ds: xr.Dataset, variables: Sequence[str], channel: str | None) -> None:
    """Variables that become channels lie along the same dimensions, none of them for channels."""
    first = variables[0]
    for other in variables:
        if set(ds[other].dims) != set(ds[first].dims):
            raise ValueError(
                f"name: {other!r} has dimensions {ds[other].dims}, but {first!r} has "
                f"{ds[first].dims}. Select or interpolate, so that they are equal."
            )
    if channel in ds[first].dims:
        raise ValueError(
            f"channel: {channel!r} is a dimension of {first!r} already. Call that of the variables "
            "otherwise."
        )


def _kept(attrs: dict[str, Any]) -> dict[str, str]:
    """What CF says of a variable beside its units."""
    return {key: attrs[key] for key in _KEPT if isinstance(attrs.get(key), str)}


def _time_dim(ds: xr.Dataset, name: str, time: str, trajectory: str) -> str:
    """The dimension along which snapshots follow each other."""
    others = [str(d) for d in ds[time].dims if d != trajectory]
    if len(others) != 1:
        raise ValueError(
            f"time: {time!r} has dimensions {ds[time].dims}. Pass times along one dimension, "
            f"or along {trajectory!r} and one more."
        )
    if others[0] not in ds[name].dims:
        raise ValueError(
            f"time: {name!r} has dimensions {ds[name].dims} without {others[0]!r}. "
            "Name the variable that holds the times of its snapshots."
        )
    return others[0]


def _length(times: Array, values: Array, index: int) -> int:
    """Number of snapshots left after dropping those at the end that hold nothing."""
    n = len(times)
    while n and (np.isnan(times[n - 1]) or np.isnan(values[n - 1]).all()):
        n -= 1
    if n == 0:
        raise ValueError(f"values: trajectory {index} holds only NaN. Drop it.")
    return n


def _covariates(ds: xr.Dataset, names: Sequence[str], trajectory: str) -> Array:
    for key in names:
        if ds[key].dims not in ((trajectory,), ()):
            raise ValueError(
                f"covariates: {key!r} has dimensions {ds[key].dims}. "
                f"Pass variables along {trajectory!r} only."
            )
    columns = [np.broadcast_to(to_numpy(ds[key], key), ds.sizes[trajectory]) for key in names]
    return np.stack(columns, axis=1)


def _controls(ds: xr.Dataset, names: Sequence[str], trajectory: str, time_dim: str) -> Array:
    sizes = {trajectory: ds.sizes[trajectory], time_dim: ds.sizes[time_dim]}
    columns = []
    for key in names:
        if not set(ds[key].dims) <= set(sizes):
            raise ValueError(
                f"controls: {key!r} has dimensions {ds[key].dims}. "
                f"Pass variables along {trajectory!r} and {time_dim!r}."
            )
        missing = {d: n for d, n in sizes.items() if d not in ds[key].dims}
        column = ds[key].drop_vars(list(missing), errors="ignore").expand_dims(missing)
        columns.append(to_numpy(column.transpose(trajectory, time_dim), key))
    return np.stack(columns, axis=-1)


def _static(ds: xr.Dataset, names: Sequence[str], space: Sequence[str]) -> Array:
    sizes = {d: ds.sizes[d] for d in space}
    fields = []
    for key in names:
        if not set(ds[key].dims) <= set(sizes):
            raise ValueError(
                f"static: {key!r} has dimensions {ds[key].dims}. Pass variables along some or all "
                f"of {list(space)}."
            )
        missing = {d: n for d, n in sizes.items() if d not in ds[key].dims}
        field = ds[key].variable.set_dims(
            {**missing, **dict(zip(ds[key].dims, ds[key].shape, strict=True))}
        )
        fields.append(to_numpy(field.transpose(*space), key))
    return np.stack(fields)


def write_xarray(
    times: tuple[Array, ...],
    values: tuple[Array, ...],
    *,
    covariates: Array | None,
    controls: tuple[Array, ...] | None,
    static: Array | None,
    column_names: tuple[Sequence[str], Sequence[str], Sequence[str]],
    name: str,
    channel_names: tuple[str, ...] | None,
    dims: tuple[str, ...],
    coords: dict[str, Array],
    units: dict[str, str],
    attrs: dict[str, dict[str, str]],
    calendar: str | None,
) -> xr.Dataset:
    """A rectangular Dataset, NaN after a trajectory's end. See `Trajectories.to_xarray`."""
    longest = max(times, key=len)
    # trajectories that only stop early share one axis; others get times (trajectory, snapshot)
    shared = all(np.array_equal(t, longest[: len(t)]) for t in times)
    lead = ("trajectory", "time" if shared else "snapshot")
    variables: dict[str, Any] = {name: ((*lead, *dims), _padded(values))}
    if channel_names is not None:
        dims, parts = dims[1:], np.moveaxis(variables[name][1], 2, 0)
        variables = {
            own: ((*lead, *dims), part) for own, part in zip(channel_names, parts, strict=True)
        }
    labels: dict[str, Any] = {
        "time": ("time", longest) if shared else (lead, _padded(times)),
        **{d: (d, coords[d]) for d in dims if d in coords},
    }
    if covariates is not None:
        for p, key in enumerate(column_names[0]):
            variables[key] = ("trajectory", covariates[:, p])
    if controls is not None:
        for c, key in enumerate(column_names[1]):
            variables[key] = (lead, _padded([k[:, c] for k in controls]))
    if static is not None:
        space = dims[len(dims) - static.ndim + 1 :]
        for key, field in zip(column_names[2], static, strict=True):
            variables[key] = (space, field)
    ds = xr.Dataset(variables, coords=labels)
    for key, own in attrs.items():
        if key in ds.variables:
            ds[key].attrs.update(own)
    for key, unit in units.items():
        if key in ds.variables:
            ds[key].attrs["units"] = unit
    if calendar is not None:
        ds["time"].attrs["calendar"] = calendar
    return dated(ds)


def dated(ds: xr.Dataset) -> xr.Dataset:
    """Times that count from a date as dates, which files hold in their units of before.

    Numbers stay where they are no dates (`TimeUnits.dates`), and where one is missing in a calendar
    of cftime, which has no such date.
    """
    found: dict[str, xr.Variable] = {}
    for key, variable in ds.variables.items():
        units = TimeUnits(variable.attrs.get("units"), variable.attrs.get("calendar"))
        missing = np.isnan(variable.values) if units.calendar is not None else np.zeros(0, bool)
        dates = units.dates(np.where(missing, 0.0, variable.values)) if missing.size else None
        if dates is None or (dates.dtype.kind == "O" and missing.any()):
            continue
        if missing.any():
            dates[missing] = np.datetime64("NaT")
        attrs = {k: v for k, v in variable.attrs.items() if k not in ("units", "calendar")}
        encoding = {"units": units.text, "calendar": units.calendar, "dtype": "float64"}
        encoding |= {} if missing.any() else {"_FillValue": None}  # CF has no missing positions
        found[str(key)] = xr.Variable(variable.dims, dates, attrs, encoding)
    coords = {key: variable for key, variable in found.items() if key in ds.coords}
    return ds.assign({k: v for k, v in found.items() if k not in coords}).assign_coords(coords)


def _padded(arrays: Sequence[Array]) -> Array:
    n = max(len(a) for a in arrays)
    if all(len(a) == n for a in arrays):
        return np.stack(arrays)
    out = np.full((len(arrays), n, *arrays[0].shape[1:]), np.nan, dtype=arrays[0].dtype)
    for k, a in enumerate(arrays):
        out[k, : len(a)] = a
    return out
