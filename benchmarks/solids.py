"""Points without a field, such as those within a solid: zero for what compares plain numbers."""

from __future__ import annotations

import copy

import numpy as np

from pyro_msde import Forecast, Trajectories

__all__ = ["is_finite", "without_solids"]


def without_solids(data: Trajectories) -> Trajectories:
    """The trajectories with zero where they are NaN; themselves if that is nowhere.

    Fluids stick to a solid, and the solid stands still: its velocity is zero.
    """
    if not any(np.isnan(v).any() for v in data.values):
        return data
    out = copy.copy(data)
    out.values = tuple(np.nan_to_num(v, nan=0.0) for v in data.values)
    return out


def is_finite(fc: Forecast) -> bool:
    """Whether the forecast's mean is, where there is a field."""
    mean = fc.mean if fc.mask is None else fc.mean[..., fc.mask]
    return bool(mean.isfinite().all())
