"""Times of trajectories as users pass them, as numbers in one unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.data.arrays import as_array
from pyro_msde.data.calendars import CALENDARS
from pyro_msde.data.date_texts import is_text
from pyro_msde.data.dates import date_text, since_1970, time_array
from pyro_msde.data.instants import TimeUnits, units_of

__all__ = ["read_times"]

Array = NDArray[Any]


def read_times(
    parts: Sequence[Any], given: TimeUnits, argument: str
) -> tuple[list[Array], TimeUnits]:
    """Times of each trajectory as float64, and their units.

    Args:
        parts: Numbers, dates, texts of these or durations of each trajectory.
        given: Their units; if these are not known, dates become seconds since the first of all
            (since its whole second), durations seconds.
        argument: What errors call them.

    Raises:
        ValueError: As `TimeUnits.numbers`, or kinds that differ between trajectories.
    """
    names = [f"{argument}[{k}]" if len(parts) > 1 else argument for k in range(len(parts))]
    arrays = [as_array(part, name) for part, name in zip(parts, names, strict=True)]
    texts = [is_text(array) for array in arrays]
    if given.calendar is None or not all(texts):  # else they are read in that calendar
        arrays = [time_array(array, name) for array, name in zip(arrays, names, strict=True)]
        parts = [a if text else part for part, a, text in zip(parts, arrays, texts, strict=True)]
    kinds = {array.dtype.kind for array in arrays}
    if len(kinds) > 1:
        raise ValueError(f"{argument}: numbers, dates or durations, but not several. Pass one.")
    units = given
    if given.text is None and kinds == {"f"}:
        units = next(filter(None, map(units_of, parts)), given)
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
        if len(calendars) > 1 or calendars[0] not in CALENDARS:
            raise ValueError(f"{argument}: dates of the calendars {calendars}. Pass those of one.")
        first, calendar = date_text(min(dates)).partition(".")[0], calendars[0]
    return TimeUnits(f"seconds since {str(first).replace('T', ' ')}", calendar)
