"""What a model's data are of: names, positions and units, kept with a fit and compared later."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pyro_msde.data.instants import TimeUnits
from pyro_msde.data.positions import difference
from pyro_msde.data.trajectories import Trajectories
from pyro_msde.errors import warn

__all__ = ["Metadata", "matched"]

Positions = tuple[float, ...] | tuple[str, ...]


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    """What `Metadata.to_json` gives."""

    name: str
    dims: tuple[str, ...] | None
    coords: dict[str, tuple[float | str, ...]]
    units: dict[str, str]
    calendar: str | None
    covariates: tuple[str, ...]
    missing: str = "raise"
    channels: tuple[str, ...] = ()
    attrs: dict[str, dict[str, str]] = {}
    time: str = "time"
    controls: tuple[str, ...] = ()
    static: tuple[str, ...] = ()


@dataclass(frozen=True)
class Metadata:
    """Names, positions and units of the data that a model was trained on.

    Attributes:
        name: The field's.
        dims: Of its axes; None: not known.
        coords: Positions by name of axis.
        units: By name of field, channel, axis or "time".
        calendar: Of the times, if these count from a date.
        covariates: Names of the trajectories' covariates.
        missing: What NaN means: see `Trajectories`.
        channels: Names of the channels; empty if they have none.
        attrs: CF's attributes by name of field, channel, axis or "time".
        time: What the file that the data came from calls the times.
        controls: Names of the controls.
        static: Names of the static fields.
    """

    name: str
    dims: tuple[str, ...] | None
    coords: Mapping[str, Positions]
    units: Mapping[str, str]
    calendar: str | None
    covariates: tuple[str, ...]
    missing: str = "raise"
    channels: tuple[str, ...] = ()
    attrs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    time: str = "time"
    controls: tuple[str, ...] = ()
    static: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: Trajectories) -> Metadata:
        """Of some trajectories."""
        coords = {key: _positions(x) for key, x in data.coords.items()}
        units = {str(key): str(unit) for key, unit in data.units.items()}
        return cls(
            data.name,
            data.dims,
            coords,
            units,
            data.calendar,
            data.covariate_names,
            data.missing,
            data.channel_names or (),
            data.attrs,
            data.time_name,
            data.control_names,
            data.static_names,
        )

    @classmethod
    def of_array(cls, fields: xr.DataArray, axes: int) -> Metadata:
        """Of fields in an xarray DataArray, whose last axes are the field's."""
        dims = tuple(str(d) for d in fields.dims[-axes:])
        known = None if any(d.startswith("dim_") for d in dims) else dims  # xarray's own names
        positions: dict[str, Positions] = {}
        for d in dims:
            if d in fields.coords:
                positions[d] = _positions(fields.coords[d].values)
        named = {"": fields, **{d: fields.coords[d] for d in positions}}
        units = {key: str(x.attrs["units"]) for key, x in named.items() if "units" in x.attrs}
        return cls("", known, positions, units, None, ())

    @property
    def time_units(self) -> TimeUnits:
        """Units of the times, with their calendar."""
        return TimeUnits(self.units.get("time"), self.calendar)

    def to_json(self) -> dict[str, Any]:
        """Tuples, numbers and strings that JSON can hold."""
        builtins: dict[str, Any] = msgspec.to_builtins(self)
        return builtins

    @classmethod
    def from_json(cls, saved: Any) -> Metadata:
        """The inverse of `to_json`.

        Raises:
            TypeError: Something else than `to_json` gives.
            ValueError: An unknown calendar.
        """
        try:
            known = msgspec.structs.asdict(msgspec.convert(saved, _Saved, strict=True))
        except msgspec.ValidationError as error:
            raise TypeError(f"metadata: {error}") from None
        for key, x in known["coords"].items():
            if not (_all(x, str) or (_all(x, float) and np.isfinite(x).all())):
                raise TypeError(f"metadata: coords[{key!r}] is no list of finite numbers or names")
        TimeUnits(known["units"].get("time"), known["calendar"])
        return cls(**known)

    def check(self, argument: str, other: Metadata) -> None:
        """Compare with those of other data; what only one side knows is not compared.

        Warns of other names, those of columns that nobody named left aside, and other positions.

        Raises:
            ValueError: Other units, or axes, positions, channels, covariates or controls in another
                order.
        """
        self._check_units(argument, other)
        channels = other.channels or (_names_along_first(other) if self.channels else ())
        for what, ours, theirs in (
            ("dims", self.dims or (), other.dims or ()),
            ("covariates", self.covariates, other.covariates),
            ("controls", self.controls, other.controls),
            ("static", self.static, other.static),
            ("channels", self.channels, channels),
        ):
            if ours != theirs and sorted(ours) == sorted(theirs):
                raise ValueError(
                    f"{argument}: {what} {theirs}, but the data of the fit have {ours}. Transpose "
                    "or sort them."
                )
        said = [f"axes {other.dims} against {self.dims}"] if self._axes_differ(other) else []
        for what, default, ours, theirs in (
            ("channels", None, self.channels, channels),
            ("covariates", "covariate", self.covariates, other.covariates),
            ("controls", "control", self.controls, other.controls),
            ("static", "static", self.static, other.static),
        ):
            if ours != theirs and _are_given(ours, default) and _are_given(theirs, default):
                said.append(f"{what} {theirs} against {ours}")
        for mine, yours in zip(self.dims or (), other.dims or (), strict=False):
            if mine not in self.coords or yours not in other.coords:
                continue
            words, elsewhere = difference(
                np.array(self.coords[mine]), np.array(other.coords[yours])
            )
            if words and not elsewhere:
                raise ValueError(
                    f"{argument}: coords[{yours!r}] are in another order than in the data of the "
                    f"fit, {words}. Sort or flip values and coordinates along this axis."
                )
            said += [f"coords[{yours!r}] {words}"] if words else []
        if said:
            warn(
                f"{argument}: other {'; '.join(said)} in the data of the fit. Forecasts know "
                "places in arrays only, so be sure that these are meant."
            )

    def _check_units(self, argument: str, other: Metadata) -> None:
        names = {key: key for key in self.units} | {self.name: other.name}
        for ours, theirs in names.items():
            a, b = self.units.get(ours), other.units.get(theirs)
            if ours != "time" and a and b and a.strip() != b.strip():
                raise ValueError(
                    f"{argument}: {theirs or 'fields'} in {b!r}, but the data of the fit have "
                    f"{a!r}. Convert one of both."
                )

    def _axes_differ(self, other: Metadata) -> bool:
        return self.dims is not None and other.dims is not None and self.dims != other.dims


