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
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial, reduce
from operator import add
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyro_msde.data import Scaling, Segments
from pyro_msde.equations import (
    FittedEquation,
    Names,
    NormalEquations,
    TestFunctions,
    selected,
    weak_form,
    written,
)
from pyro_msde.grid import Grid
from pyro_msde.networks import EquationPath, drift_of
from pyro_msde.priors import LogVariance, part_of, starting_values
from pyro_msde.protocols import Model
from pyro_msde.sde import STABLER, integrate_exponentially, stable_step

__all__ = [
    "TOLERANCE",
    "equation_of",
    "fitted_equation",
    "forecast_error",
    "is_equation_alone",
    "measure_equation",
    "start_equation",
    "start_noise",
]

_LOG = logging.getLogger("pyro_msde.inference")

_PARTS = (6, 12)  # of an axis, that half a test function takes
_FEWEST_POINTS = 5  # of half a test function
_TIMES = (1.0, 4.0)  # in which a state changes by its own size, likewise
_FEWEST_SNAPSHOTS = 6
_FOLDS = 5
_MOST_TRAJECTORIES, _MOST_VALUES = 40, 2**27  # that an equation is identified from
_CHECKED, _CHECKED_PARTS = 8, 10  # trajectories that are forecast, and parts of each
TOLERANCE = 0.1  # of how far parts move, that their forecasts may err by
_STEP, _SHORTEST = 1 / 20, 1 / 2000  # of such a part
_LEAST_NOISE = 1e-7  # C, in scaled units


def equation_of(model: Model) -> EquationPath | None:
    """The equation in a model's drift; None: there is none."""
    return getattr(drift_of(model), "equation", None)


def is_equation_alone(model: Model) -> bool:
    """Whether the drift is an equation without anything that was learned beside it."""
    part = part_of(model, "drift")
    if part is not None and part.is_random:
        return False
    return bool(getattr(drift_of(model), "resting", False)) and not model.n_eta


@torch.no_grad()
def measure_equation(model: Model, scaling: Scaling) -> str | None:
    """Tell the model's equation, if it has one, of units, reference and smoothing kernel.

    Returns:
        Why it can not be used; None: it can, or there is none.
    """
    path = equation_of(model)
    if path is None:
        return None
    if scaling.link is not None:
        return "fields are seen through a link"
    if scaling.reference.period is not None:
        return "the reference depends on time"
    kernel = part_of(model, "kernel")
    if kernel is None or kernel.is_random:
        return "the smoothing kernel has a prior"
    path.measure_in(scaling.channels, scaling.time, scaling.covariates)
    reference, fine = None, 0.0
    if scaling.reference.coefficients is not None:
        like = next(model.parameters())
        size = np.reshape(scaling.channels, (-1, *(1,) * model.grid.ndim))
        fine = scaling.reference.coefficients[0] / size
        whole = np.broadcast_to(fine, (model.grid.channels, *model.grid.data_shape))
        padded = np.pad(whole, [(0, 0), *model.grid.padding], mode="edge")
        operators = model.bind(starting_values(model)).operators
        reference = operators.restrict(torch.as_tensor(padded).to(like))
    path.see_through(kernel.read(starting_values(model))(), reference, fine)
    return None


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
        return forecast_error(model, segments, max(2, round(2 * _natural_time(segments))))
    best, error = None, TOLERANCE
    for tests in _supports(model.grid, segments):
        identified = _identified(path, model.grid, segments, tests)
        if identified is None:
            continue
        path.set(*identified)
        found = forecast_error(model, segments, 2 * tests.half_time)
        _LOG.debug("%s: %s errs by %.3g", tests, fitted_equation(path).text, found)
        if found < error:  # False for NaN too
            best, error = identified, found
    if best is None:
        path.set(torch.zeros_like(path.coefficients))
        return math.inf
    path.set(*best)
    return error


def fitted_equation(path: EquationPath, covariates: Sequence[str] | None = None) -> FittedEquation:
    """An equation in the user's units.

    Args:
        path: Of a model that is fitted.
        covariates: Their names; None: c1, c2, ….
    """
    names = Names.usual(path.grid.channels, len(path.waves), path.num_covariates)
    if covariates is not None and len(covariates) == path.num_covariates:
        names = replace(names, covariates=tuple(covariates))
    factors = path.factors()
    values, sd = (x.double().cpu() / factors for x in (path.coefficients, path.sd))

    def by_term(rows: Tensor) -> dict[str, dict[str, float]]:
        return {
            field: {
                written(term, names): float(row[k])
                for k, term in enumerate(path.terms)
                if values[channel, k]
            }
            for channel, (field, row) in enumerate(zip(names.fields, rows, strict=True))
        }

    return FittedEquation(by_term(values), by_term(sd))


