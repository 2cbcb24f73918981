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
        leads = _most_common(np.concatenate(later), 0.5 * step)
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


def _most_common(later: Array, apart: float) -> Array:
    """(lead,) those that most trajectories have; of many that are as common some all over.

    One that a single trajectory has is left out if it is less than `apart` from another, at which
    its snapshot then counts.

    Args:
        later: Times since their trajectory's first snapshot, of all snapshots.
        apart: What a snapshot may be off.
    """
    times = np.sort(later)
    slack = rounding(np.append(times, 0.0))
    first = np.flatnonzero(np.diff(times, prepend=-np.inf) > slack)
    distinct, counts = times[first], np.diff(first, append=len(times))
    kept = list(np.flatnonzero(counts > 1))
    taken = distinct[kept]
    for i in np.flatnonzero(counts == 1):
        at = int(np.searchsorted(taken, distinct[i]))
        if (np.abs(taken[max(0, at - 1) : at + 1] - distinct[i]) >= apart - slack).all():
            kept.append(i)
            taken = np.insert(taken, at, distinct[i])
    if len(kept) > _LEADS:
        least = np.sort(counts[kept])[-_LEADS]
        sure = [i for i in kept if counts[i] > least]
        others = sorted(i for i in kept if counts[i] == least)
        kept = sure + [others[i] for i in evenly_spaced(len(others), _LEADS - len(sure))]
    return np.asarray(distinct[sorted(kept)])


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
