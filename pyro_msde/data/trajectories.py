"""Trajectories of a field observed at discrete times, of any lengths, with xarray in and out."""

from __future__ import annotations

import copy
import numbers
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pyro_msde.checks import check_choice, check_whole
from pyro_msde.data.arrays import as_array
from pyro_msde.data.cutting import (
    Splits,
    after,
    between,
    cut_windows,
    split_in_time,
    until,
)
from pyro_msde.data.instants import TimeUnits, same_times
from pyro_msde.data.missing_values import advice_on
from pyro_msde.data.validation import (
    as_attrs,
    as_channels,
    as_columns,
    as_controls,
    as_covariates,
    as_names,
    as_static,
    as_times,
    as_units,
    as_values,
    check_finite,
    check_increasing,
    check_names,
    check_some_observed,
)
from pyro_msde.data.xarray_io import read_xarray, write_xarray
from pyro_msde.renaming import renamed_arguments, renamed_attribute

__all__ = ["Trajectories"]

Array = NDArray[Any]


class Trajectories:
    """Observed trajectories y_k(t_ki), k = 0, 1, …, each with its own times.

    Args:
        times: A list of (n_k,) arrays, one (trajectory, time) array, or one (time,) array shared
            by all. Strictly increasing; stored in float64. Dates (numpy's, Python's, pandas's,
            cftime's, or texts such as "2000-01-31 12:00", "2000-01" or "2000") are counted in
            `units["time"]`, such as "days since 2000-01-01", or in seconds since the first of all;
            durations in `units["time"]`, or in seconds.
        values: A list of (n_k, *field) arrays or one (trajectory, time, *field) array, numpy or
            torch, where field is (*space) or (channel, *space): the model's grid later decides
            which. float32 and float64 are kept, other types become float64; no copy is made where
            none is needed (read-only arrays are copied). Masked entries count as NaN.
        missing: "raise": NaN is refused; "mask": it stands for what was not observed. Likelihood,
            variances and scores then count what was, and forecasts may start from fields with gaps.
        covariates: (trajectory, p) or (trajectory,), what is fixed along each trajectory.
        controls: A list of (n_k, c) or (n_k,) arrays or one rectangular array, what is imposed at
            the times.
        static: (s, *space) fields that never change and are known at every point, such as orography
            or where land is.
        name: The field's name.
        channel_names: Names of the channels, along the first axis of the field.
        dims: Names of the field's axes.
        coords: Positions along the axes that `dims` names.
        units: Units by name of field, channel, axis or "time"; a string is the field's units.
        attrs: What else CF says of them, by name: `long_name`, `standard_name` and the like.
        calendar: CF's name of the calendar of times with units such as "days since 2000-01-01";
            "standard" unless given.
        covariate_names: Names of the covariates; covariate_0, … unless given.
        control_names: Names of the controls; control_0, … unless given.
        static_names: Names of the static fields; static_0, … unless given.

    Attributes:
        times: Tuple of (n_k,) float64 arrays.
        values: Tuple of C-contiguous (n_k, *field) arrays, float32 or float64.
        missing: As given.
        covariates: (trajectory, p) float64, or None.
        controls: Tuple of (n_k, c) arrays, or None.
        static: (s, *space) float64, or None.
        name: The field's name.
        channel_names: As given, or None.
        dims: Names of the field's axes, or None.
        coords: Arrays by name of axis.
        units: Units by name.
        attrs: Strings by name, for each a mapping.
        calendar: Of the times, if these count from a date; else None.
        time_name: What `from_xarray` found the times under; else "time".

    Raises:
        ValueError: If there are no trajectories, ranks or lengths do not match, times do not
            increase strictly, a number is NaN or infinite, or two things have one name.
    """

    time_name: str = "time"

    @renamed_arguments(parameters="covariates", parameter_names="covariate_names")
    def __init__(
        self,
        times: Any,
        values: Any,
        *,
        missing: str = "raise",
        covariates: Any = None,
        controls: Any = None,
        static: Any = None,
        name: str = "u",
        channel_names: Sequence[str] | None = None,
        dims: Sequence[str] | None = None,
        coords: Mapping[str, Any] | None = None,
        units: str | Mapping[str, str] | None = None,
        attrs: Mapping[str, Mapping[str, str]] | None = None,
        calendar: str | None = None,
        covariate_names: Sequence[str] | None = None,
        control_names: Sequence[str] | None = None,
        static_names: Sequence[str] | None = None,
    ) -> None:
        """Check and store; see the class."""
        if not isinstance(name, str):
            raise ValueError(f"name: got {type(name).__name__}. Pass the field's name, a string.")
        self.units: dict[str, str] = as_units(units, name)
        self.values: tuple[Array, ...] = as_values(values)
        self.times, clock = as_times(
            times, [len(v) for v in self.values], TimeUnits(self.units.get("time"), calendar)
        )
        self.units |= {} if clock.text is None else {"time": clock.text}
        self.calendar: str | None = clock.calendar
        check_increasing(self.times)
        check_choice("missing", missing, ("raise", "mask"))
        self.missing = missing
        if missing == "mask":
            check_some_observed(self.values, self.times)
        else:
            check_finite(self.values, self.times, "values", advice_on(self.values))
        self.covariates: Array | None = as_covariates(covariates, len(self.values))
        self.controls: tuple[Array, ...] | None = as_controls(controls, self.times)
        self.name = name
        self.dims, self.coords = as_names(dims, coords, self.field_shape)
        named = channel_names is not None or (self.dims or ("",))[0] == "channel"
        self.static: Array | None = as_static(static, self.field_shape, has_channel=named)
        self._names = covariate_names, control_names, static_names
        columns = (*self.covariate_names, *self.control_names, *self.static_names)
        check_names(name, self.dims, columns)
        self.channel_names = as_channels(
            channel_names, self.field_shape, (*(self.dims or ()), *columns)
        )
        self.attrs = as_attrs(attrs)

    @classmethod
    @renamed_arguments(parameters="covariates")
    def from_xarray(
        cls,
        ds: xr.Dataset | xr.DataArray,
        name: str | Sequence[str] | None = None,
        *,
        trajectory: str = "trajectory",
        time: str = "time",
        channel: str = "channel",
        missing: str = "raise",
        covariates: Sequence[str] | None = None,
        controls: Sequence[str] | None = None,
        static: Sequence[str] | None = None,
    ) -> Trajectories:
        """Trajectories of a variable, or of several, which become channels.

        Snapshots at the end that are all NaN are dropped.

        What CF's attributes `_FillValue`, `missing_value`, `valid_range` and the like call missing
        counts as NaN; packed variables (`scale_factor`, `add_offset`) are unpacked.

        Args:
            ds: A Dataset, or a DataArray (then `name` is what to call it; None: its own name).
            name: The variable, with any order of dimensions; or variables, in the order of the
                channels, with equal dimensions. Each has its own units, and its name is that of its
                channel; the field's is all of them, as in "u_v".
            trajectory: Its dimension of trajectories; without it there is one trajectory.
            time: Variable or coordinate of times, along one dimension or (trajectory, another).
                Dates are counted in the units of the file that they were read from, or in seconds
                since the first; `units["time"]` says which.
            channel: Its dimension of channels, if any, which is put before the axes of space; of
                several variables, what to call that axis.
            missing: As for the class.
            covariates: Variables along `trajectory` only.
            controls: Variables along `trajectory` and time, or one of them.
            static: Variables along all axes of space or some of them, which never change.

        Raises:
            ValueError: If a variable or dimension is missing, or as the class says.
        """
        arguments = read_xarray(
            ds,
            name,
            trajectory=trajectory,
            time=time,
            channel=channel,
            covariates=covariates,
            controls=controls,
            static=static,
        )
        out = cls(**arguments, missing=missing)
        out.time_name = time
        return out

    def to_xarray(self) -> xr.Dataset:
        """The inverse of `from_xarray`: NaN after the end of the shorter trajectories.

        `name` is (trajectory, time, *dims), with one `time` coordinate if no trajectory has times
        of its own, else (trajectory, snapshot, *dims) with `time` (trajectory, snapshot). Times are
        dates where the data have dates, but numbers in units since a date where shorter
        trajectories of a calendar that only cftime knows would lack some. Channels with names are a
        variable each, without an axis of channels.
        Covariates, controls and static fields are variables of their names.
        """
        return write_xarray(
            self.times,
            self.values,
            covariates=self.covariates,
            controls=self.controls,
            static=self.static,
            column_names=(self.covariate_names, self.control_names, self.static_names),
            name=self.name,
            channel_names=self.channel_names,
            dims=self.dims or tuple(f"dim_{i}" for i in range(len(self.field_shape))),
            coords=self.coords,
            units=self.units,
            attrs=self.attrs,
            calendar=self.calendar,
        )

    def __len__(self) -> int:
        """Number of trajectories."""
        return len(self.values)

    def __getitem__(self, index: Any) -> Trajectories:
        """Some of the trajectories, without a copy.

        Args:
            index: As numpy's arrays with one axis take it: a number, a slice, a list of numbers, or
                a mask as long as there are trajectories.

        Raises:
            IndexError: If an index is out of range or no whole number, or a mask too long or short.
            ValueError: If the selection is empty.
        """
        if isinstance(index, bool | tuple):
            raise IndexError(f"index: {index!r}. Pass a number, a slice, a list or a mask.")
        if not isinstance(index, numbers.Integral | slice):
            index = as_array(index, "index")
            index = index.astype(np.int64) if index.size == 0 else index
        try:
            chosen = np.atleast_1d(np.arange(len(self))[index])
        except IndexError as error:
            raise IndexError(f"index: {error}; there are {len(self)} trajectories.") from error
        if chosen.ndim != 1 or not len(chosen):
            raise ValueError(f"index: {index} selects no trajectory of {len(self)}.")
        out = copy.copy(self)
        out.times = tuple(self.times[k] for k in chosen)
        out.values = tuple(self.values[k] for k in chosen)
        out.covariates = None if self.covariates is None else self.covariates[chosen]
        out.controls = None if self.controls is None else tuple(self.controls[k] for k in chosen)
        return out

    def __array__(self, *args: Any, **options: Any) -> Array:
        """Nothing: trajectories are many arrays.

        Raises:
            TypeError: Always.
        """
        raise TypeError("Trajectories are no array; their `values` are, one for each")

    def thinned(self, stride: int) -> Trajectories:
        """Every stride-th snapshot of each trajectory, from the first on, without a copy.

        Raises:
            ValueError: If the stride is no positive whole number.
        """
        stride = check_whole("stride", stride, 1)
        return self.snapshots([slice(None, None, stride)] * len(self))

    def until(self, time: Any) -> Trajectories:
        """The snapshots of each trajectory up to a time, without a copy.

        Args:
            time: A number in the data's unit, or a date if the data have dates, cftime's, numpy's
                or a text. A text names all of a day, month or year, as in pandas' slices:
                "2000-01-31", "2000-01" and "2000" include the last hour of these. Other dates are
                instants.

        Raises:
            ValueError: If a trajectory has none, or there is no such time.
        """
        return until(self, time)

    def after(self, time: Any) -> Trajectories:
        """The snapshots of each trajectory that `until` leaves out, without a copy.

        Arguments and errors as for `until`.
        """
        return after(self, time)

    def between(self, start: Any, end: Any) -> Trajectories:
        """The snapshots of each trajectory from a time to another, both included, without a copy.

        A text as `start` is its first instant; as `end` it is the whole day, month or year.
        Arguments and errors as for `until`.
        """
        return between(self, start, end)

    def split(self, train: float = 0.7, validation: float = 0.15, *, gap: Any = None) -> Splits:
        """Three parts of each trajectory, one after the other in time, without a copy.

        For long records. Of many independent trajectories rather take some for each part, as in
        data[:40]; windows that overlap are cut from the parts afterwards.

        Args:
            train: Share of the snapshots, less those in gaps, for training.
            validation: Share that comes next. The test has the rest.
            gap: What is left out between parts, so that what is known of one says nothing of the
                next: a number of snapshots or a duration, such as np.timedelta64(10, "D"). Best the
                length of the forecasts to be made. None: as many snapshots as the fields' anomalies
                take to decorrelate (to 1/e), at most a twentieth of the trajectory's.

        Returns:
            `train`, `validation` and `test`.

        Raises:
            ValueError: If shares are not inside (0, 1) together, or a part has fewer than two
                snapshots.
        """
        return split_in_time(self, train, validation, gap)

    def cut(self, length: Any, every: Any = None) -> Trajectories:
        """Windows of each trajectory, which may overlap, each a trajectory, without a copy.

        They keep their times, or dates. What forecasts several of them (`Fit.forecast`,
        `calibrated`, validation, scores) goes by lead time, from the start of each. They are not
        meant for training, which cuts whole records into segments itself.

        Windows of so many snapshots that would span a hole in an otherwise regular record are left
        out; a line in the log says how many. A hole is a step over 1.5 times the median one, as no
        month or year is; where such steps follow each other alike, the record's spacing changes.

        Args:
            length: Of a window, as a number of snapshots, first and last included, or as a
                duration, such as np.timedelta64(30, "D").
            every: From the start of one to that of the next, likewise. None: as `length`, so that
                windows of so many snapshots follow each other.

        Raises:
            ValueError: If no trajectory is as long, or these are no positive lengths.
        """
        return cut_windows(self, length, every)

    def in_time_units(self, units: TimeUnits, argument: str = "data") -> Trajectories:
        """The same at times counted in other units.

        Args:
            units: Theirs. Where they or the data's own are not known, the data are returned.
            argument: What errors call the data.

        Raises:
            ValueError: If one's times count from a date and the other's do not, or calendars
                differ.
        """
        ours = self.time_units
        if units == ours or units.text is None or ours.text is None:
            return self
        out = copy.copy(self)
        out.times = tuple(units.converted(t, ours, argument) for t in self.times)
        out.units = {**self.units, "time": units.text}
        out.calendar = units.calendar
        return out

    def snapshots(self, chosen: Sequence[Any]) -> Trajectories:
        """Some snapshots of each trajectory.

        Args:
            chosen: For each trajectory a slice, of which no copy is made, or increasing indices.

        Raises:
            ValueError: If there is not one for each trajectory.
        """
        if len(chosen) != len(self):
            raise ValueError(f"chosen: {len(chosen)} choices for {len(self)} trajectories.")
        out = copy.copy(self)
        out.times = tuple(t[i] for t, i in zip(self.times, chosen, strict=True))
        out.values = tuple(v[i] for v, i in zip(self.values, chosen, strict=True))
        if self.controls is not None:
            out.controls = tuple(c[i] for c, i in zip(self.controls, chosen, strict=True))
        return out

    def __iter__(self) -> Iterator[Trajectories]:
        """The trajectories one by one, each a `Trajectories` of length 1."""
        return (self[k] for k in range(len(self)))

    parameters = renamed_attribute("parameters", "covariates")
    parameter_names = renamed_attribute("parameter_names", "covariate_names")
    every = renamed_attribute("every", "thinned")

    @property
    def time_units(self) -> TimeUnits:
        """Units of the times, with their calendar."""
        return TimeUnits(self.units.get("time"), self.calendar)

    @property
    def covariate_names(self) -> tuple[str, ...]:
        """(p,) covariate_0, … unless given; empty without covariates."""
        count = 0 if self.covariates is None else self.covariates.shape[1]
        return as_columns(self._names[0], "covariate", count)

    @property
    def control_names(self) -> tuple[str, ...]:
        """(c,) control_0, … unless given; empty without controls."""
        count = 0 if self.controls is None else self.controls[0].shape[1]
        return as_columns(self._names[1], "control", count)

    @property
    def static_names(self) -> tuple[str, ...]:
        """(s,) static_0, … unless given; empty without static fields."""
        return as_columns(self._names[2], "static", 0 if self.static is None else len(self.static))

    @property
    def field_shape(self) -> tuple[int, ...]:
        """Shape of one snapshot, with the channel axis if the data have one."""
        return self.values[0].shape[1:]

    @property
    def num_observations(self) -> int:
        """Number of snapshots in all trajectories."""
        return sum(len(t) for t in self.times)

    @property
    def horizon(self) -> float:
        """The longest trajectory's time from start to end."""
        return max(float(t[-1] - t[0]) for t in self.times)

    def common_times(self) -> Array | None:
        """The (time,) that all trajectories share to 1e-9 of the horizon, or None."""
        first = self.times[0]
        return first if all(same_times(first, t) for t in self.times) else None

    def has_channel_axis(self, channels: int, shape: tuple[int, ...]) -> bool:
        """Whether the field is (channels, *shape) and not (*shape).

        Raises:
            ValueError: If it is neither. Only a single channel may go without an axis.
        """
        channels = check_whole("channels", channels, 1)
        if not isinstance(shape, Sequence):
            raise ValueError(f"shape: got {shape!r}. Pass points per axis.")
        shape = tuple(check_whole(f"shape[{axis}]", n, 1) for axis, n in enumerate(shape))
        if self.field_shape == (channels, *shape):
            return True
        if self.field_shape == shape and channels == 1:
            return False
        allowed = f"{shape} or {(1, *shape)}" if channels == 1 else f"{(channels, *shape)}"
        raise ValueError(
            f"values: field of shape {self.field_shape}, but the grid with {channels} channel(s) "
            f"takes {allowed}. Change the grid or transpose the data."
        )

    def fields(self, channels: int, shape: tuple[int, ...]) -> list[Array]:
        """Views (n_k, channel, *space) of the values.

        Raises:
            ValueError: If the field fits neither (channels, *shape) nor, for one channel, (*shape).
        """
        if self.has_channel_axis(channels, shape):
            return list(self.values)
        return [v[:, None] for v in self.values]

    def __repr__(self) -> str:
        """Number, lengths, times and shape."""
        lengths = [len(t) for t in self.times]
        low, high = min(lengths), max(lengths)
        start, end = min(t[0] for t in self.times), max(t[-1] for t in self.times)
        shown = self.time_units.shown
        axes = "" if self.dims is None else f" {'×'.join(self.dims)}"
        extras = ""
        if self.covariates is not None:
            names = self.covariate_names
            extras = f", covariates {', '.join(names[:4])}{', …' if len(names) > 4 else ''}"
        extras += "" if self.controls is None else f", {self.controls[0].shape[1]} controls"
        extras += "" if self.static is None else f", static {', '.join(self.static_names)}"
        return (
            f"Trajectories({self.name}: {len(self)} × {low if low == high else f'{low}-{high}'} "
            f"snapshots, t {shown(start)} to {shown(end)}, field {self.field_shape}{axes}, "
            f"{self.values[0].dtype}{extras})"
        )
