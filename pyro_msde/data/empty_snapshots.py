"""Snapshots of which nothing was observed: no nodes of a path, and no place to start from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.data.trajectories import Trajectories
from pyro_msde.protocols import Places

__all__ = ["first_observed", "observed_snapshots", "since_first_observed"]


def observed_snapshots(data: Trajectories, grid: Places, argument: str = "data") -> Trajectories:
    """The snapshots of which something was observed where the grid has points.

    Args:
        data: Trajectories on the grid.
        grid: Whose mask counts.
        argument: What errors call the data.

    Raises:
        ValueError: A trajectory has none.
    """
    some = _with_something(data, grid, argument)
    if all(s.all() for s in some):
        return data
    return data.snapshots([np.flatnonzero(s) for s in some])


def first_observed(data: Trajectories, grid: Places, argument: str) -> list[int]:
    """Of each trajectory the first snapshot of which something was observed.

    Args:
        data: Trajectories on the grid.
        grid: Whose mask counts.
        argument: What errors call the data.

    Raises:
        ValueError: A trajectory has none.
    """
    return [int(s.argmax()) for s in _with_something(data, grid, argument)]


def since_first_observed(data: Trajectories, grid: Places, argument: str) -> Trajectories:
    """Each trajectory from the first snapshot of which something was observed.

    Args:
        data: Trajectories on the grid.
        grid: Whose mask counts.
        argument: What errors call the data.

    Raises:
        ValueError: A trajectory has none.
    """
    starts = first_observed(data, grid, argument)
    return data.snapshots([slice(i, None) for i in starts]) if any(starts) else data


def _with_something(data: Trajectories, grid: Places, argument: str) -> Sequence[NDArray[Any]]:
    """For each trajectory, (time,) whether a snapshot has an observation."""
    if data.missing != "mask":
        return [np.ones(len(t), dtype=bool) for t in data.times]
    out: list[NDArray[Any]] = []
    for field in data.fields(grid.channels, grid.data_shape):
        seen = ~np.isnan(field)
        if grid.mask is not None:
            seen &= grid.mask
        out.append(np.asarray(seen.reshape(len(seen), -1).any(axis=1)))
    empty = [k for k, some in enumerate(out) if not some.any()]
    if empty:
        which = f"trajectory {empty[0]}" if len(empty) == 1 else f"trajectories {empty}"
        raise ValueError(
            f"{argument}: nothing was observed in {which} where the grid has points. Leave "
            f"{'it' if len(empty) == 1 else 'them'} out: {argument}[[k for k in "
            f"range(len({argument})) if k not in {empty}]]."
        )
    return out
