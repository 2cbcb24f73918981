"""Periods of cycles as numbers in the data's unit of time: "1 year" depends on the calendar."""

from __future__ import annotations

import datetime
import re
from typing import Any

import numpy as np
import pandas as pd

from pyro_msde.checks import check_number
from pyro_msde.data.instants import TimeUnits

__all__ = ["check_period", "period_in"]

_DAYS = {  # of a mean year
    "standard": 365.2425,
    "proleptic_gregorian": 365.2425,
    "julian": 365.25,
    "noleap": 365.0,
    "all_leap": 366.0,
    "360_day": 360.0,
}
_MONTHS = re.compile(r"(\d+(?:\.\d*)?|\.\d+)?\s*(year|yr|y|month)s?", re.IGNORECASE)


def check_period(argument: str, period: Any) -> None:
    """Positive: a number, a duration, or a text such as "1 year" or "12 hours".

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(period, str):
        if _months(period) is None:
            _duration(argument, period)
        elif not float(_months(period) or 0) > 0:
            raise ValueError(f"{argument}={period!r}: give a duration above 0.")
    elif not isinstance(period, datetime.timedelta | np.timedelta64):
        check_number(argument, period)
    elif not np.timedelta64(period) > np.timedelta64(0):
        raise ValueError(f"{argument}={period!r}: give a duration above 0.")


def period_in(units: TimeUnits, period: Any, argument: str) -> float:
    """A period in the units of data.

    Args:
        units: Of the data's times.
        period: As `check_period` takes it. Years are the mean ones of the data's calendar, months a
            twelfth of them.
        argument: What errors call it.

    Raises:
        ValueError: As `check_period`; a duration where no unit of time is known or none is fixed,
            years where times count from no date.
    """
    check_period(argument, period)
    if not isinstance(period, str):
        return float(units.durations(period, argument))
    months = _months(period)
    if months is None:
        return float(units.durations(_duration(argument, period), argument))
    if units.calendar is None:
        raise ValueError(
            f"{argument}: {period!r}, but the data's times count from no date, so that no calendar "
            "tells how long it is. Pass a number, or '365.25 days' where their unit is known."
        )
    milliseconds = round(months / 12 * _DAYS[units.calendar] * 86_400_000)
    return float(units.durations(np.timedelta64(milliseconds, "ms"), argument))


def _months(period: str) -> float | None:
    match = _MONTHS.fullmatch(period.strip())
    if match is None:
        return None
    return float(match[1] or 1) * (1 if match[2].lower() == "month" else 12)


def _duration(argument: str, period: str) -> np.timedelta64:
    """Of a text as pandas reads it, which has to name a unit."""
    try:
        found = pd.Timedelta(period) if re.search(r"[a-zA-Z:]", period) else pd.NaT
    except ValueError:
        found = pd.NaT
    if not found > pd.Timedelta(0):  # NaT neither
        raise ValueError(
            f"{argument}={period!r}: no duration above 0. Give one such as '1 year', '12 months', "
            "'365.25 days' or '24 hours'."
        )
    return found.to_timedelta64()
