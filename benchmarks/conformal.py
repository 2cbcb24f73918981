"""Intervals for forecasts without any: as far as validation forecasts erred at the same lead.

Errors are pooled over validation trajectories and points, lead by lead (split conformal prediction;
Lei et al., J. Am. Stat. Assoc. 113, 2018); a forecast plus their quantiles is an ensemble, of which
coverage and CRPS are those of `pyro_msde.scores`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde import Trajectories

__all__ = ["coverage", "crps", "error_quantiles"]

Array = NDArray[Any]
Forecast = Callable[[Trajectories], Array]

_MEMBERS = 39  # at levels of a fortieth


def error_quantiles(forecast: Forecast, validation: Trajectories) -> Array:
    """(member, time) of errors over points and trajectories, all at the same leads."""
    errors = np.stack([one.values[0] - forecast(one) for one in validation])
    pooled = np.moveaxis(errors, 1, 0).reshape(errors.shape[1], -1)
    levels = np.arange(1, _MEMBERS + 1) / (_MEMBERS + 1)
    return np.stack([np.quantile(row, levels) for row in pooled], 1)


def coverage(path: Array, quantiles: Array, truth: Array) -> float:
    """Share of the truth (time, *space) within the central 90 %."""
    ones = (1,) * (truth.ndim - 1)
    low, high = (quantiles[k].reshape(-1, *ones) for k in (1, -2))  # levels of .05 and .95
    return float(((truth >= path + low) & (truth <= path + high)).mean())


def crps(path: Array, quantiles: Array, truth: Array) -> float:
    """Mean, by twice the pinball losses at the levels."""
    total = 0.0
    for k, row in enumerate(quantiles):
        level = (k + 1) / (len(quantiles) + 1)
        away = truth - path - row.reshape(-1, *(1,) * (truth.ndim - 1))
        total += float(np.maximum(level * away, (level - 1) * away).mean())
    return 2 * total / len(quantiles)
