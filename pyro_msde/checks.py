"""Numbers, flags and choices at the boundary; what is wrong is said by the argument's name."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from pyro_msde.errors import WrongKindError

__all__ = [
    "check_choice",
    "check_draws",
    "check_flag",
    "check_kind",
    "check_level",
    "check_levels",
    "check_number",
    "check_seed",
    "check_whole",
    "checked_names",
]

_NO_NUMBERS = (bool, np.bool_, np.timedelta64)  # numpy's durations call themselves whole numbers
_LARGEST_SEED = 2**64 - 1  # that torch's generators take


def check_whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    """A whole number, numpy's too, as Python's own, which does not overflow.

    Raises:
        ValueError: It is none, smaller than `least`, or larger than `most`.
    """
    whole = isinstance(value, numbers.Integral) and not isinstance(value, _NO_NUMBERS)
    if not whole or value < least or (most is not None and value > most):
        limits = f"at least {least}" if most is None else f"from {least} to {most}"
        raise ValueError(f"{name}={_shown(value)}: give a whole number, {limits}.")
    return int(value)


def check_number(name: str, value: Any, *, zero: bool = False) -> float:
    """A finite positive number, or zero as well, as Python's own.

    Raises:
        ValueError: It is none.
    """
    real = isinstance(value, numbers.Real) and not isinstance(value, _NO_NUMBERS)
    if not real or not _is_finite(value) or value < 0 or (value == 0 and not zero):
        least = "at least 0" if zero else "above 0"
        raise ValueError(f"{name}={_shown(value)}: give a number {least}.")
    return float(value)


def check_seed(name: str, value: Any) -> int:
    """A seed that every generator takes.

    Raises:
        ValueError: It is no whole number from 0 to 2⁶⁴ − 1.
    """
    return check_whole(name, value, 0, _LARGEST_SEED)


def check_flag(name: str, value: Any) -> None:
    """True or False, numpy's too.

    Raises:
        ValueError: It is neither.
    """
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name}={_shown(value)}: give True or False.")


def check_choice(name: str, value: Any, choices: Sequence[str | None]) -> None:
    """One of some names, or None where that is a choice.

    Raises:
        ValueError: It is none of them.
    """
    if not (value is None or isinstance(value, str)) or value not in choices:
        known = " or ".join(repr(c) for c in choices if c is not None)
        raise ValueError(f"{name}={_shown(value)}: choose {known}.")


def checked_names(name: str, value: Any) -> tuple[str, ...]:
    """Some names, as a tuple.

    Raises:
        ValueError: It is no list of strings.
    """
    several = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    if not several or not all(isinstance(one, str) for one in value):
        raise ValueError(f"{name}={_shown(value)}: give a list of names.")
    return tuple(value)


def check_kind(name: str, value: Any, kind: type | Sequence[str], source: str) -> None:
    """An object of a class, or known by some of its attributes.

    Raises:
        WrongKindError: It is something else; `source` says where the right ones come from.
    """
    if isinstance(kind, type):
        right = isinstance(value, kind)
    else:
        right = not isinstance(value, type) and all(hasattr(value, a) for a in kind)
    if not right:
        given = value.__name__ if isinstance(value, type) else type(value).__name__
        raise WrongKindError(f"{name}: got {given}. Pass {source}.")


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the largest float
        return False


def _shown(value: Any) -> str:
    """Its repr, or the beginning of a long one."""
    try:
        text = repr(value)
    except ValueError:  # Python prints no number of thousands of digits
        return f"a {type(value).__name__} too long to print"
    return text if len(text) <= 80 else f"{text[:77]}..."


def check_level(name: str, level: Any) -> None:
    """One probability.

    Raises:
        ValueError: It is not one number inside (0, 1).
    """
    real = isinstance(level, numbers.Real) and not isinstance(level, np.timedelta64)
    if not real or not 0 < float(level) < 1:
        raise ValueError(f"{name}={level}: give one number inside (0, 1), such as 0.9.")


def check_levels(name: str, levels: Any) -> None:
    """Some probabilities.

    Raises:
        ValueError: There are none, or one is not inside (0, 1).
    """
    if not len(levels):
        raise ValueError(f"{name}: empty. Pass some inside (0, 1), such as [0.5, 0.9].")
    for level in levels:
        check_level(name, level)


def check_draws(name: str, level: float, num_samples: int) -> None:
    """At least one draw on either side of the central interval, on average.

    Raises:
        ValueError: There are fewer.
    """
    needed = int(np.ceil(2 / (1 - level) - 1e-9))
    if num_samples < needed:
        raise ValueError(
            f"{name}: {level:g} needs the {50 * (1 - level):.3g} % quantile, which takes {needed} "
            f"draws, but the forecast has {num_samples}. Predict with num_samples >= {needed}, or "
            "ask for smaller levels."
        )
