"""What `Trajectories` accepts: the checks at the boundary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.checks import checked_names
from pyro_msde.data.arrays import as_array, to_numpy
from pyro_msde.data.instants import TimeUnits
from pyro_msde.data.time_reading import read_times

__all__ = [
    "as_attrs",
    "as_channels",
    "as_columns",
    "as_controls",
    "as_covariates",
    "as_names",
    "as_static",
    "as_times",
    "as_units",
    "as_values",
    "check_finite",
    "check_increasing",
    "check_names",
]

Array = NDArray[Any]

_MASKED = " (Masked and missing values are read as NaN.)"


def as_values(values: Any) -> tuple[Array, ...]:
    """One (n_k, *field) array per trajectory, C-contiguous, all of one dtype.

    Raises:
        ValueError: If there are no trajectories, a rank is wrong or the fields' shapes differ.
    """
    out: tuple[Array, ...]
    if isinstance(values, (list, tuple)):
        out = tuple(to_numpy(v, f"values[{k}]") for k, v in enumerate(values))
        ranks_wrong = [k for k, v in enumerate(out) if v.ndim < 2]
        if ranks_wrong:
            k = ranks_wrong[0]
            raise ValueError(
                f"values: trajectory {k} has shape {out[k].shape}, not (time, *field). "
                "Give each trajectory a time axis and at least one field axis."
            )
    else:
        rectangular = to_numpy(values, "values")
        if rectangular.ndim < 3:
            raise ValueError(
                f"values: shape {rectangular.shape} is not (trajectory, time, *field). "
                "Pass [values] for a single trajectory."
            )
        out = tuple(rectangular)
    if not out:
        raise ValueError("values: no trajectories. Pass at least one.")
    for k, v in enumerate(out):
        if v.shape[1:] != out[0].shape[1:]:
            raise ValueError(
                f"values: the field of trajectory {k} has shape {v.shape[1:]}, that of "
                f"trajectory 0 {out[0].shape[1:]}. Use one grid for all."
            )
        if v.size == 0:
            raise ValueError(f"values: trajectory {k} has shape {v.shape}. Drop empty ones.")
    dtype = np.result_type(*out)
    return tuple(np.ascontiguousarray(v, dtype=dtype) for v in out)


def as_times(
    times: Any, lengths: Sequence[int], units: TimeUnits
) -> tuple[tuple[Array, ...], TimeUnits]:
    """One (n_k,) float64 array per trajectory from a list, (trajectory, time) or shared (time,).

    Args:
        times: Numbers, dates or durations.
        lengths: Snapshots of each trajectory.
        units: Theirs, as far as they are known; see `read_times`.

    Raises:
        ValueError: If ranks or lengths do not match `lengths`, or as `read_times`.
    """
    if isinstance(times, (list, tuple)) and not (times and np.ndim(times[0]) == 0):
        per_trajectory, units = read_times(times, units, "times")
    else:
        (array,), units = read_times([times], units, "times")
        if array.ndim not in (1, 2):
            raise ValueError(
                f"times: shape {array.shape} is neither (time,) nor (trajectory, time). "
                "Pass one of these or a list of arrays."
            )
        per_trajectory = [array] * len(lengths) if array.ndim == 1 else list(array)
    _same_number(per_trajectory, lengths, "times")
    for k, (t, n) in enumerate(zip(per_trajectory, lengths, strict=True)):
        if t.shape != (n,):
            raise ValueError(
                f"times: shape {t.shape} in trajectory {k}, whose values have {n} snapshots. "
                f"Pass shape ({n},), or values that are (trajectory, time, *field)."
            )
    return tuple(np.ascontiguousarray(t, dtype=np.float64) for t in per_trajectory), units


def as_covariates(covariates: Any, num_trajectories: int) -> Array | None:
    """(num_trajectories, p) float64; one number per trajectory becomes p = 1.

    Raises:
        ValueError: If the shape does not fit, or an entry is not finite.
    """
    if covariates is None:
        return None
    out = to_numpy(covariates, "covariates").astype(np.float64)
    if out.ndim == 1:
        out = out[:, None]
    if out.ndim != 2 or len(out) != num_trajectories:
        raise ValueError(
            f"covariates: shape {np.shape(covariates)} for {num_trajectories} trajectories. "
            f"Pass ({num_trajectories}, number of covariates)."
        )
    bad = np.argwhere(~np.isfinite(out))
    if len(bad):
        k, p = bad[0]
        raise ValueError(
            f"covariates: {_kind(out[k, p])} in trajectory {k}, covariate {p}, {len(bad)} in all. "
            f"Pass finite numbers.{_MASKED}"
        )
    return out


def as_controls(controls: Any, times: Sequence[Array]) -> tuple[Array, ...] | None:
    """One (n_k, c) array per trajectory; one number per time becomes c = 1.

    Raises:
        ValueError: If ranks, lengths or c do not match, or an entry is not finite.
    """
    if controls is None:
        return None
    if not isinstance(controls, (list, tuple)):
        controls = np.atleast_1d(to_numpy(controls, "controls"))
    parts = [to_numpy(c, f"controls[{k}]") for k, c in enumerate(controls)]
    _same_number(parts, times, "controls")
    out: list[Array] = []
    for k, (c, t) in enumerate(zip(parts, times, strict=True)):
        column = c[:, None] if c.ndim == 1 else c
        if column.ndim != 2 or len(column) != len(t):
            raise ValueError(
                f"controls: shape {c.shape} in trajectory {k} with {len(t)} times. "
                f"Pass ({len(t)}, number of controls)."
            )
        if out and column.shape[1] != out[0].shape[1]:
            raise ValueError(
                f"controls: {column.shape[1]} controls in trajectory {k}, {out[0].shape[1]} in "
                "trajectory 0. Pass the same controls everywhere."
            )
        out.append(column)
    dtype = np.result_type(*out)
    out = [np.ascontiguousarray(c, dtype=dtype) for c in out]
    check_finite(out, times, "controls")
    return tuple(out)


def as_static(
    static: Any, field_shape: tuple[int, ...], *, has_channel: bool = False
) -> Array | None:
    """(s, *space) float64 fields, where space is all axes of the field or all but the first.

    What has the shape of fields is refused, unless these are known to have a channel axis: it is
    one field without its axis, rather than as many as there are points along the first axis.

    Raises:
        ValueError: If the shape does not fit, or an entry is not finite.
    """
    if static is None:
        return None
    out = to_numpy(static, "static").astype(np.float64)
    fits = out.shape[1:] == field_shape or (out.ndim > 1 and out.shape[1:] == field_shape[1:])
    if not len(np.atleast_1d(out)) or not fits or (out.shape == field_shape and not has_channel):
        raise ValueError(
            f"static: shape {out.shape}, where fields are {field_shape}. Pass (s, *space), one or "
            "more fields without an axis of channels."
        )
    if bad := int((~np.isfinite(out)).sum()):
        raise ValueError(
            f"static: NaN or infinite, {bad} of {out.size} numbers. Give one for each point, land "
            f"among them.{_MASKED}"
        )
    return out


def check_increasing(times: Sequence[Array]) -> None:
    """Raise ValueError if a time is not finite or does not exceed the one before."""
    for k, t in enumerate(times):
        bad = np.flatnonzero(~np.isfinite(t))
        if len(bad):
            raise ValueError(
                f"times: {_kind(t[bad[0]])} in trajectory {k}, index {bad[0]}, {len(bad)} in all. "
                f"Drop these snapshots.{_MASKED if np.isnan(t[bad[0]]) else ''}"
            )
        bad = np.flatnonzero(np.diff(t) <= 0) + 1
        if len(bad):
            i = bad[0]
            raise ValueError(
                f"times: not strictly increasing in trajectory {k}, index {i} "
                f"(t={t[i]:.9g} after {t[i - 1]:.9g}), {len(bad)} such steps in all. "
                "Sort the snapshots and merge equal times."
            )


def check_finite(
    arrays: Sequence[Array], times: Sequence[Array], argument: str, advice: str = "Drop them."
) -> None:
    """Raise ValueError at the first NaN or infinity of (n_k, *) arrays, counting all."""
    finite = [np.isfinite(a).reshape(len(a), -1).all(axis=1) for a in arrays]
    total = sum(int((~f).sum()) for f in finite)
    for k, f in enumerate(finite):
        if not f.all():
            i = int(np.argmin(f))
            kind = _kind(arrays[k][i][~np.isfinite(arrays[k][i])][0])
            raise ValueError(
                f"{argument}: {kind} in trajectory {k}, index {i} (t={times[k][i]:.9g}), and in "
                f"{total} of {sum(len(t) for t in times)} snapshots altogether. {advice}"
                f"{_MASKED if kind == 'NaN' else ''}"
            )


def check_some_observed(values: Sequence[Array], times: Sequence[Array]) -> None:
    """Raise ValueError at an infinity, or where all of a trajectory is NaN."""
    for k, v in enumerate(values):
        if np.isinf(v).any():
            check_finite([np.where(np.isinf(w), w, 0.0) for w in values], times, "values")
        if np.isnan(v).all():
            raise ValueError(f"values: nothing was observed in trajectory {k}. Leave it out.")


def as_names(
    dims: Sequence[str] | None, coords: Mapping[str, Any] | None, field_shape: tuple[int, ...]
) -> tuple[tuple[str, ...] | None, dict[str, Array]]:
    """Names of the field's axes and their coordinates.

    Raises:
        ValueError: If their numbers or lengths do not fit `field_shape`.
    """
    names = None if dims is None else checked_names("dims", dims)
    if not isinstance(coords, Mapping | None):
        raise ValueError(f"coords: got {type(coords).__name__}. Pass positions by name of axis.")
    if names is not None and (len(names) != len(field_shape) or len(set(names)) != len(names)):
        raise ValueError(
            f"dims: {names} for a field of shape {field_shape}. "
            f"Pass {len(field_shape)} different names, without trajectory and time."
        )
    sizes = dict(zip(names or (), field_shape, strict=True)) if names else {}
    out = {key: as_array(value, f"coords[{key!r}]") for key, value in (coords or {}).items()}
    for key, value in out.items():
        if key not in sizes:
            raise ValueError(f"coords: {key!r} is no axis of the field. Name it in dims={names}.")
        if value.shape != (sizes[key],):
            raise ValueError(
                f"coords: {key!r} has shape {value.shape} on an axis of length {sizes[key]}. "
                f"Pass shape ({sizes[key]},)."
            )
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            i = int(np.argmin(np.isfinite(value)))
            raise ValueError(f"coords: {key!r} is {_kind(value[i])} at index {i}. Pass positions.")
    return names, out


def as_units(units: str | Mapping[str, str] | None, name: str) -> dict[str, str]:
    """Units by name; a string is the field's.

    Raises:
        ValueError: If they are neither a string nor strings by name.
    """
    given = {name: units} if isinstance(units, str) else {} if units is None else units
    if not isinstance(given, Mapping) or not all(isinstance(x, str) for x in given.values()):
        raise ValueError(f"units: got {units!r}. Pass a string, or strings by name.")
    return dict(given)


def as_attrs(given: Mapping[str, Mapping[str, str]] | None) -> dict[str, dict[str, str]]:
    """CF's attributes by name of what they are of.

    Raises:
        ValueError: They are no strings by name, for each name.
    """
    attrs = {} if given is None else given
    if isinstance(attrs, Mapping):
        pairs = [(key, own) for key, own in attrs.items() if isinstance(own, Mapping)]
        texts = [text for key, own in pairs for text in (key, *own, *own.values())]
        if len(pairs) == len(attrs) and all(isinstance(text, str) for text in texts):
            return {key: dict(own) for key, own in pairs}
    raise ValueError(f"attrs: got {attrs!r}. Pass strings by name, for each name of an axis.")


def as_channels(
    names: Sequence[str] | None, field_shape: tuple[int, ...], taken: Sequence[str]
) -> tuple[str, ...] | None:
    """Names of the channels, which lie along the first axis of fields.

    Raises:
        ValueError: If there are not as many as channels, or two things have one name.
    """
    if names is None:
        return None
    given = checked_names("channel_names", names)
    if len(field_shape) < 2 or len(given) != field_shape[0] or len(set(given)) < len(given):
        raise ValueError(
            f"channel_names: {given} for fields {field_shape}. Pass as many different names as "
            "their first axis, that of the channels, is long."
        )
    for name in given:
        if name in (*taken, "trajectory", "time", "snapshot") or not name:
            raise ValueError(f"channel_names: {name!r} is another's name. Call it otherwise.")
    return given


def as_columns(names: Sequence[str] | None, kind: str, count: int) -> tuple[str, ...]:
    """Names of covariates or controls.

    Raises:
        ValueError: If there are not as many as columns.
    """
    if names is None:
        return tuple(f"{kind}_{i}" for i in range(count))
    given = (names,) if isinstance(names, str) else tuple(names)
    if len(given) != count or not all(isinstance(name, str) for name in given):
        raise ValueError(f"{kind}_names: {given} for {count} {kind}s. Pass {count} strings.")
    return given


def check_names(name: Any, dims: Sequence[str] | None, columns: Sequence[str]) -> None:
    """Raise ValueError if what xarray has to tell apart is called the same.

    Args:
        name: The field's.
        dims: Of its axes.
        columns: Of covariates, controls and static fields.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"name: {name!r} is no name. Pass a string such as 'u'.")
    taken = {key: f"an axis of {key}" for key in ("trajectory", "time", "snapshot")}
    named = [("name", name), *(("dims", d) for d in dims or ()), *(("names", c) for c in columns)]
    for argument, key in named:
        if key in taken:
            raise ValueError(
                f"{argument}: {key!r} is what {taken[key]} is called. Call it otherwise."
            )
        taken[key] = {"name": "the field", "dims": "an axis of the field"}.get(
            argument, "a covariate, control or static field"
        )


def _same_number(parts: Sequence[Any], expected: Sequence[Any], argument: str) -> None:
    if len(parts) != len(expected):
        raise ValueError(
            f"{argument}: given for {len(parts)} trajectories, values for {len(expected)}. "
            "Pass one array per trajectory."
        )


def _kind(number: Any) -> str:
    return "NaN" if np.isnan(number) else "infinity"
