"""Under-resolved direct numerical simulation: the data's own scheme, on the coarse grid.

The observed first snapshot is brought to the coarse grid, the scheme runs there, and its solution
is interpolated to the fine grid. Of the ways to do so (`Choice`) the best on validation is used.
A solution that blows up has an infinite error, and a sentence that says so.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.coarse_grids import apply, interpolation, sampling
from benchmarks.errors import trajectory_error
from pyro_msde import Trajectories
from pyro_msde.datasets import burgers1d, burgers2d, burgers_equation, kdv_equation, ks

__all__ = ["SOLVERS", "Choice", "choose", "forecast", "score"]

Array = NDArray[Any]


class Choice(NamedTuple):
    """How to run, with the names of `benchmarks.coarse_grids`.

    Attributes:
        start: "point" or "lowpass": from the fine to the coarse grid.
        end: "linear" or "spectral": back.
        accuracy: The solver's, in time: steps for each stored one, or a tolerance.
    """

    start: str
    end: str
    accuracy: float


class Solver(NamedTuple):
    """A case's scheme, (u₀, own parameters, steps, dt, accuracy) to (step + 1, *space)."""

    run: Callable[[Array, Any, int, float, float], Array]
    accuracies: tuple[float, ...]
    periodic: bool


def _kdv(u: Array, own: Any, num_steps: int, dt: float, substeps: float) -> Array:
    return kdv_equation.solve(u, num_steps=num_steps, dt=dt, substeps=int(substeps))


def _burgers1d(u: Array, own: Any, num_steps: int, dt: float, substeps: float) -> Array:
    nu = burgers1d.NU if own is None else float(own[0])
    return burgers_equation.solve_periodic(
        u, nu, num_steps=num_steps, dt=dt, substeps=int(substeps)
    )


def _burgers2d(u: Array, own: Any, num_steps: int, dt: float, tolerance: float) -> Array:
    return burgers_equation.solve_square(
        u, burgers2d.NU, num_steps=num_steps, dt=dt, tolerance=tolerance
    )


def _ks(u: Array, own: Any, num_steps: int, dt: float, substeps: float) -> Array:
    return ks.solve(u, num_steps=num_steps, dt=dt, substeps=int(substeps))


SOLVERS = {
    "kdv": Solver(_kdv, (1, 2, 4), periodic=True),
    "burgers1d": Solver(_burgers1d, (1, 2, 4), periodic=True),
    "burgers2d": Solver(_burgers2d, (1e-3, 1e-6, 1e-9), periodic=False),
    "ks": Solver(_ks, (1, 2, 5, 10), periodic=True),
}


def forecast(
    solver: Solver, y: Array, own: Any, times: Array, coarse: tuple[int, ...], choice: Choice
) -> Array:
    """Solution on the fine grid at evenly spaced times.

    Args:
        solver: One of `SOLVERS`.
        y: (*space) observed first snapshot.
        own: (p,) the trajectory's covariates, or None.
        times: (time,).
        coarse: Coarse points per axis.
        choice: How to run.

    Returns:
        (time, *space).

    Raises:
        FloatingPointError: If the solution blows up.
    """
    axes = list(zip(y.shape, coarse, strict=True))
    down = [sampling(*axis, solver.periodic, choice.start) for axis in axes]
    up = [interpolation(*axis, solver.periodic, choice.end) for axis in axes]
    num_steps, dt = len(times) - 1, float(times[-1] - times[0]) / (len(times) - 1)
    with np.errstate(over="ignore", invalid="ignore"):
        solution = solver.run(apply(down, y), own, num_steps, dt, choice.accuracy)
    return apply(up, solution)


def score(
    solver: Solver, data: Trajectories, coarse: tuple[int, ...], choice: Choice
) -> tuple[Array, str]:
    """Errors (trajectory,), infinite where the solution blows up, and "ok" or what happened."""
    errors, failures = np.full(len(data), np.inf), []
    for k, (times, y) in enumerate(zip(data.times, data.values, strict=True)):
        own = None if data.covariates is None else data.covariates[k]
        try:
            errors[k] = trajectory_error(forecast(solver, y[0], own, times, coarse, choice), y)
        except FloatingPointError as error:
            failures.append(str(error))
    if not failures:
        return errors, "ok"
    return errors, f"{len(failures)} of {len(data)} blow up: {failures[0]}"


def choose(
    solver: Solver, validation: Trajectories, coarse: tuple[int, ...]
) -> tuple[Choice, float]:
    """The choice with the smallest mean error on validation trajectories, and that error."""
    options = [
        Choice(*parts)
        for parts in product(("point", "lowpass"), ("linear", "spectral"), solver.accuracies)
    ]
    means = [float(score(solver, validation, coarse, option)[0].mean()) for option in options]
    best = int(np.argmin(means))
    return options[best], means[best]
