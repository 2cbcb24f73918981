"""Phases of the day, the year and other periods, as controls that say what time it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.data.harmonics import harmonics_at
from pyro_msde.data.instants import TimeUnits
from pyro_msde.data.periods import period_in
from pyro_msde.data.time_reading import read_times

__all__ = ["calendar_phases"]


def calendar_phases(
    times: Any, *periods: Any, units: str | None = None, calendar: str | None = None
) -> NDArray[np.float64]:
    """Cosine and sine of each period's phase, (time, 2 × periods): controls of a model.

    `Trajectories(…, controls=[calendar_phases(t, "1D", "1Y") for t in times])` tells a model hour
    and season. Phases of times that count from a date are those since 1970, whatever that date is,
    so that training data and forecasts agree; those of other numbers are since zero.

    Args:
        times: (time,) dates of any calendar, or numbers, such as `trajectories.times[0]`.
        *periods: Numbers in the times' unit, durations, or texts such as "1D", "12 hours" or "1Y".
            Years are the mean ones of the calendar.
        units: Of numbers, such as `trajectories.units["time"]`: "days since 2000-01-01".
        calendar: Theirs, such as `trajectories.calendar`; "standard" unless given.

    Raises:
        ValueError: No periods, times that are no row, or a period that these times do not tell.
    """
    if not periods:
        raise ValueError("periods: none. Pass some, as in calendar_phases(times, '1D', '1Y').")
    (clock,), known = read_times([times], TimeUnits(units, calendar), "times")
    if clock.ndim != 1 or not np.isfinite(clock).all():
        raise ValueError(f"times: shape {clock.shape}; give a row of finite times.")
    if known.calendar is not None and known.is_fixed:
        since_1970 = TimeUnits("seconds since 1970-01-01", known.calendar)
        clock, known = since_1970.converted(clock, known, "times"), since_1970
    waves = [
        harmonics_at(clock, period_in(known, period, f"periods[{k}]"), 3)[:, 1:]
        for k, period in enumerate(periods)
    ]
    return np.concatenate(waves, 1)
