"""Units of time by their names in files: symbols, and seconds where these are fixed."""

from __future__ import annotations

import re

__all__ = ["SECONDS", "duration_units", "spelt", "symbol_of"]

_UNITS = (  # symbol, other names, seconds
    ("ns", ("nanosecond", "nanosec", "nsec"), 1e-9),
    ("us", ("microsecond", "microsec", "usec", "µs"), 1e-6),
    ("ms", ("millisecond", "millisec", "msec"), 1e-3),
    ("s", ("second", "sec"), 1.0),
    ("min", ("minute",), 60.0),
    ("h", ("hour", "hr"), 3600.0),
    ("day", ("d",), 86400.0),
)
SECONDS = {symbol: seconds for symbol, _, seconds in _UNITS}
_SYMBOLS = {
    base + plural: symbol
    for symbol, others, _ in _UNITS
    for base in (symbol, *others)
    for plural in ("", "s")
}


def spelt(units: str | None) -> str | None:
    """Units with "since" as CF spells it; files have it in capitals, too."""
    return None if units is None else re.sub(r"\s+since\s+", " since ", units, flags=re.IGNORECASE)


def duration_units(units: str | None) -> str | None:
    """Units of a duration, where those of an instant may be given: "s" for "seconds since …"."""
    text = spelt(units)
    return symbol_of(text) if text is not None and " since " in text else units


def symbol_of(units: str | None) -> str:
    """Of a unit of time, or of the unit in which instants are counted; else its own name."""
    word = (units or "").partition(" since ")[0].strip()
    # the symbols of SI tell Ms from ms; words do not
    return _SYMBOLS.get(word, word if len(word) < 3 else _SYMBOLS.get(word.lower(), word))
