"""Forecasts of all trajectories put together: within the data, beyond them, log densities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr

from pyro_msde.data import Trajectories, to_numpy
from pyro_msde.io.arviz.fields import insert, predictive
from pyro_msde.io.arviz.frame import Frame, Variable
from pyro_msde.io.arviz.parameters import Draws
from pyro_msde.io.arviz.snapshots import Array, Selection, clock
from pyro_msde.protocols import FittedModel

__all__ = ["Imposed", "forecast_groups"]


@dataclass(frozen=True)
class Imposed:
    """Controls of all trajectories, beyond their ends.

    Attributes:
        controls: (n, c) or (trajectory, n, c); None: those of the data.
        times: (n,) or (trajectory, n) theirs, in the data's units.
    """

    controls: Array | None
    times: Array | None

    @classmethod
    def of(cls, controls: Any, control_times: Any, test: Trajectories) -> Imposed:
        """What a user gave.

        Raises:
            ValueError: One without the other, or for another number of trajectories.
        """
        if controls is None and control_times is None:
            return cls(None, None)
        if controls is None or control_times is None:
            raise ValueError("controls: go with control_times. Pass both, or neither.")
        values = to_numpy(controls, "controls")
        times = test.time_units.numbers(control_times, "control_times")
        for name, given, single in (("controls", values, 2), ("control_times", times, 1)):
            if given.ndim > single and len(given) != len(test):
                raise ValueError(
                    f"{name}: {len(given)} rows for {len(test)} trajectories. Pass one for each, "
                    "or the same for all without that axis."
                )
        return cls(values, times)

    def options(self, rows: Array) -> dict[str, Array]:
        """Arguments of `Fit.forecast` for some of the trajectories."""
        if self.controls is None or self.times is None:
            return {}
        values = self.controls[rows] if self.controls.ndim > 2 else self.controls
        times = self.times[rows] if self.times.ndim > 1 else self.times
        return {"controls": values, "control_times": times}


def forecast_groups(
    fit: FittedModel,
    chosen: Selection,
    frame: Frame,
    num_samples: int,
    num_theta: int,
    *,
    imposed: Imposed,
    seed: int,
    log_likelihood: bool,
) -> tuple[Draws, dict[str, xr.Dataset]]:
    """Forecast every trajectory from its first snapshot.

    Args:
        fit: The `Fit`.
        chosen: Trajectories, snapshots to compare with, times beyond them.
        frame: Axes at those snapshots.
        num_samples: Latent paths, and draws.
        num_theta: Draws of θ among which they are shared out.
        imposed: Controls, where others than the data's are given.
        seed: Trajectory k has seed + k if trajectories have times of their own.
        log_likelihood: Also the log densities of the snapshots.

    Returns:
        The draws of θ of the (first) forecast; `posterior_predictive`, `predictions` if there are
        times beyond the data, `log_likelihood` if asked for.
    """
    ahead = None if chosen.later is None else frame.at(clock(chosen.later, chosen.test.time_units))
    drawn: list[Draws] = []
    within: dict[str, Variable] = {}
    beyond: dict[str, Variable] = {}
    dense: dict[str, Variable] = {}
    for rows in chosen.rows():
        times = chosen.picked.times[int(rows[0])]
        if chosen.later is not None:
            times = np.concatenate([times, chosen.later[int(rows[0])]])
        fc = fit.forecast(
            chosen.test[rows],
            times,
            num_samples=num_samples,
            num_theta=num_theta,
            seed=seed + int(rows[0]),
            **imposed.options(rows),
        )
        drawn.append(Draws.of(fc))
        count = len(chosen.index[int(rows[0])])
        truth = None
        if log_likelihood:
            truth = torch.as_tensor(np.stack(chosen.picked[rows].values))
        variables, log_densities = predictive(fc, frame, seed + int(rows[0]), truth=truth)
        for name, variable in log_densities.items():
            insert(dense, name, variable, rows, chosen.shape)
        for name, variable in variables.items():
            early, rest = _split(variable, count)
            insert(within, name, early, rows, chosen.shape)
            if ahead is not None:
                longest = ahead.coords["time"].shape[-1]
                late = _renamed(rest, frame, ahead)
                insert(beyond, name, late, rows, (len(chosen.index), longest))
    groups = {"posterior_predictive": frame.dataset(within)}
    if ahead is not None:
        groups["predictions"] = ahead.dataset(beyond)
    if log_likelihood:
        groups["log_likelihood"] = frame.dataset(dense)
    return drawn[0], groups


def _split(variable: Variable, count: int) -> tuple[Variable, Variable]:
    """The first `count` times, and the others."""
    dims, values, attrs = variable
    before = (slice(None),) * (dims.index("trajectory") + 1)
    first, rest = values[(*before, slice(count))], values[(*before, slice(count, None))]
    return (dims, first, attrs), (dims, rest, attrs)


def _renamed(variable: Variable, frame: Frame, other: Frame) -> Variable:
    """The axis of times as another frame names it."""
    dims, values, attrs = variable
    return tuple(other.lead[1] if d == frame.lead[1] else d for d in dims), values, attrs
