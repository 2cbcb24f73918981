"""Times as numbers: instants and durations in the units of the data.

CF writes instants as numbers with units such as "days since 2000-01-01" and a calendar (CF 1.11,
§4.4); dates are turned into these by the calendar's own arithmetic.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pyro_msde.data.dates import (
    REFORM,
    date_text,
    gregorian,
    in_seconds,
    reference,
    since_1970,
    time_array,
)

__all__ = ["TimeUnits", "duration_units", "read_times", "rounding", "same_times"]

Array = NDArray[Any]

_UNITS = (  # symbol, other names, seconds
    ("ns", ("nanosecond", "nanosec", "nsec"), 1e-9),
    ("us", ("microsecond", "microsec", "usec", "µs"), 1e-6),
    ("ms", ("millisecond", "millisec", "msec"), 1e-3),
    ("s", ("second", "sec"), 1.0),
    ("min", ("minute",), 60.0),
    ("h", ("hour", "hr"), 3600.0),
    ("day", ("d",), 86400.0),
)
_SECONDS = {symbol: seconds for symbol, _, seconds in _UNITS}
_SYMBOLS = {
    base + plural: symbol
    for symbol, others, _ in _UNITS
    for base in (symbol, *others)
    for plural in ("", "s")
}
_CALENDARS = {
    "standard": "standard",
    "gregorian": "standard",
    "proleptic_gregorian": "proleptic_gregorian",
    "julian": "julian",
    "noleap": "noleap",
    "365_day": "noleap",
    "all_leap": "all_leap",
    "366_day": "all_leap",
    "360_day": "360_day",
}
_GREGORIAN = ("standard", "proleptic_gregorian")


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
        object.__setattr__(self, "text", _spelt(self.text))
        if self.text is not None and " since " in self.text:
            name = _CALENDARS.get(str(self.calendar or "standard").lower())
            if name is None:
                known = ", ".join(_CALENDARS)
                raise ValueError(f"calendar: {self.calendar!r} is unknown. Pass one of {known}.")
        object.__setattr__(self, "calendar", name)

    @property
    def is_fixed(self) -> bool:
        """Whether the unit has a fixed length, as days have and months have not."""
        return _symbol(self.text) in _SECONDS

    def numbers(self, times: Any, argument: str) -> Array:
        """Times as float64 in these units, NaN where there is none.

        Args:
            times: Numbers, which are in these units; dates, if these units count from a date;
                durations, if they do not. The units of an xarray DataArray are heeded.
            argument: What errors call them.

        Raises:
            ValueError: Neither of them, or of another calendar.
        """
        array = time_array(times, argument)
        if array.dtype.kind == "f":
            return self.converted(array, _units_of(times) or TimeUnits(), argument)
        if array.dtype.kind == "m":
            unit = _symbol(self.text)
            if self.calendar is not None or unit not in _SECONDS:
                mend = "Add them to a date" if self.calendar else "Pass numbers"
                ours = self.text or "in units that are not known"
                raise ValueError(f"{argument}: durations, but the data's times are {ours}. {mend}.")
            return in_seconds(array, argument) / _SECONDS[unit]
        if self.calendar is None:
            unit = f" in {self.text}" if self.text else ""
            raise ValueError(
                f"{argument}: dates, but the data's times are plain numbers{unit}. Pass numbers, "
                "or give dates to the Trajectories as well."
            )
        return self._of_dates(array, argument)

    def converted(self, numbers: Array, source: TimeUnits, argument: str) -> Array:
        """Numbers in other units in these; as they are where the units of one are not known.

        Raises:
            ValueError: Units that have nothing to do with each other, or other calendars.
        """
        if self == source or self.text is None or source.text is None:
            return numbers
        ours, theirs = _symbol(self.text), _symbol(source.text)
        known = ours in _SECONDS and theirs in _SECONDS
        if (self.calendar is None) != (source.calendar is None) or not (known or ours == theirs):
            raise ValueError(
                f"{argument}: times in {source.text!r}, but the data of the fit have "
                f"{self.text!r}. Give both in the same units."
            )
        factor = 1.0 if ours == theirs else _SECONDS[theirs] / _SECONDS[ours]
        if self.calendar is None:
            return numbers if factor == 1 else numbers * factor
        return numbers * factor + self._of_dates(source._origin(argument), argument)

    def _of_dates(self, dates: Array, argument: str) -> Array:
        """Numbers of dates, numpy's or cftime's."""
        unit = _symbol(self.text)
        if unit not in _SECONDS:
            raise ValueError(
                f"{argument}: dates, but the data's times are {self.text!r}, and {unit} have no "
                "fixed length. Use seconds, minutes, hours or days since a date."
            )
        plain = dates if dates.dtype.kind == "M" else gregorian(dates)
        origin = self._origin(argument)
        if plain is not None and origin.dtype.kind == "M":
            if self.calendar == "standard" and (plain < REFORM).any():
                self._refuse_calendar(argument, "proleptic_gregorian")
            (whole, rest), (first, part) = since_1970(plain), since_1970(origin)
            return ((whole - first).astype(np.float64) + (rest - part)) / _SECONDS[unit]
        if dates.dtype.kind == "M":
            self._refuse_calendar(argument, "proleptic_gregorian")
        for date in dates.flat:
            if _CALENDARS.get(date.calendar) != self.calendar:
                self._refuse_calendar(argument, date.calendar or "no calendar")
        seconds = _cftime(argument).date2num(dates, self._for_cftime(), calendar=self.calendar)
        return np.asarray(seconds, dtype=np.float64) / _SECONDS[unit]

    def _origin(self, argument: str) -> Array:
        """() The date that is zero: numpy's if the calendar is Gregorian then, else cftime's."""
        date = reference(self.text or "") if self.calendar in _GREGORIAN else None
        if date is not None and (self.calendar == "proleptic_gregorian" or date >= REFORM):
            return np.array(date)
        try:
            zero = _cftime(argument).num2date(0, self._for_cftime(), calendar=self.calendar)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{argument}: the data's units {self.text!r} name no date ({error}). Write them as "
                "'days since 2000-01-01'."
            ) from error
        return np.array(zero, dtype=object)

    def _for_cftime(self) -> str:
        return f"seconds since {(self.text or '').partition(' since ')[2]}"

    def _refuse_calendar(self, argument: str, calendar: str) -> NoReturn:
        raise ValueError(
            f"{argument}: dates of the calendar {calendar}, but the data's times are {self.text!r} "
            f"in {self.calendar}. Pass dates of that calendar, made by cftime."
        )


def _spelt(units: str | None) -> str | None:
    """Units with "since" as CF spells it; files have it in capitals, too."""
    return None if units is None else re.sub(r"\s+since\s+", " since ", units, flags=re.IGNORECASE)


def duration_units(units: str | None) -> str | None:
    """Units of a duration, where those of an instant may be given: "s" for "seconds since …"."""
    text = _spelt(units)
    return _symbol(text) if text is not None and " since " in text else units


def rounding(times: Array) -> float:
    """As far apart as rounding puts equal times that were computed in two ways."""
    span = float(times.max() - times.min())
    return 1e-9 * span + 4 * float(np.finfo(np.float64).eps) * float(np.abs(times).max())


def same_times(ours: Array, theirs: Array) -> bool:
    """Whether two rows of times are equal but for rounding."""
    return ours.shape == theirs.shape and bool(np.abs(ours - theirs).max() <= rounding(ours))


def read_times(
    parts: Sequence[Any], given: TimeUnits, argument: str
) -> tuple[list[Array], TimeUnits]:
    """Times of each trajectory as float64, and their units.

    Args:
        parts: Numbers, dates or durations of each trajectory.
        given: Their units; if these are not known, dates become seconds since the first of all
            (since its whole second), durations seconds.
        argument: What errors call them.

    Raises:
        ValueError: As `TimeUnits.numbers`, or kinds that differ between trajectories.
    """
    names = [f"{argument}[{k}]" if len(parts) > 1 else argument for k in range(len(parts))]
    arrays = [time_array(part, name) for part, name in zip(parts, names, strict=True)]
    kinds = {array.dtype.kind for array in arrays}
    if len(kinds) > 1:
        raise ValueError(f"{argument}: numbers, dates or durations, but not several. Pass one.")
    units = given
    if given.text is None and kinds == {"f"}:
        units = next(filter(None, map(_units_of, parts)), given)
    elif given.text is None and kinds == {"m"}:
        units = TimeUnits("s")
    elif given.text is None and kinds:
        units = _since_first(arrays, argument)
    return [units.numbers(p, name) for p, name in zip(parts, names, strict=True)], units


def _since_first(arrays: Sequence[Array], argument: str) -> TimeUnits:
    dates = np.concatenate([array.ravel() for array in arrays])
    if dates.dtype.kind == "M":
        whole, rest = since_1970(dates)
        if np.isnan(rest).all():
            raise ValueError(f"{argument}: no dates. Pass at least one.")
        first = np.datetime_as_string(whole[~np.isnan(rest)].min().astype("datetime64[s]"))
        calendar = "proleptic_gregorian"
    else:
        calendars = sorted({str(date.calendar) for date in dates})
        if len(calendars) > 1 or calendars[0] not in _CALENDARS:
            raise ValueError(f"{argument}: dates of the calendars {calendars}. Pass those of one.")
        first, calendar = date_text(min(dates)).partition(".")[0], calendars[0]
    return TimeUnits(f"seconds since {str(first).replace('T', ' ')}", calendar)


def _units_of(times: Any) -> TimeUnits | None:
    """What an xarray DataArray says of itself, if anything."""
    text = times.attrs.get("units") if isinstance(times, xr.DataArray) else None
    return TimeUnits(str(text), times.attrs.get("calendar")) if text is not None else None


def _symbol(units: str | None) -> str:
    """Of a unit of time, or of the unit in which instants are counted; else its own name."""
    word = (units or "").partition(" since ")[0].strip()
    # the symbols of SI tell Ms from ms; words do not
    return _SYMBOLS.get(word, word if len(word) < 3 else _SYMBOLS.get(word.lower(), word))


def _cftime(argument: str) -> Any:
    try:
        import cftime
    except ImportError as error:
        raise ValueError(
            f"{argument}: dates of this calendar take cftime. Run `pip install cftime`."
        ) from error
    return cftime
