"""Dates and durations as arrays: numpy's (and Python's and pandas's), cftime's for other calendars.

numpy's dates are of the Gregorian calendar without a beginning, from years before Christ to far
beyond 2262, where nanoseconds end. Dates with a time zone are taken to UTC; those without one are
left as they stand.
"""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.data.arrays import as_array, to_numpy
from pyro_msde.data.date_texts import dates_of, is_text

__all__ = [
    "REFORM",
    "date_text",
    "gregorian",
    "in_seconds",
    "since_1970",
    "time_array",
]

Array = NDArray[Any]

REFORM = np.datetime64("1582-10-15")  # since when CF's standard calendar is the Gregorian
_FINER = ("ms", "us", "ns", "ps", "fs", "as")  # than a second


def time_array(times: Any, argument: str) -> Array:
    """An array of float64, of numpy's dates or durations, or of cftime's dates.

    Texts become numpy's dates.

    Raises:
        ValueError: Anything else.
    """
    array = as_array(times, argument)
    if array.dtype.kind in "mM":
        return array
    if is_text(array):
        return dates_of(array, argument)
    first = next((item for item in array.flat if item is not None), None) if array.size else None
    if array.dtype.kind == "O" and hasattr(first, "calendar"):
        if all(hasattr(item, "calendar") for item in array.flat):
            return array
        raise ValueError(f"{argument}: dates of cftime and other things. Pass dates only.")
    if array.dtype.kind == "O" and isinstance(first, datetime.date | np.datetime64):
        return _of_objects(array, _date, "date", argument)
    if array.dtype.kind == "O" and isinstance(first, datetime.timedelta | np.timedelta64):
        return _of_objects(array, np.timedelta64, "duration", argument)
    return to_numpy(array, argument).astype(np.float64)


def _of_objects(array: Array, convert: Any, what: str, argument: str) -> Array:
    try:
        converted = [convert(item) for item in array.flat]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{argument}: not every entry is a {what} ({error}).") from error
    zoned = {getattr(item, "tzinfo", None) is not None for item in array.flat}
    if len(zoned) > 1:
        raise ValueError(f"{argument}: some dates have a time zone and others none. Give all one.")
    return np.array(converted).reshape(array.shape)


def _date(item: Any) -> np.datetime64:
    """Numpy's date, in UTC, of one of Python's or pandas's."""
    if hasattr(item, "to_datetime64"):
        return item.to_datetime64()
    if isinstance(item, datetime.datetime) and item.tzinfo is not None:
        item = item.astimezone(datetime.timezone.utc).replace(tzinfo=None)
    if not isinstance(item, datetime.date | np.datetime64):
        raise TypeError(f"{item!r} of type {type(item).__name__}")
    return np.datetime64(item)


def since_1970(dates: Array) -> tuple[Array, Array]:
    """Whole seconds (int64) and the rest (float64, NaN where there is no date) of numpy's dates."""
    whole = dates.astype("datetime64[s]")
    rest = np.zeros(dates.shape)
    if np.datetime_data(dates.dtype)[0] in _FINER:
        late = whole.astype(dates.dtype) > dates  # casts cut towards zero
        whole = whole - late.astype("timedelta64[s]")
        rest = (dates - whole.astype(dates.dtype)) / np.timedelta64(1, "s")
    return whole.astype(np.int64), np.where(np.isnat(dates), np.nan, rest)


def in_seconds(durations: Array, argument: str) -> Array:
    """Seconds (float64) of numpy's durations, NaN where there is none.

    Raises:
        ValueError: Months or years, which have no fixed length.
    """
    if np.datetime_data(durations.dtype)[0] in ("Y", "M"):
        raise ValueError(f"{argument}: months and years have no fixed length. Pass days.")
    return np.asarray(durations / np.timedelta64(1, "s"), dtype=np.float64)


def gregorian(dates: Array) -> Array | None:
    """Numpy's dates of cftime's; None if they are not of the Gregorian calendar."""
    plain: list[np.datetime64] = []
    for date in dates.flat:
        if date.calendar not in ("standard", "gregorian", "proleptic_gregorian"):
            return None
        julian = (date.year, date.month, date.day) < (1582, 10, 15)
        if julian and date.calendar != "proleptic_gregorian":
            return None
        plain.append(np.datetime64(date_text(date)))
    return np.array(plain).reshape(dates.shape)


def date_text(date: Any) -> str:
    """A date of cftime's in ISO 8601, in microseconds."""
    sign, year = "-" if date.year < 0 else "", abs(date.year)
    day = f"{sign}{year:04d}-{date.month:02d}-{date.day:02d}"
    return f"{day}T{date.hour:02d}:{date.minute:02d}:{date.second:02d}.{date.microsecond:06d}"
