"""Times of a forecast and of the snapshots that it starts from, checked and as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.data import TimeUnits, rounding

__all__ = ["checked_leads", "checked_past", "checked_times"]

Array = NDArray[np.float64]


def checked_past(times0: Any, units: TimeUnits) -> Array:
    """Times of several snapshots, (snapshot,) or (batch, snapshot) float64.

    Args:
        times0: Numbers, or dates or durations where the data have such.
        units: The data's.

    Raises:
        ValueError: They are not rows of finite increasing times.
    """
    past = np.asarray(units.numbers(times0, "times0"))
    if past.ndim not in (1, 2) or not past.size or not np.isfinite(past).all():
        raise ValueError(
            f"times0: shape {past.shape}; give finite times, (snapshot,) or (batch, snapshot)."
        )
    if (np.diff(past) <= 0).any():
        raise ValueError("times0: not increasing. Sort the snapshots by time.")
    return past


def checked_leads(times: Any, t0: Any, units: TimeUnits) -> tuple[Array, Array]:
    """Lead times of a forecast as (time,) float64, and the times (batch,) that they count from.

    Args:
        times: Numbers in the data's unit of time, or durations.
        t0: Numbers, or dates where the data have such.
        units: The data's.

    Raises:
        ValueError: They are not rows of finite times, or lead times are negative or do not
            increase.
    """
    starts = units.numbers(t0, "t0")
    if not np.isfinite(starts).all():
        raise ValueError(f"t0={t0}: give the finite time of each y0.")
    clock = np.atleast_1d(units.durations(times, "times"))
    _check_row(clock)
    if clock[0] < 0:
        raise ValueError(
            f"times: {clock[0]:g}. Where t0 is a row, they are counted from it, and forecasts run "
            "forward from y0."
        )
    return clock, starts


def checked_times(times: Any, t0: Any, units: TimeUnits) -> tuple[Array, float]:
    """Times of a forecast as (time,) float64, and the time of y0.

    Args:
        times: Numbers, or dates or durations where the data have such.
        t0: One of them; None: the first of `times`.
        units: The data's.

    Raises:
        ValueError: They are not a row of finite increasing times, or begin before `t0`.
    """
    clock = np.atleast_1d(units.numbers(times, "times"))
    _check_row(clock)
    if t0 is None:
        return clock, float(clock[0])
    given = units.numbers(t0, "t0")
    if given.shape != () or not np.isfinite(given):
        raise ValueError(f"t0={t0}: give the finite time of y0, or leave it out.")
    start = float(given)
    if abs(clock[0] - start) <= rounding(np.append(clock, start)):
        return clock, float(clock[0])  # equal but for rounding
    if clock[0] < start:
        raise ValueError(
            f"times: begin at {units.shown(clock[0])}, before t0={units.shown(start)}. Forecasts "
            "run forward from y0."
        )
    return clock, start


def _check_row(clock: Array) -> None:
    """Raise ValueError unless these are finite, increasing times (time,)."""
    if clock.ndim != 1 or len(clock) == 0 or not np.isfinite(clock).all():
        raise ValueError(f"times: shape {clock.shape}; give a row of finite times.")
    if (np.diff(clock) <= 0).any():
        i = int(np.argmin(np.diff(clock))) + 1
        raise ValueError(f"times: not increasing at index {i} (t={clock[i]:g}). Sort them.")
