"""Which snapshots of the test trajectories are kept, and which times are forecast beyond them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pyro_msde.data import TimeUnits, Trajectories, evenly_spaced, nearest

__all__ = ["Array", "Selection", "clock"]

Array = NDArray[Any]

_MOST_BEYOND = 100_000  # snapshots after the data


@dataclass(frozen=True)
class Selection:
    """Test trajectories, and at which times they are compared with forecasts.

    Attributes:
        test: All snapshots.
        picked: Copies of those that are kept.
        index: Their indices in each trajectory.
        later: Times to forecast after the end of each trajectory; None: none.
    """

    test: Trajectories
    picked: Trajectories
    index: list[Array]
    later: list[Array] | None

    @classmethod
    def of(cls, test: Trajectories, times: Any, horizon: Any = None) -> Selection:
        """Some snapshots, and times up to `horizon` at their spacing or closer.

        Args:
            test: Trajectories.
            times: How many snapshots of each, evenly spaced from the first to the last, or times to
                which to take the nearest; numbers, or dates if the data have dates.
            horizon: None: no times beyond the data.

        Raises:
            ValueError: No snapshots, times outside the data, a horizon within them.
        """
        if isinstance(times, np.integer):
            times = int(times)
        if isinstance(times, bool | str):
            raise ValueError(f"times: {times!r}. Pass a number of snapshots, or their times.")
        if not isinstance(times, int):
            times = test.time_units.numbers(times, "times").reshape(-1)
        picked, index = _pick(test, times)
        later = None
        if horizon is not None:
            end = test.time_units.numbers(horizon, "horizon")
            later = _times_beyond(test, picked, float(end) if end.shape == () else math.nan)
        return cls(test, picked, index, later)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of trajectories, and the largest number of kept snapshots."""
        return len(self.index), max(len(i) for i in self.index)

    def rows(self) -> Iterator[Array]:
        """Trajectories that are forecast together: all at once, or one by one if times differ."""
        everyone = np.arange(len(self.test))
        yield from [everyone] if self.test.common_times() is not None else everyone[:, None]


def _pick(test: Trajectories, times: int | Sequence[float]) -> tuple[Trajectories, list[Array]]:
    """Copies of the chosen snapshots, and their indices."""
    if not isinstance(times, int):
        wanted = np.asarray(times)
        first, last = min(t[0] for t in test.times), max(t[-1] for t in test.times)
        outside = wanted[~((wanted >= first) & (wanted <= last))]
        if len(outside):
            raise ValueError(f"times: {outside.tolist()} before or after all trajectories.")
    index = [_choose(clock, times, k) for k, clock in enumerate(test.times)]
    return test.snapshots(index), index


def _choose(row: Array, times: int | Sequence[float], k: int) -> Array:
    """Indices of snapshots of one trajectory."""
    if isinstance(times, int):
        return evenly_spaced(len(row), times)
    wanted = np.asarray(times)
    wanted = wanted[(wanted >= row[0]) & (wanted <= row[-1])]
    if not len(wanted):
        raise ValueError(
            f"times: none within trajectory {k}, from {row[0]:g} to {row[-1]:g}. "
            "Leave it out or pass a number of snapshots."
        )
    return nearest(row, wanted)


def _times_beyond(test: Trajectories, picked: Trajectories, horizon: float) -> list[Array]:
    """Times of each trajectory after its end up to `horizon`."""
    later = []
    for k, (past, kept) in enumerate(zip(test.times, picked.times, strict=True)):
        room = horizon - past[-1]
        if not (math.isfinite(horizon) and room > 0):
            raise ValueError(
                f"horizon: {horizon:g}, but trajectory {k} ends at {past[-1]:g}. Pass a later time."
            )
        spacing = (kept[-1] - kept[0]) / (len(kept) - 1) if len(kept) > 1 else room
        count = math.ceil(room / spacing * (1 - 1e-9))  # a whole number of spacings is rounded
        if count > _MOST_BEYOND:
            raise ValueError(
                f"horizon: {horizon:g} is {count} spacings beyond trajectory {k}, more than "
                f"{_MOST_BEYOND}. Pass an earlier time, or fewer times."
            )
        later.append(past[-1] + room * np.arange(1, count + 1) / count)
    return later


def clock(times: Sequence[Array], units: TimeUnits) -> xr.DataArray:
    """Times as `Trajectories.to_xarray` labels them: (time,) if shared, else (trajectory, …)."""
    nothing = [np.zeros((len(t), 1)) for t in times]
    named = {} if units.text is None else {"time": units.text}
    return Trajectories(times, nothing, units=named, calendar=units.calendar).to_xarray()["time"]
