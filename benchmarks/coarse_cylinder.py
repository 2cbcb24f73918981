"""Under-resolved simulation of the flow past a cylinder: fewer elements than the data's.

It knows the equation, the Reynolds number, and where the cylinder is. It starts from the observed
first snapshot, linear between the points; the channel goes on where the data end, x = 3.5, and
starts there from what the last column has. The best resolution on validation is used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import trajectory_error
from pyro_msde import Trajectories
from pyro_msde.datasets.cylinder import REYNOLDS, X, Y
from pyro_msde.datasets.cylinder_equation import Resolution, solve_cylinder

__all__ = ["RESOLUTIONS", "choose", "forecast"]

Array = NDArray[Any]

# the data's have 1879; steps of .001 as theirs, since twice as long ones are not stable
RESOLUTIONS = {
    "949 elements": Resolution(cylinder=0.03, wake=0.07, far=0.18),
    "709 elements": Resolution(cylinder=0.04, wake=0.09, far=0.24),
    "480 elements": Resolution(cylinder=0.06, wake=0.14, far=0.36),
}


def forecast(one: Trajectories, name: str) -> Array:
    """(time, 2, x, y) of a trajectory from its first snapshot; infinite where it blows up."""
    reynolds = REYNOLDS if one.covariates is None else float(one.covariates[0, 0])
    y, times = one.values[0], one.times[0]
    try:
        return solve_cylinder(
            reynolds,
            times - times[0],
            X,
            Y,
            np.random.default_rng(0),
            RESOLUTIONS[name],
            start=y[0],
        ).velocity
    except FloatingPointError:
        return np.full_like(y, np.inf)


def choose(validation: Trajectories) -> tuple[str, dict[str, float]]:
    """Name of the resolution with the smallest mean error on validation, and all errors."""
    errors = {
        name: float(np.mean([trajectory_error(forecast(o, name), o.values[0]) for o in validation]))
        for name in RESOLUTIONS
    }
    return min(errors, key=errors.__getitem__), errors
