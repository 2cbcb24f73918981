"""CF's calendars, and the date from which units such as "days since 2000-01-01" count in them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.data.date_texts import reference
from pyro_msde.data.dates import REFORM, since_1970

__all__ = ["CALENDARS", "GREGORIAN", "cftime_for", "counted", "zero", "zero_since_1970"]

Array = NDArray[Any]

CALENDARS = {
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
GREGORIAN = ("standard", "proleptic_gregorian")


def zero(units: str | None, calendar: str | None, argument: str) -> Array:
    """() The date that is zero: numpy's if the calendar is Gregorian then, else cftime's.

    Raises:
        ValueError: The units name none.
    """
    date = reference(units or "") if calendar in GREGORIAN else None
    if date is not None and (calendar == "proleptic_gregorian" or date >= REFORM):
        return np.array(date)
    try:
        found = cftime_for(argument).num2date(0, counted("seconds", units), calendar=calendar)
    except (TypeError, ValueError) as error:
        if isinstance(error.__cause__, ImportError):
            raise
        raise ValueError(
            f"{argument}: the data's units {units!r} name no date ({error}). Write them as "
            "'days since 2000-01-01'."
        ) from error
    return np.array(found, dtype=object)


def zero_since_1970(units: str | None, calendar: str | None, argument: str) -> tuple[Array, Array]:
    """Whole seconds and the rest from 1970 to the date that is zero, in a Gregorian calendar."""
    date = zero(units, calendar, argument)
    if date.dtype.kind == "M":
        return since_1970(date)
    cftime = cftime_for(argument)  # as the date is of the Julian calendar
    epoch = cftime.datetime(1970, 1, 1, calendar=calendar)
    until = cftime.date2num(epoch, counted("seconds", units), calendar=calendar)
    whole = np.ceil(until).astype(np.int64)
    return -whole, np.asarray(whole - until, dtype=np.float64)


def counted(unit: str, units: str | None) -> str:
    """A unit since the date of other units, as cftime takes it."""
    return f"{unit} since {(units or '').partition(' since ')[2]}"


def cftime_for(argument: str) -> Any:
    """The package cftime.

    Raises:
        ValueError: It is not installed.
    """
    try:
        import cftime
    except ImportError as error:
        raise ValueError(
            f"{argument}: dates of this calendar take cftime. Run `pip install cftime`."
        ) from error
    return cftime
