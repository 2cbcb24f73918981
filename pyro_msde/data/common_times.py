"""Trajectories side by side, where their times agree."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyro_msde.data.trajectories import Trajectories

__all__ = ["common_batches"]


def common_batches(data: Trajectories) -> list[tuple[np.ndarray, np.ndarray, Any]]:
    """Trajectories in batches with common times: (times, (batch, time, *field), covariates)."""
    if data.common_times() is not None:
        return [(data.times[0], np.stack(data.values), data.covariates)]
    return [
        (t, v[None], None if data.covariates is None else data.covariates[k : k + 1])
        for k, (t, v) in enumerate(zip(data.times, data.values, strict=True))
    ]
