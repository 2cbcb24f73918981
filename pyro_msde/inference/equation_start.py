"""An equation as the start of the macroscale drift: identified on the fine grid, or given.

Identification is by the weak form (`pyro_msde.equations.weak_form`) of the training data as they
were observed, for test functions of several sizes: small ones see fine structure, large ones
average more noise away. Each identified equation is tried as a drift on the coarse grid, and the
one that forecasts parts of trajectories best is taken, if it errs by less than a tenth of how far
these move: where the coarse grid or the library does not hold the dynamics, none does.
"""

from __future__ import annotations

import logging
import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from pyro_msde.data import Inputs, Segments, beside
from pyro_msde.grid import Grid
from pyro_msde.inference.equation_identification import (
    Identified,
    identified,
    natural_time,
    supports,
)
from pyro_msde.inference.equation_of_model import equation_of, fitted_equation
from pyro_msde.networks import EquationPath
from pyro_msde.priors import LogVariance, part_of, starting_values
from pyro_msde.protocols import Model
from pyro_msde.sde import STABLER, integrate_exponentially, stable_step

__all__ = ["TOLERANCE", "forecast_error", "start_equation", "start_noise"]

_LOG = logging.getLogger("pyro_msde.inference")

_CHECKED, _CHECKED_PARTS = 8, 10  # trajectories that are forecast, and parts of each
TOLERANCE = 0.1  # of how far parts move, that their forecasts may err by
_STEP, _SHORTEST = 1 / 20, 1 / 2000  # of such a part
_LEAST_NOISE = 1e-7  # C, in scaled units


@torch.no_grad()
def start_equation(model: Model, segments: Segments) -> float:
    """Identify the equation of the model's macroscale drift, if it has room for one.

    Args:
        model: Whose equation was measured. One that is given is tried, and stays what it is.
        segments: Training data in scaled units.

    Returns:
        Error of its forecasts over parts of trajectories, relative to how far these move; infinite
        where no equation of the library forecasts well enough, and none is left in place.
    """
    path = equation_of(model)
    if path is None or not isinstance(model.grid, Grid):
        return math.inf
    if path.given is not None:
        return forecast_error(model, segments, max(2, round(2 * natural_time(segments))))
    best: Identified | None = None
    error = TOLERANCE
    for tests in supports(model.grid, segments):
        candidate = identified(path, model.grid, segments, tests)
        if candidate is None:
            continue
        path.set(candidate.coefficients)
        found = forecast_error(model, segments, 2 * tests.half_time)
        _LOG.debug("%s: %s errs by %.3g", tests, fitted_equation(path).text, found)
        if found < error:  # False for NaN too
            best, error = candidate, found
    if best is None:
        path.set(torch.zeros_like(path.coefficients))
        return math.inf
    path.set(best.coefficients, best.directions, best.inclusion())
    return error


@torch.no_grad()
def start_noise(model: Model, segments: Segments) -> None:
    """Let C of macroscale states be what the equation's errors over short leads grow by.

    Their growth between a quarter of a test function's time and all of it, per unit of time, a
    number for each channel: noise of observations has no part in it.
    """
    part = part_of(model, "diffusion")
    net = None if part is None or part.is_random else part._modules["net"]
    if not isinstance(net, LogVariance):
        return
    lead = max(2, round(2 * natural_time(segments)))
    early, late = (_errors(model, segments, n) for n in (max(1, lead // 4), lead))
    if early is None or late is None or not late.time > early.time:
        return
    growth = (late.square - early.square) / (late.time - early.time)
    points = model.grid.num_coarse
    owner = torch.arange(len(net.log_value)) if net.index is None else net.index.cpu()
    for channel in range(model.grid.channels):
        states = slice(channel * points, (channel + 1) * points)
        size = max(float(growth[states].mean()), _LEAST_NOISE)
        net.log_value[owner[states].unique()] = math.log(size)


def forecast_error(model: Model, segments: Segments, lead: int) -> float:
    """Error of the equation's forecasts over parts of trajectories, relative to their changes.

    Args:
        model: Whose equation was set.
        segments: Data in scaled units.
        lead: Snapshots of a part.
    """
    found = _errors(model, segments, lead)
    if found is None:
        return math.inf
    return math.sqrt(float(found.square.sum() / found.change.sum()))


class _Errors(NamedTuple):
    """Mean squares (num_zeta,) of errors and changes over parts, and how long these last."""

    square: Tensor
    change: Tensor
    time: float


def _right_side(path: EquationPath, z: Tensor, t: Tensor, covariates: Tensor | None) -> Tensor:
    """The equation as a drift."""
    right: Tensor = path(z, None if covariates is None else beside(covariates, z))
    return right


def _errors(model: Model, segments: Segments, lead: int) -> _Errors | None:
    path = equation_of(model)
    if path is None:
        return None
    operators = model.bind(starting_values(model)).operators
    like = next(model.parameters())
    squares, changes, lasted = [], [], []
    some = torch.linspace(0, len(segments.values) - 1, min(_CHECKED, len(segments.values)))
    for k in some.long().unique().tolist():
        times, values = segments.times[k], segments.values[k]
        length = min(lead, len(times) - 1)
        starts = torch.linspace(0, len(times) - 1 - length, _CHECKED_PARTS).long().unique()
        observed = getattr(values, "observed", None)
        if observed is not None:  # what was filled in says nothing
            there = observed.flatten(1).all(1).cpu()
            starts = starts[there[starts] & there[starts + length]]
            if not len(starts):
                continue
        z, later = (
            model.grid.flatten(operators.restrict(values[at].to(like)))
            for at in (starts, starts + length)
        )
        rows = None
        if segments.covariates is not None and path.num_covariates:
            rows = segments.covariates[k].to(like).expand(len(z), -1)
        inputs = Inputs(rows)
        if segments.controls is not None:
            known = segments.controls[k].to(like)[None]
            inputs = Inputs(rows, times[None].to(like.device), known.expand(len(z), -1, -1))
        clock = torch.stack([times[starts], times[starts + length]], -1).to(like.device)
        lasts = clock[:, 1] - clock[:, 0]
        right = inputs.driving(partial(_right_side, path))
        linear = path.linear_part(rows, z)
        stable = stable_step(linear.without(right), z, clock[:, 0])
        longest = float(lasts.max())
        found = integrate_exponentially(
            right,
            linear,
            torch.zeros_like(z[0]),
            z[None],
            clock,
            max_step=max(_SHORTEST * longest, min(_STEP * longest, STABLER * stable)),
        )[0, :, -1]
        squares.append((found - later).double().square())
        changes.append((later - z).double().square())
        lasted.append(lasts)
    if not squares:
        return None
    square = torch.cat(squares).mean(0)
    if not bool(square.isfinite().all()):
        return None
    return _Errors(square, torch.cat(changes).mean(0), float(torch.cat(lasted).mean()))
