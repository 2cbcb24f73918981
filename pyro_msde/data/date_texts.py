"""Dates as texts: "2000-01-31 12:00", and "2000-01" or "2000", whose first instant they are.

A text tells a date to its year, month, day, hour, minute or second, and then names all of it, too:
slices end where that ends, as pandas' and xarray's do.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["date_of", "dates_of", "is_text", "reference", "spelt_out", "stretch"]

Array = NDArray[Any]

_DATE = re.compile(
    r"(?P<year>-?\d{1,6})(-(?P<month>\d{1,2}))?(-(?P<day>\d{1,2}))?"
    r"([T ]+(?P<hour>\d{1,2})(:(?P<minute>\d{1,2}))?(:(?P<second>\d{1,2})(?P<part>\.\d+)?)?)?"
    r"\s*(?P<zone>Z|UTC|[+-]\d{2}:?(\d{2})?|[+-]\d)?"
)
_COARSE = re.compile(r"-?\d{4}(-\d{1,2})?")  # a year or month; other numbers are no dates
_SECONDS = {"day": 86400, "hour": 3600, "minute": 60, "second": 1}


def is_text(array: Array) -> bool:
    """Whether an array holds texts, or texts and other things."""
    if array.dtype.kind == "O":
        return any(isinstance(item, str) for item in array.flat)
    return array.dtype.kind in "SUT"


def dates_of(texts: Array, argument: str) -> Array:
    """Numpy's dates, in UTC, of texts.

    Raises:
        ValueError: One of them is no date.
    """
    each = []
    for text in texts.astype(str).ravel().tolist():
        date = date_of(spelt_out(text, argument))
        if date is None:
            raise _no_date(text, argument)
        each.append(date)
    return np.array(each, dtype=None if each else "M8[s]").reshape(texts.shape)


def spelt_out(text: str, argument: str) -> str:
    """A text with the month and the day that it leaves out.

    Raises:
        ValueError: It is not written as a date.
    """
    match = _DATE.fullmatch(text.strip())
    if match is None or not (match["day"] or _COARSE.fullmatch(text.strip())):
        raise _no_date(text, argument)
    given = match.groupdict()
    return f"{text.strip()}{'' if given['month'] else '-01'}{'' if given['day'] else '-01'}"


def stretch(text: str, argument: str) -> int | str | None:
    """How long what a text names lasts: so many seconds, or up to a text; None: an instant.

    Raises:
        ValueError: It is not written as a date.
    """
    match = _DATE.fullmatch(spelt_out(text, argument))
    given = {} if match is None else match.groupdict(default="")
    if given["part"]:
        return None
    coarse = _COARSE.fullmatch(text.strip())
    if coarse is None:
        told = [name for name in _SECONDS if given[name]]
        return _SECONDS[told[-1]]
    year, month = int(given["year"]), int(given["month"])
    year, month = (year + month // 12, month % 12 + 1) if coarse[1] else (year + 1, 1)
    return f"{'-' if year < 0 else ''}{abs(year):04d}-{month:02d}-01"


def reference(units: str) -> np.datetime64 | None:
    """The date in units such as "days since 2000-1-1 6:00 +1", in UTC; None: there is none."""
    return date_of(units.partition(" since ")[2].strip())


def date_of(text: str) -> np.datetime64 | None:
    """A date as units name it, in UTC; None: it is none."""
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    given = match.groupdict(default="")
    sign, year = "-" if given["year"].startswith("-") else "", int(given["year"].lstrip("-"))
    month, day = int(given["month"] or 1), int(given["day"] or 1)
    clock = ":".join(f"{int(given[name] or 0):02d}" for name in ("hour", "minute", "second"))
    try:
        date = np.datetime64(f"{sign}{year:04d}-{month:02d}-{day:02d}T{clock}{given['part']}")
    except ValueError:  # no such day
        return None
    digits = given["zone"].lstrip("+-").replace(":", "")
    if not digits.isdigit():  # UTC
        return date
    ahead = np.timedelta64(60 * int(digits[:2]) + int(digits[2:] or 0), "m")
    return date + ahead if given["zone"].startswith("-") else date - ahead


def _no_date(text: str, argument: str) -> ValueError:
    return ValueError(
        f"{argument}: {text!r} is text that is no date. Pass numbers, or dates such as "
        "'2000-01-31', '2000-01-31 12:00', '2000-01' or '2000'."
    )
