"""Trajectories and times at the boundary; what is wrong is said by the argument's name."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.data.instants import TimeUnits, rounding
from pyro_msde.data.trajectories import Trajectories

__all__ = ["check_trajectories", "checked_times"]


def check_trajectories(name: str, model: Any, data: Any) -> None:
    """What an argument of this name has to be for a model.

    Raises:
        ValueError: No `Trajectories`, or of another number of covariates, or with controls.
    """
    if not isinstance(data, Trajectories):
        raise ValueError(
            f"{name}: got {type(data).__name__}. Pass pyro_msde.Trajectories(times, values)."
        )
    wanted = getattr(model, "num_covariates", 0)
    given = 0 if data.covariates is None else data.covariates.shape[1]
    if given != wanted:
        raise ValueError(
            f"{name}: {given} covariates a trajectory, the model takes {wanted}. Build the model "
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