def matched(metadata: Metadata | None, argument: str, data: Trajectories) -> Trajectories:
    """Other data for a fit, at times in its units, once nothing speaks against them.

    Args:
        metadata: The fit's; None: not known, so the data are returned as they are.
        argument: What errors call the data.
        data: Whose units, names and positions are compared.

    Raises:
        ValueError: As `Metadata.check`; times that are no instants where the fit's are, or the
            other way round.
    """
    if metadata is None or not isinstance(data, Trajectories):
        return data
    metadata.check(argument, Metadata.of(data))
    return data.in_time_units(metadata.time_units, argument)


def _names_along_first(other: Metadata) -> tuple[str, ...]:
    """Names of the places along the first axis of fields, if they have such."""
    along = other.coords.get(other.dims[0], ()) if other.dims else ()
    return tuple(name for name in along if isinstance(name, str))


def _are_given(names: tuple[str, ...], default: str | None) -> bool:
    """Whether there are names, and others than columns have that nobody named."""
    return bool(names) and names != tuple(f"{default}_{k}" for k in range(len(names)))


def _positions(x: NDArray[Any]) -> Positions:
    return tuple(x.astype(np.float64 if x.dtype.kind in "fiu" else str).tolist())


def _all(items: Sequence[Any], kind: type) -> bool:
    return all(isinstance(x, kind) for x in items)
