"""Arguments at the boundary: numbers, times, trajectories; what is wrong is said by their name."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.instants import TimeUnits, rounding
from pyro_msde.trajectories import Trajectories

__all__ = ["check_number", "check_trajectories", "check_whole", "checked_times"]


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


def check_trajectories(name: str, model: Any, data: Any) -> None:
    """What an argument of this name has to be for a model.

    Raises:
        ValueError: No `Trajectories`, or of another number of parameters, or with controls.
    """
    if not isinstance(data, Trajectories):
        raise ValueError(
            f"{name}: got {type(data).__name__}. Pass pyro_msde.Trajectories(times, values)."
        )
    wanted = getattr(model, "num_parameters", 0)
    given = 0 if data.parameters is None else data.parameters.shape[1]
    if given != wanted:
        raise ValueError(
            f"{name}: {given} parameters a trajectory, the model takes {wanted}. Build the model "
            "for them, or leave them out of Trajectories."
        )
    if data.controls is not None:
        raise ValueError(f"{name}: no model takes controls yet. Leave them out of Trajectories.")


def checked_times(
    times: Any, t0: Any, units: TimeUnits
) -> tuple[NDArray[np.float64], float]:
    """Times of a forecast as (time,) float64, and the time of y0.

    Args:
        times: Numbers, or dates or durations where the data have such.
        t0: One of them; None: the first of `times`.
        units: The data's.

    Raises:
        ValueError: They are not a row of finite increasing times, or begin before `t0`.
    """
    clock = np.atleast_1d(units.numbers(times, "times"))
    if clock.ndim != 1 or len(clock) == 0 or not np.isfinite(clock).all():
        raise ValueError(f"times: shape {clock.shape}; give a row of finite times.")
    if (np.diff(clock) <= 0).any():
        i = int(np.argmin(np.diff(clock))) + 1
        raise ValueError(f"times: not increasing at index {i} (t={clock[i]:g}). Sort them.")
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
            f"times: begin at {clock[0]:g}, before t0={start:g}. Forecasts run forward from y0."
        )
    return clock, start
