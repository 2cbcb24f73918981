"""Which snapshots of test trajectories are scored, and at which lead time each of them counts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.data import Trajectories, evenly_spaced, rounding, same_times

__all__ = ["batches", "lead_places"]

Array = NDArray[Any]
Indices = NDArray[np.int64]
Chosen = tuple[Indices, Indices]  # snapshots, and the numbers of their leads

_LEADS = 50  # at most, unless the user names more
_ALIKE = 0.25  # of the shortest step: months differ by a ninth
_NUMBERS = 2**23  # of a field's forecasts that are held at once


def lead_places(test: Trajectories, wanted: Array | None) -> tuple[list[Chosen], Array]:
    """For each trajectory snapshots and the numbers of their leads; and the leads.

    Raises:
        ValueError: There are none.
    """
    later = [t[1:] - t[0] for t in test.times]
    longest = max(later, key=len)
    if not len(longest):
        raise ValueError("test: no trajectory has a second snapshot. Pass longer ones.")
    step = float(np.median(np.concatenate([np.diff(t) for t in test.times])))
    if wanted is not None:
        leads = np.unique(wanted)
    elif all(same_times(longest[: len(t)], t) for t in later if len(t)):
        leads = longest[evenly_spaced(len(longest), _LEADS)]
    else:
        shortest = min(float(np.diff(t).min()) for t in test.times if len(t) > 1)
        leads = _most_common(np.concatenate(later), 0.5 * step, _ALIKE * shortest)
    places = []
    for t in later:
        off = np.abs(t[:, None] - leads) if len(t) else np.full((1, len(leads)), np.inf)
        near = off.argmin(0)
        slots = np.flatnonzero(off.min(0) <= 0.5 * step + rounding(leads))
        # a snapshot counts once, at the lead that it is nearest to
        slots = slots[[off[near[s]].argmin() == s for s in slots]]
        places.append((1 + near[slots], slots))
    if not any(len(slots) for _, slots in places):
        raise ValueError(
            f"leads: {leads[0]:g} to {leads[-1]:g}, but the test trajectories have snapshots "
            f"{longest[0]:g} to {longest[-1]:g} after the first. Pass some of these."
        )
    return places, leads


def _most_common(later: Array, apart: float, alike: float) -> Array:
    """(lead,) those that most trajectories have; of many that are as common some all over.

    One that is next to a more common one is left out, and its snapshots count there: nearer than
    `alike`, as months and leap years are, or than `apart` if a single trajectory has it.

    Args:
        later: Times since their trajectory's first snapshot, of all snapshots.
        apart: What a snapshot may be off.
        alike: What leads may differ by that count as one.
    """
    times = np.sort(later)
    slack = rounding(np.append(times, 0.0))
    first = np.flatnonzero(np.diff(times, prepend=-np.inf) > slack)
    distinct, counts = times[first], np.diff(first, append=len(times))
    kept = np.zeros(0, dtype=np.int64)
    for i in np.argsort(-counts, kind="stable"):
        at, near = int(np.searchsorted(kept, i)), alike if counts[i] > 1 else apart
        if (np.abs(distinct[kept[max(0, at - 1) : at + 1]] - distinct[i]) >= near - slack).all():
            kept = np.insert(kept, at, i)
    if len(kept) > _LEADS:
        least = np.sort(counts[kept])[-_LEADS]
        sure, others = kept[counts[kept] > least], kept[counts[kept] == least]
        some = others[evenly_spaced(len(others), _LEADS - len(sure))]
        kept = np.sort(np.concatenate([sure, some]))
    return distinct[kept]


def batches(
    test: Trajectories, places: Sequence[Chosen]
) -> Iterator[tuple[Trajectories, Indices, Indices]]:
    """Trajectories with common times, few enough to be held, their snapshots and leads."""
    left = [k for k, (chosen, _) in enumerate(places) if len(chosen)]
    while left:
        first = left[0]
        alike = [k for k in left if same_times(test.times[first], test.times[k])]
        most = max(1, _NUMBERS // (len(places[first][0]) * test.values[first][0].size))
        yield test[alike[:most]], *places[first]
        left = [k for k in left if k not in alike[:most]]
