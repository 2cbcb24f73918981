"""Parts of trajectories in time: before and after an instant, for training and tests, and windows.

Parts share the memory of the whole and keep its times, so that the season of a window is known.
Only `Trajectories` calls this; users have its methods.
"""

from __future__ import annotations

import datetime
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyro_msde.checks import check_level, check_whole
from pyro_msde.data.decorrelation import decorrelation_lag
from pyro_msde.data.holes import holes
from pyro_msde.data.instants import rounding

if TYPE_CHECKING:
    from pyro_msde.data.trajectories import Trajectories

__all__ = ["Splits", "after", "between", "cut_windows", "split_in_time", "until"]

Array = NDArray[Any]

_LOG = logging.getLogger(__name__)
_SHARE_OF_GAP = 20  # times as many snapshots has a trajectory at least, unless a gap is given
_FEW = 20  # trajectories that an error lists
_ROUNDS = 50  # after which shares are as near as they get


class Splits(NamedTuple):
    """Training, validation and test trajectories."""

    train: Trajectories
    validation: Trajectories
    test: Trajectories


def until(data: Trajectories, time: Any) -> Trajectories:
    """See `Trajectories.until`."""
    counts = _up_to(data, time, "time")
    if min(counts) == 0:
        end = _shown(data, time, "time")
        k = counts.index(0)
        raise ValueError(f"time: {end} is before trajectory {k} begins.{_mend(counts)}")
    return data.snapshots([slice(n) for n in counts])


def after(data: Trajectories, time: Any) -> Trajectories:
    """See `Trajectories.after`."""
    counts = _up_to(data, time, "time")
    left = [len(t) - n for t, n in zip(data.times, counts, strict=True)]
    if min(left) == 0:
        start = _shown(data, time, "time")
        k = left.index(0)
        raise ValueError(f"time: trajectory {k} has no snapshot after {start}.{_mend(left)}")
    return data.snapshots([slice(n, None) for n in counts])


def between(data: Trajectories, start: Any, end: Any) -> Trajectories:
    """See `Trajectories.between`."""
    low, high = _instant(data, start, "start"), _instant(data, end, "end")
    firsts, ends = _counts(data, low, before=True), _up_to(data, end, "end")
    sizes = [max(0, last - first) for first, last in zip(firsts, ends, strict=True)]
    said = f"{_shown(data, start, 'start')} to {_shown(data, end, 'end')}"
    if low > high and max(sizes) == 0:  # "2000-03" to "2000" ends with the year
        raise ValueError(f"end: nothing is from {said}. Pass the earlier time first.")
    if min(sizes) == 0:
        k = sizes.index(0)
        raise ValueError(f"start: trajectory {k} has no snapshot from {said}.{_mend(sizes)}")
    return data.snapshots([slice(*bounds) for bounds in zip(firsts, ends, strict=True)])


