"""Times as numbers: instants and durations in the units of the data.

CF writes instants as numbers with units such as "days since 2000-01-01" and a calendar (CF 1.11,
§4.4); dates are turned into these by the calendar's own arithmetic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pyro_msde.data.arrays import as_array
from pyro_msde.data.calendars import (
    CALENDARS,
    GREGORIAN,
    cftime_for,
    counted,
    zero,
    zero_since_1970,
)
from pyro_msde.data.date_texts import is_text, spelt_out, stretch
from pyro_msde.data.dates import (
    REFORM,
    gregorian,
    in_seconds,
    since_1970,
    time_array,
)
from pyro_msde.data.time_symbols import SECONDS, spelt, symbol_of

__all__ = ["TimeUnits", "rounding", "same_times", "units_of"]

Array = NDArray[Any]


@dataclass(frozen=True)
class TimeUnits:
    """Units of the data's times.

    Attributes:
        text: Such as "s" or "days since 2000-01-01"; None: not known.
        calendar: CF's name of the calendar; None if `text` has no "since".

    Raises:
        ValueError: An unknown calendar.
    """

    text: str | None = None
    calendar: str | None = None

    def __post_init__(self) -> None:
        """Complete the calendar."""
        name = None
        object.__setattr__(self, "text", spelt(self.text))
        if self.text is not None and " since " in self.text:
            name = CALENDARS.get(str(self.calendar or "standard").lower())
            if name is None:
                known = ", ".join(CALENDARS)
                raise ValueError(f"calendar: {self.calendar!r} is unknown. Pass one of {known}.")
        object.__setattr__(self, "calendar", name)

    @property
    def is_fixed(self) -> bool:
        """Whether the unit has a fixed length, as days have and months have not."""
        return symbol_of(self.text) in SECONDS

    def numbers(self, times: Any, argument: str) -> Array:
        """Times as float64 in these units, NaN where there is none.

        Args:
            times: Numbers, which are in these units; dates, if these units count from a date, texts
                such as "2000-01-31", "2000-01" or "2000" among them, whose first instant counts;
                durations, if they do not. The units of an xarray DataArray are heeded.
            argument: What errors call them.

        Raises:
            ValueError: Neither of them, or of another calendar.
        """
        array = as_array(times, argument)
        if self.calendar is not None and is_text(array):
            each = [self._of_text(text, argument) for text in array.astype(str).ravel().tolist()]
            return np.array(each, dtype=np.float64).reshape(array.shape)
        array = time_array(array, argument)
        if array.dtype.kind == "f":
            return self.converted(array, units_of(times) or TimeUnits(), argument)
        if array.dtype.kind == "m":
            unit = symbol_of(self.text)
            if self.calendar is not None or unit not in SECONDS:
                mend = "Add them to a date" if self.calendar else "Pass numbers"
                ours = self.text or "in units that are not known"
                raise ValueError(f"{argument}: durations, but the data's times are {ours}. {mend}.")
            return in_seconds(array, argument) / SECONDS[unit]
        if self.calendar is None:
            unit = f" in {self.text}" if self.text else ""
            raise ValueError(
                f"{argument}: dates, but the data's times are plain numbers{unit}. Pass numbers, "
                "or give dates to the Trajectories as well."
            )
        return self._of_dates(array, argument)

    def end_of(self, time: Any, argument: str) -> float | None:
        """Where the year, month, day, hour, minute or second ends that a text names.

        None: it names an instant, as what is no text does.

        Raises:
            ValueError: As `numbers`.
        """
        if self.calendar is None or not isinstance(time, str):
            return None
        length = stretch(time, argument)
        if isinstance(length, str):
            return float(self._of_text(length, argument))
        start = self._of_text(time, argument)
        return None if length is None else start + length / SECONDS[symbol_of(self.text)]

    def durations(self, times: Any, argument: str) -> Array:
        """Durations as float64 in these units.

        Args:
            times: Numbers, which are in these units, or durations.
            argument: What errors call them.

        Raises:
            ValueError: Neither of them, or durations where these units have no fixed length.
        """
        array = time_array(times, argument)
        if array.dtype.kind == "f":
            return array
        unit = symbol_of(self.text)
        if array.dtype.kind != "m":
            raise ValueError(f"{argument}: dates. Pass durations, as np.timedelta64(3, 'D').")
        if unit not in SECONDS:
            ours = self.text or "in units that are not known"
            raise ValueError(
                f"{argument}: durations, but the data's times are {ours}. Pass numbers."
            )
        return in_seconds(array, argument) / SECONDS[unit]

    def dates(self, numbers: Array) -> Array | None:
        """Numbers in these units as dates, to the microsecond or to what float64 holds of them.

        numpy's datetime64 where the calendar is the Gregorian; cftime's objects where it is
        another, as CF's standard calendar is before 1582. None if these units do not count from a
        date or have no fixed length.

        Args:
            numbers: Finite, of any shape.

        Raises:
            ValueError: These units name no date.
        """
        unit = symbol_of(self.text)
        if self.calendar is None or not self.is_fixed:
            return None
        size = 1e6 * SECONDS[unit]
        # rounding would show as 11:59:59.999997
        error = 4 * float(np.finfo(np.float64).eps) * float(np.abs(numbers).max(initial=0.0)) * size
        step = 10 ** max(0, math.ceil(math.log10(max(error, 1.0))))
        since = np.rint(np.asarray(numbers) * (size / step)).astype(np.int64) * step
        if self.calendar in GREGORIAN:
            whole, rest = zero_since_1970(self.text, self.calendar, "times")
            start = 1_000_000 * whole + np.rint(1e6 * rest).astype(np.int64)
            plain = np.asarray(start + since).astype("datetime64[us]")
            if self.calendar == "proleptic_gregorian" or bool(
                (plain.astype("M8[s]") >= REFORM).all()
            ):
                return plain
        units = counted("microseconds", self.text)
        found = cftime_for("times").num2date(since, units, calendar=self.calendar)
        return np.asarray(found, dtype=object)

    def shown(self, number: float) -> str:
        """A time as a date, or as the number that it is."""
        date = self.dates(np.array([number])) if math.isfinite(number) else None
        if date is None:
            return f"{number:.6g}"
        text = str(date[0]).replace("T", " ").removesuffix("000000").removesuffix(".")
        return text.removesuffix(" 00:00:00")

    def converted(self, numbers: Array, source: TimeUnits, argument: str) -> Array:
        """Numbers in other units in these; as they are where the units of one are not known.

        Raises:
            ValueError: Units that have nothing to do with each other, or other calendars.
        """
        if self == source or self.text is None or source.text is None:
            return numbers
        ours, theirs = symbol_of(self.text), symbol_of(source.text)
        known = ours in SECONDS and theirs in SECONDS
        if (self.calendar is None) != (source.calendar is None) or not (known or ours == theirs):
            raise ValueError(
                f"{argument}: times in {source.text!r}, but the data of the fit have "
                f"{self.text!r}. Give both in the same units."
            )
        factor = 1.0 if ours == theirs else SECONDS[theirs] / SECONDS[ours]
        if self.calendar is None:
            return numbers if factor == 1 else numbers * factor
        if known and {self.calendar, source.calendar} == {*GREGORIAN}:
            first, part = zero_since_1970(self.text, self.calendar, argument)
            whole, rest = zero_since_1970(source.text, source.calendar, argument)
            if (numbers * SECONDS[theirs] + whole < since_1970(np.array(REFORM))[0]).any():
                self._refuse_calendar(argument, str(source.calendar))
            return numbers * factor + ((whole - first) + (rest - part)) / SECONDS[ours]
        start = zero(source.text, source.calendar, argument)
        return numbers * factor + self._of_dates(start, argument)

    def _of_dates(self, dates: Array, argument: str) -> Array:
        """Numbers of dates, numpy's or cftime's."""
        unit = symbol_of(self.text)
        if unit not in SECONDS:
            raise ValueError(
                f"{argument}: dates, but the data's times are {self.text!r}, and {unit} have no "
                "fixed length. Use seconds, minutes, hours or days since a date."
            )
        plain = dates if dates.dtype.kind == "M" else gregorian(dates)
        zero(self.text, self.calendar, argument)  # which the units have to name
        if plain is not None and self.calendar in GREGORIAN:
            # in nanoseconds REFORM itself would overflow
            if self.calendar == "standard" and (plain.astype("M8[s]") < REFORM).any():
                self._refuse_calendar(argument, "proleptic_gregorian")
            (whole, rest), (first, part) = (
                since_1970(plain),
                zero_since_1970(self.text, self.calendar, argument),
            )
            return ((whole - first).astype(np.float64) + (rest - part)) / SECONDS[unit]
        if dates.dtype.kind == "M":
            self._refuse_calendar(argument, "proleptic_gregorian")
        for date in dates.flat:
            if CALENDARS.get(date.calendar) != self.calendar:
                self._refuse_calendar(argument, date.calendar or "no calendar")
        seconds = cftime_for(argument).date2num(
            dates, counted("seconds", self.text), calendar=self.calendar
        )
        return np.asarray(seconds, dtype=np.float64) / SECONDS[unit]

    def _of_text(self, text: str, argument: str) -> float:
        """Number of a date such as "2000-01-31 12:00" or "2000-01", of this calendar."""
        named = TimeUnits(f"seconds since {spelt_out(text, argument)}", self.calendar)
        try:
            date = zero(named.text, named.calendar, argument)
        except ValueError:
            raise ValueError(
                f"{argument}: {text!r} is no date of the calendar {self.calendar}. Pass one."
            ) from None
        return float(self._of_dates(date, argument))

    def _refuse_calendar(self, argument: str, calendar: str) -> NoReturn:
        raise ValueError(
            f"{argument}: dates of the calendar {calendar}, but the data's times are {self.text!r} "
            f"in {self.calendar}. Pass dates of that calendar, made by cftime."
        )


def rounding(times: Array) -> float:
    """As far apart as rounding puts equal times that were computed in two ways."""
    span = float(times.max() - times.min())
    return 1e-9 * span + 4 * float(np.finfo(np.float64).eps) * float(np.abs(times).max())


def same_times(ours: Array, theirs: Array) -> bool:
    """Whether two rows of times are equal but for rounding."""
    return ours.shape == theirs.shape and bool(np.abs(ours - theirs).max() <= rounding(ours))


def units_of(times: Any) -> TimeUnits | None:
    """What an xarray DataArray says of itself, if anything."""
    text = times.attrs.get("units") if isinstance(times, xr.DataArray) else None
    return TimeUnits(str(text), times.attrs.get("calendar")) if text is not None else None
