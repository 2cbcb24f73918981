"""Times of dated data on a page: as dates, whatever their calendar."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from numpy.typing import NDArray

from pyro_msde.data import TimeUnits
from pyro_msde.plot.style import size_of

__all__ = ["date_positions", "date_titles", "format_dates"]

Array = NDArray[Any]

_YEARS = (1, 9998)  # that matplotlib can name
_ROOM = 0.45  # inches for a label and what is between two


def date_positions(clock: TimeUnits, numbers: Array) -> Array | None:
    """Days since 1970 in the Gregorian calendar, in which matplotlib draws dates.

    A date of another calendar stands as far into the month of the same name as in its own: in
    order, with the months and years where the ticks say. None: the times are no dates, or of years
    that matplotlib does not know.
    """
    dates = clock.dates(np.asarray(numbers))
    if dates is None:
        return None
    if dates.dtype.kind == "M":
        years = dates.astype("M8[Y]").astype(np.int64) + 1970
    else:
        years = np.array([date.year for date in dates.flat])
    if len(years) and not (_YEARS[0] <= years.min() and years.max() <= _YEARS[1]):
        return None
    if dates.dtype.kind == "M":
        return np.asarray((dates - np.datetime64(0, "us")) / np.timedelta64(1, "D"))
    return np.array([_day(date) for date in dates.flat])


def _day(date: Any) -> float:
    """Days since 1970 of a date of cftime's."""
    month = np.datetime64(f"{date.year:04d}-{date.month:02d}")
    first, following = (m.astype("M8[D]").astype(np.int64) for m in (month, month + 1))
    seconds = date.hour * 3600 + date.minute * 60 + date.second
    part = (date.day - 1 + seconds / 86400) / date.daysinmonth
    return float(first + part * (following - first))


def date_titles(clock: TimeUnits, numbers: Array) -> list[str] | None:
    """Times as dates, with times of day where days do not tell them apart; None: they are none."""
    if clock.dates(numbers) is None:
        return None
    texts = [clock.shown(float(t)) for t in numbers]
    days = [text.partition(" ")[0] for text in texts]
    if len(texts) > 1 and len(set(days)) == len(texts):
        return days
    return [text.removesuffix(":00") if text.count(":") == 2 else text for text in texts]


def format_dates(ax: Any) -> None:
    """Ticks of the horizontal axis, whose positions are days since 1970, as concise dates."""
    most = int(np.clip(size_of(ax)[0] / _ROOM, 3, 8))
    locator: Any = AutoDateLocator(  # type: ignore[no-untyped-call]
        minticks=2, maxticks=most
    )
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    ax.xaxis.get_offset_text().set_fontsize(ax.xaxis.label.get_fontsize() - 1)