def split_in_time(data: Trajectories, train: float, validation: float, gap: Any) -> Splits:
    """See `Trajectories.split`."""
    check_level("train", train)
    check_level("validation", validation)
    if not train + validation < 1:
        raise ValueError(
            f"validation: {validation} and train={train} leave nothing for the test. Pass smaller "
            "shares."
        )
    given = None if gap is None else _Stretch.of(data, gap, "gap", least=0)
    longest = [len(t) // _SHARE_OF_GAP for t in data.times]
    usual = 0 if given else decorrelation_lag(data.values, max(1, *longest))
    parts: tuple[list[slice], ...] = ([], [], [])
    for k, (t, most) in enumerate(zip(data.times, longest, strict=True)):
        apart = given or _Stretch(min(usual, most))
        bounds = _parts(t, train, validation, apart)
        sizes = [len(t[low:high]) for low, high in bounds]
        if min(sizes) < 2:
            said = apart.snapshots if apart.duration is None else gap
            raise ValueError(
                f"data: the {len(t)} snapshots of trajectory {k} make parts of {sizes}, with a gap "
                f"of {said}; each takes 2 or more. Pass a smaller gap or other shares, or take "
                "some trajectories for each: data[:-4], data[-4:-2], data[-2:]."
            )
        for part, ends in zip(parts, bounds, strict=True):
            part.append(slice(*ends))
    return Splits(*(data.snapshots(part) for part in parts))


def _parts(
    times: Array, train: float, validation: float, apart: _Stretch
) -> tuple[tuple[int, int], ...]:
    """First snapshots, and one more than the last, of three parts that are so far apart."""
    usable = len(times)
    for _ in range(_ROUNDS):
        first = max(0, round(train * usable))
        second = apart.beyond(times, first - 1)
        end = second + max(0, round(validation * usable))
        third = apart.beyond(times, end - 1)
        # how many snapshots a duration leaves out depends on where it lies
        left = len(times) - (second - first) - (third - end)
        if left == usable:
            break
        usable = left
    return (0, first), (second, end), (third, len(times))


def cut_windows(data: Trajectories, length: Any, every: Any) -> Trajectories:
    """See `Trajectories.cut`."""
    long = _Stretch.of(data, length, "length", least=2)
    apart = long if every is None else _Stretch.of(data, every, "every", least=1)
    rows, windows, across = [], [], 0
    for k, t in enumerate(data.times):
        gone = holes(t) if long.duration is None else np.zeros(len(t) - 1, dtype=bool)
        start = 0
        while start < len(t) and (end := long.end(t, start)) is not None:
            if gone[start : end - 1].any():
                across += 1
            elif end - start > 1:  # a single snapshot is no forecast
                rows.append(k)
                windows.append(slice(start, end))
            start = max(start + 1, apart.next(t, start))
    if not rows and across:
        raise ValueError(
            f"length: each of {across} windows of {length} snapshots spans a hole in the record, a "
            "step much longer than others. Pass less, or a duration, which takes the snapshots "
            "that there are."
        )
    if not rows:
        raise ValueError(
            f"length: {length} is longer than every trajectory; they have up to "
            f"{max(len(t) for t in data.times)} snapshots. Pass less."
        )
    if across:
        _LOG.info(
            "cut leaves out %d of %d windows, which span holes in the record.",
            across,
            across + len(rows),
        )
    return data[rows].snapshots(windows)


class _Stretch(NamedTuple):
    """A part of a record: so many snapshots, or a duration in the data's units."""

    snapshots: int
    duration: float | None = None

    @classmethod
    def of(cls, data: Trajectories, given: Any, name: str, least: int) -> _Stretch:
        """What a user gave.

        Raises:
            ValueError: It is neither a whole number of snapshots nor a duration, or too short.
        """
        if not isinstance(given, datetime.timedelta | np.timedelta64):
            return cls(check_whole(name, given, least))
        duration = float(data.time_units.durations(given, name))
        if not (0 <= duration < np.inf and duration + (not least) > 0):
            raise ValueError(f"{name}: {given!r}. Pass a positive duration.")
        return cls(0, duration)

    def next(self, times: Array, start: int) -> int:
        """The first snapshot at least so far after another."""
        if self.duration is None:
            return start + self.snapshots
        return int(np.searchsorted(times, times[start] + self.duration - rounding(times)))

    def beyond(self, times: Array, last: int) -> int:
        """The first snapshot after another when such a part between them is left out."""
        if self.duration is None:
            return last + self.snapshots + 1
        return max(last + 1, self.next(times, min(max(last, 0), len(times) - 1)))

    def end(self, times: Array, start: int) -> int | None:
        """One more than the last snapshot of such a part from `start` on; None: it is not whole."""
        if self.duration is None:
            return start + self.snapshots if start + self.snapshots <= len(times) else None
        whole = times[start] + self.duration <= times[-1] + rounding(times)
        last = times[start] + self.duration + rounding(times)
        return int(np.searchsorted(times, last, side="right")) if whole else None


def _instant(data: Trajectories, time: Any, name: str) -> float:
    """A time in the data's units, which may be infinite."""
    found = data.time_units.numbers(time, name)
    if found.shape != () or np.isnan(found):
        raise ValueError(f"{name}: {time!r}. Pass one time.")
    return float(found)


def _up_to(data: Trajectories, time: Any, name: str) -> list[int]:
    """Snapshots of each trajectory up to a time, or to the end of what a text names."""
    instant, end = _instant(data, time, name), data.time_units.end_of(time, name)
    return _counts(data, instant) if end is None else _counts(data, end, before=True)


def _counts(data: Trajectories, time: float, *, before: bool = False) -> list[int]:
    """Snapshots of each trajectory up to a time, or before it, equal but for rounding."""
    ends = [time, *(t[0] for t in data.times), *(t[-1] for t in data.times)]
    slack = rounding(np.array(ends)) if np.isfinite(time) else 0.0
    bound, side = (time - slack, "left") if before else (time + slack, "right")
    return [int(np.searchsorted(t, bound, side=side)) for t in data.times]  # type: ignore[call-overload]


def _shown(data: Trajectories, time: Any, name: str) -> str:
    if isinstance(time, str):
        return time
    return data.time_units.shown(_instant(data, time, name))


def _mend(sizes: list[int]) -> str:
    """Which trajectories to take, where some have snapshots."""
    some = [k for k, size in enumerate(sizes) if size]
    return f" Select the others first: data[{some}]." if 0 < len(some) <= _FEW else ""