def _supports(grid: Grid, segments: Segments) -> Iterator[TestFunctions]:
    """Test functions to try, of no two alike."""
    shortest = min(len(t) for t in segments.times)
    natural = _natural_time(segments)
    seen = set()
    for part in _PARTS:
        widths = tuple(max(_FEWEST_POINTS, n // part) for n in grid.data_shape)
        if any(2 * w >= n for w, n in zip(widths, grid.data_shape, strict=True)):
            continue
        for times in _TIMES:
            half = round(times * natural)
            half = min(max(half, _FEWEST_SNAPSHOTS), (shortest - 1) // 4)
            if half >= 2 and (widths, half) not in seen:
                seen.add((widths, half))
                yield TestFunctions(widths, half)


def _natural_time(segments: Segments) -> float:
    """Snapshots in which fields change by half of their size, on average."""
    y = segments.values[0]
    at = torch.linspace(0, len(y) - 1, min(len(y), 33)).long().unique()
    size = float(y[at].double().square().mean())
    lag = 1
    while lag < len(y) // 2:
        first = at[at + lag < len(y)]
        change = float((y[first + lag].double() - y[first].double()).square().mean())
        if change > 0.25 * size:
            break
        lag *= 2
    return float(lag)


def _identified(
    path: EquationPath, grid: Grid, segments: Segments, tests: TestFunctions
) -> tuple[Tensor, Tensor] | None:
    """Coefficients (channel, term) in scaled units and their standard errors.

    None: there is too little data.
    """
    inner = tuple(
        slice(before, before + n)
        for (before, _), n in zip(grid.padding, grid.data_shape, strict=True)
    )
    spacing = [
        along.length / (n if along.kind == "ring" else n - 1 + 2 * along.wall) / along.length
        for along, n in zip(path.waves, grid.shape, strict=True)
    ]
    count = len(segments.values)
    most = min(count, _MOST_TRAJECTORIES)
    size = max(len(t) for t in segments.times) * grid.channels * grid.num_points
    most = min(most, max(_FOLDS, _MOST_VALUES // size))
    some = np.unique(np.linspace(0, count - 1, most).astype(int))
    folds: list[NormalEquations] = [NormalEquations() for _ in range(_FOLDS)]
    for place, k in enumerate(some.tolist()):
        fields = _Whole(segments.values[k], path, inner)
        covariates = () if segments.covariates is None else segments.covariates[k].tolist()
        blocks = list(
            weak_form(
                fields,
                segments.times[k].cpu().numpy(),
                spacing,
                grid.periodic,
                path.terms,
                tests,
                covariates=covariates,
                observed=fields.observed,
            )
        )
        for n, block in enumerate(blocks):
            fold = place if len(some) >= _FOLDS else n * _FOLDS // len(blocks)
            folds[fold % _FOLDS] += block
    folds = [fold for fold in folds if fold.count]
    if len(folds) < 2 or reduce(add, folds).count < 4 * len(path.terms):
        return None
    found, sd = torch.zeros(2, grid.channels, len(path.terms), dtype=torch.float64)
    for channel in range(grid.channels):
        equation = selected(folds, channel)
        found[channel, list(equation.terms)] = torch.as_tensor(equation.coefficients)
        sd[channel, list(equation.terms)] = torch.as_tensor(equation.covariance).diag().sqrt()
    return (found, sd) if bool(found.isfinite().all()) else None


class _Whole:
    """Fields of a trajectory with their reference, in units of their scales; sliced along time."""

    def __init__(self, values: Any, path: EquationPath, inner: tuple[slice, ...]) -> None:
        self.values, self.inner = values, (slice(None), slice(None), *inner)
        observed = getattr(values, "observed", None)
        self.observed = None if observed is None else observed[self.inner].cpu().numpy()
        self.reference = path.fine_reference

    def __getitem__(self, span: slice) -> np.ndarray:
        fields = self.values[span].double().cpu().numpy()[self.inner]
        return np.asarray(fields + self.reference)


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
    lead = max(2, round(2 * _natural_time(segments)))
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


def _right_side(path: EquationPath, covariates: Tensor | None, z: Tensor, t: Tensor) -> Tensor:
    """The equation as a drift."""
    right: Tensor = path(z, covariates)
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
        z, later = (
            model.grid.flatten(operators.restrict(values[at].to(like)))
            for at in (starts, starts + length)
        )
        rows = None
        if segments.covariates is not None and path.num_covariates:
            rows = segments.covariates[k].to(like).expand(len(z), -1)
        beside = None if rows is None else rows[:, None]
        clock = torch.stack([times[starts], times[starts + length]], -1).to(like.device)
        lasts = clock[:, 1] - clock[:, 0]
        right, linear = partial(_right_side, path, beside), path.linear_part(rows, z)
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
    square = torch.cat(squares).mean(0)
    if not bool(square.isfinite().all()):
        return None
    return _Errors(square, torch.cat(changes).mean(0), float(torch.cat(lasted).mean()))
