"""What a sceptic would try first: forecasts that look training trajectories up.

All take snapshots and trajectories as arrays (trajectory, time, *field) on common times, and
give mean forecasts (trajectory, time, *field) of unseen ones from their first snapshots.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["mean_trajectory", "nearest_trajectory", "persistence", "principal_regression"]

Array = NDArray[Any]


def persistence(y0: Array, num_times: int) -> Array:
    """The first snapshot for ever; y0 (trajectory, *field)."""
    return np.repeat(y0[:, None], num_times, axis=1)


def mean_trajectory(train: Array, y0: Array) -> Array:
    """The average of the training trajectories, whatever y0."""
    return np.repeat(train.mean(0, keepdims=True), len(y0), axis=0)


def nearest_trajectory(train: Array, y0: Array) -> Array:
    """The training trajectory whose first snapshot is nearest to y0."""
    start = train[:, 0].reshape(len(train), -1)
    distance = np.linalg.norm(y0.reshape(len(y0), 1, -1) - start, axis=-1)
    return np.asarray(train[distance.argmin(1)])


def principal_regression(train: Array, y0: Array, components: int = 2) -> Array:
    """Linear regression of the whole trajectory on principal components of its first snapshot."""
    start = train[:, 0].reshape(len(train), -1)
    centre = start.mean(0)
    axes = np.linalg.svd(start - centre, full_matrices=False)[2][:components]

    def features(y: Array) -> Array:
        return np.column_stack([np.ones(len(y)), (y.reshape(len(y), -1) - centre) @ axes.T])

    paths = train.reshape(len(train), -1)
    weights = np.linalg.lstsq(features(train[:, 0]), paths, rcond=None)[0]
    return np.asarray((features(y0) @ weights).reshape(len(y0), *train.shape[1:]))
