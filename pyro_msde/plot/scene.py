"""One trajectory of a forecast and its truth as plain arrays, with labels, for drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyro_msde.data import Metadata, TimeUnits, Trajectories, evenly_spaced, nearest, rounding
from pyro_msde.forecasts import Forecast
from pyro_msde.grid import Grid, SensorGraph
from pyro_msde.plot.checks import check_channel, check_finite_forecast, check_index, check_truth
from pyro_msde.plot.dates import date_positions, date_titles
from pyro_msde.plot.space_axes import Axis
from pyro_msde.plot.style import label
from pyro_msde.scores import aligned

__all__ = [
    "Nodes",
    "Scene",
    "Words",
    "choose_times",
    "times_of",
    "trajectory_of",
]

Array = NDArray[Any]


class Nodes(NamedTuple):
    """Where the nodes of a graph are, (n, 2), and which are joined, (2, E)."""

    positions: Array
    edges: Array


@dataclass(frozen=True)
class Words:
    """Names, positions and units: the data's where there are data, else the grid's.

    Attributes:
        space: The axes of space.
        channels: A name for each channel; empty if there is one only.
        channel_units: Of each channel that has its own; else empty.
        field: The field's name.
        field_units: Its units.
        time_units: Units of time.
        calendar: Of the times, if they count from a date.
        nodes: Of a graph whose nodes have positions.
    """

    space: tuple[Axis, ...]
    channels: tuple[str, ...]
    field: str
    field_units: str | None
    time_units: str | None
    calendar: str | None = None
    nodes: Nodes | None = None
    channel_units: tuple[str | None, ...] = ()

    @classmethod
    def of(cls, grid: Grid, data: Any, metadata: Metadata | None = None) -> Words:
        """Of a grid and of `data`, if these are `Trajectories`; else of a fit's metadata."""
        channels = range(grid.channels) if grid.channels > 1 else ()
        nodes, axes = None, tuple("xyz")
        if isinstance(grid, SensorGraph):
            axes = ("node",)
            nodes = None if grid.positions is None else Nodes(grid.positions, grid.edges)
        if isinstance(data, Trajectories):
            has_channel = data.has_channel_axis(grid.channels, grid.data_shape)
            metadata = Metadata.of(data)
        elif metadata is None:
            space = tuple(Axis(n, x, None) for n, x in zip(axes, grid.coordinates, strict=False))
            return cls(space, tuple(map(str, channels)), "u", None, None, nodes=nodes)
        else:
            has_channel = grid.channels > 1
            if metadata.dims is not None:
                has_channel = len(metadata.dims) > len(grid.data_shape)
        dims = metadata.dims or ("channel", *axes[: grid.ndim])[1 - has_channel :]
        known = {d: np.asarray(x) for d, x in metadata.coords.items()} if grid.regular else {}
        # names, as nodes of a graph have, are no places on a page
        known = {d: x for d, x in known.items() if x.dtype.kind == "f"}
        units = metadata.units
        space = tuple(
            Axis(d, known.get(d, x), units.get(d), metadata.attrs.get(d, {}))
            for d, x in zip(dims[int(has_channel) :], grid.coordinates, strict=True)
        )
        names: Any = metadata.channels or metadata.coords.get(dims[0], channels)
        return cls(
            space,
            tuple(map(str, names)) if channels else (),
            metadata.name,
            units.get(metadata.name),
            units.get("time"),
            metadata.calendar,
            nodes,
            tuple(units.get(key, units.get(metadata.name)) for key in metadata.channels),
        )

    @property
    def clock(self) -> TimeUnits:
        """Units of time, with their calendar."""
        return TimeUnits(self.time_units, self.calendar)

    def time_axis(self, times: Array) -> Axis:
        """(time,) of these times, as dates where they are such."""
        dates = date_positions(self.clock, times)
        if dates is not None:
            return Axis("time", dates, None, dated=True)
        return Axis("t", times, self.time_units)

    def at_times(self, times: Sequence[float] | Array) -> list[str]:
        """Instants: dates, with times of day where days do not tell them apart; or numbers."""
        dates = date_titles(self.clock, np.asarray(times))
        if dates is not None:
            return dates
        units = "" if self.time_units in (None, "", "1") else f" {self.time_units}"
        return [f"t = {text}{units}" for text in _told_apart(times)]

    def number_of(self, channel: int | str, name: str = "channel") -> int:
        """A channel, given by its name or number, counted from the first.

        Raises:
            TypeError: Neither a name nor a whole number.
            ValueError: Fields have no such channel.
        """
        names = self.channels or (self.field,)
        return check_channel(name, channel, names, len(names), "fields have")

    def field_name(self, channel: int = 0) -> str:
        """The field's name and the channel's; the channel's alone if it has its own units."""
        if not self.channels:
            return self.field
        name = self.channels[channel]
        return name if self.channel_units else f"{self.field}, {name}"

    def units_of(self, channel: int = 0) -> str | None:
        """Units of a channel's values."""
        return self.channel_units[channel] if self.channel_units else self.field_units

    def field_label(self, channel: int = 0) -> str:
        """Label of an axis of the field's values."""
        return label(self.field_name(channel), self.units_of(channel))


