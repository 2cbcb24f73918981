"""Look-ups by time: the snapshot whole periods earlier, and what followed the nearest snapshot.

Both go along a training trajectory, in steps of its snapshots, and repeat its last period where it
has ended. The period is the trajectory's own, taken from its last third: the lag, beyond those at
which snapshots are still alike, at which they are most alike again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde import Trajectories

__all__ = ["followed", "nearest_snapshot", "period_in"]

Array = NDArray[Any]


def period_in(values: Array) -> int:
    """In snapshots, of a trajectory (time, *field); 1 where nothing comes again."""
    late = values[-max(4, len(values) // 3) :].reshape(-1, int(np.prod(values.shape[1:])))
    products = (late @ late.T).astype(np.float64)
    squares = np.diag(products)
    distance = squares[:, None] + squares - 2 * products
    by_lag = np.array([np.diag(distance, lag).mean() for lag in range(3 * len(late) // 4)])
    alike = by_lag < 0.5 * by_lag.max()
    apart = int(alike.argmin())  # the first lag at which they are not
    if alike.all() or not alike[apart:].any():
        return 1
    again = apart + int(alike[apart:].argmax())
    gone = again + int((~alike[again:]).argmax())
    end = gone if gone > again else len(by_lag)
    return again + int(by_lag[again:end].argmin())


def followed(values: Array, first: int, num_times: int) -> Array:
    """Snapshots (num_times, *field) of a trajectory (time, *field) from index `first` on.

    The last period goes on for ever: `first` may lie beyond the end.
    """
    index = first + np.arange(num_times)
    beyond = np.maximum(index - (len(values) - 1), 0)
    period = period_in(values) if beyond.any() else 1
    return np.asarray(values[index - period * -(-beyond // period)])


def nearest_snapshot(train: Trajectories, y0: Array, rows: Array) -> tuple[int, int]:
    """Trajectory and index of the training snapshot nearest to y0 (*field).

    Args:
        train: Training trajectories.
        y0: The snapshot.
        rows: Which trajectories count.
    """
    distances = {
        int(k): np.array([np.square(v - y0, dtype=np.float64).sum() for v in train.values[k]])
        for k in rows
    }
    k = min(distances, key=lambda k: float(distances[k].min()))
    return k, int(distances[k].argmin())
