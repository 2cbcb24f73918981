"""The error measure on arrays: sqrt(mean_t ‖forecast − y‖² / ‖y‖²) of one trajectory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["noise_floor", "trajectory_error"]

Array = NDArray[Any]

_CHUNK = 2**24  # numbers compared at once


def trajectory_error(forecast: Array, y: Array) -> float:
    """NRMSE of a forecast (time, *space), as `pyro_msde.nrmse`; infinite if it is not finite."""
    if forecast.shape != y.shape:
        raise ValueError(f"forecast: shape {forecast.shape}, but the truth has {y.shape}.")
    size = max(1, _CHUNK // int(np.prod(y.shape[1:])))
    ratios = []
    for i in range(0, len(y), size):
        truth = y[i : i + size].reshape(len(y[i : i + size]), -1).astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            error = np.square(forecast[i : i + size].reshape(truth.shape) - truth).sum(1)
        own = np.square(truth).sum(1)
        if not own.all():
            k = i + int(own.argmin())
            raise ValueError(f"y: the snapshot at index {k} is zero everywhere.")
        ratios.append(error / own)
    total = float(np.sqrt(np.concatenate(ratios).mean()))
    return total if np.isfinite(total) else float("inf")


def noise_floor(y: Array, noise_sd: float) -> float:
    """NRMSE expected of the truth itself against its observation y (time, *space)."""
    points = int(np.prod(y.shape[1:]))
    norms = [np.square(snapshot, dtype=np.float64).sum() for snapshot in y]
    return float(np.sqrt(np.mean(points * noise_sd**2 / np.array(norms))))