@dataclass(frozen=True)
class Scene:
    """Arrays (time, *space) of one channel of one trajectory, in the data's units.

    The truth is NaN if the forecast is alone; `least` is what values are never below.
    """

    times: Array
    mean: Array
    sd: Array
    truth: Array
    words: Words
    channel: int
    least: float = -np.inf

    @property
    def field_label(self) -> str:
        """Label of an axis of the values."""
        return self.words.field_label(self.channel)

    @classmethod
    def of(
        cls,
        fc: Forecast,
        truth: Any,
        trajectory: int,
        channel: int | str,
        anomalies: bool = False,
        alone: bool = False,
    ) -> Scene:
        """Select.

        Args:
            fc: The forecast.
            truth: `Trajectories` whose snapshots include the forecast's times, or an array shaped
                as `fc.mean`.
            trajectory: Which one, of both the forecast and the truth.
            channel: Which one, by name or number.
            anomalies: Subtract the reference of the fit from mean and truth.
            alone: There is no truth, which is None.

        Raises:
            ValueError: No such trajectory or channel, a truth of another shape, no snapshot at a
                time of the forecast, or anomalies from no reference.
        """
        truth = aligned(fc, truth)
        values = np.full(fc.shape, np.nan) if alone else check_truth(fc, truth)
        words = Words.of(fc.grid, truth, fc.metadata)
        trajectory = trajectory_of(fc, truth, trajectory)
        number = words.number_of(channel)
        field: Any = (slice(None), number) if fc.has_channel else slice(None)
        row: Any = trajectory if fc.batched else slice(None)
        check_finite_forecast(fc, row)
        mean, sd = fc.mean[row].numpy()[field], fc.sd[row].numpy()[field]
        times = times_of(fc, trajectory)
        y = _at_times(truth, times, trajectory) if values is None else values[row]
        if anomalies:
            reference = _reference(fc, row)
            mean, y = mean - reference[field], y - reference
        link = fc.scaling.link
        positive = not anomalies and link is not None and link.offsets[number] is not None
        return cls(times, mean, sd, y[field], words, number, 0.0 if positive else -np.inf)


def times_of(fc: Forecast, trajectory: int) -> Array:
    """(time,) of the forecast of one trajectory."""
    times: Array = fc.valid_times
    return times if fc.starts is None else times[trajectory]


def trajectory_of(fc: Forecast, truth: Any, trajectory: int) -> int:
    """The trajectory counted from the first, of both the forecast and the truth.

    A forecast without a batch is of any one of the truth's.

    Raises:
        TypeError: No whole number, or a truth that is no field.
        ValueError: No such trajectory.
    """
    if fc.batched or truth is None:
        many = fc.shape[0] if fc.batched else 1
        return check_index("trajectory", trajectory, many, "the forecast has")
    many = len(truth) if isinstance(truth, Trajectories) else 1
    return check_index("trajectory", trajectory, many, "the truth has")


def _reference(fc: Forecast, row: Any) -> Array:
    """(time or 1, *field) of one trajectory of a forecast; ValueError if there is none."""
    if fc.reference_field is None:
        raise ValueError(
            "anomalies: the fit has no reference to subtract. Leave it out, or fit with "
            'reference="point".'
        )
    reference = fc.reference_field.numpy()
    return reference[row if not fc.batched or len(reference) > 1 else 0]


def choose_times(clock: Array, times: Any, words: Words) -> Array:
    """Indices of so many times of a clock, evenly spaced, or of those near the times given.

    Raises:
        ValueError: Less than one, or no times.
    """
    if isinstance(times, int):
        return evenly_spaced(len(clock), times)
    wanted = words.clock.numbers(times, "times").reshape(-1)
    if not (len(wanted) and np.isfinite(wanted).all()):
        raise ValueError(f"times: {times!r}. Pass a number of times, or finite times.")
    return nearest(clock, wanted)


def _told_apart(times: Sequence[float] | Array) -> list[str]:
    """Numbers in four digits, or as many more as tell them apart."""
    different = len(set(times))
    for digits in range(4, 16):
        texts = [f"{t:.{digits}g}" for t in times]
        if len(set(texts)) == different:
            break
    return texts


def _at_times(truth: Trajectories, times: Array, trajectory: int) -> Array:
    """Values (time, *field) of one trajectory at the forecast's times."""
    if not -len(truth) <= trajectory < len(truth):
        raise ValueError(f"trajectory: {trajectory}, but the truth has {len(truth)}.")
    clock = truth.times[trajectory]
    index = np.abs(clock[:, None] - times).argmin(0)
    off = np.abs(clock[index] - times)
    if off.max() > rounding(clock):
        i = int(off.argmax())
        raise ValueError(
            f"truth: no snapshot of trajectory {trajectory} at the forecast's t={times[i]:.9g}; "
            f"the nearest is at t={clock[index[i]]:.9g}. Predict at the trajectory's times."
        )
    chosen: Array = truth.values[trajectory][index]
    return chosen
