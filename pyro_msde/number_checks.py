"""Numbers at the boundary: whole ones and positive ones, by the argument's name."""

from __future__ import annotations

import math
import numbers
from typing import Any

__all__ = ["check_number", "check_whole"]


def check_whole(name: str, value: Any, least: int) -> None:
    """A whole number, numpy's too.

    Raises:
        ValueError: It is none, or smaller than `least`.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name}={value!r}: give a whole number, at least {least}.")


def check_number(name: str, value: Any, *, zero: bool = False) -> None:
    """A finite positive number, or zero as well.

    Raises:
        ValueError: It is none.
    """
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        least = "at least 0" if zero else "above 0"
        raise ValueError(f"{name}={value!r}: give a number {least}.")
