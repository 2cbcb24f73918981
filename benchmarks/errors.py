"""The error measure on arrays: sqrt(mean_t ‖forecast − y‖² / ‖y‖²) of one trajectory.

Points where the truth is NaN, such as those within a solid, are left out of both norms. To count
them with the velocity that a solid has, zero, changes nothing for forecasts that know where it is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pyro_msde.scores import relative_squares

__all__ = ["noise_floor", "trajectory_error"]

Array = NDArray[Any]

_CHUNK = 2**24  # numbers compared at once


def trajectory_error(forecast: Array, y: Array) -> float:
    """The paper's NRMSE of a forecast (time, *space), relative to zero as `pyro_msde.nrmse` can be.

    NaN in y: not observed, and not counted. Infinite if the forecast is not finite elsewhere.
    """
    if forecast.shape != y.shape:
        raise ValueError(f"forecast: shape {forecast.shape}, but the truth has {y.shape}.")
    size = max(1, _CHUNK // int(np.prod(y.shape[1:])))
    ratios = []
    for i in range(0, len(y), size):
        truth = y[i : i + size].astype(float)
        seen = ~np.isnan(truth)
        pair = (np.where(seen, x, 0.0)[None] for x in (forecast[i : i + size], truth))
        ratios.append(relative_squares(*map(torch.from_numpy, pair))[0])
        zero = ~(seen & (truth != 0)).reshape(len(truth), -1).any(1)
        if zero.any():
            raise ValueError(f"y: the snapshot at index {i + zero.argmax()} is zero everywhere.")
    total = float(np.sqrt(np.concatenate(ratios).mean()))
    return total if np.isfinite(total) else float("inf")


def noise_floor(y: Array, noise_sd: float) -> float:
    """NRMSE expected of the truth itself against its observation y (time, *space)."""
    points = np.count_nonzero(~np.isnan(y.reshape(len(y), -1)), axis=1)
    norms = [np.nansum(np.square(snapshot, dtype=np.float64)) for snapshot in y]
    return float(np.sqrt(np.mean(points * noise_sd**2 / np.array(norms))))
