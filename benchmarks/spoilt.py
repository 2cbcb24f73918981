"""Forecasts that go wrong on purpose: initial fields unlike the training data, spoilt drifts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from pyro_msde import Fit, Trajectories
from pyro_msde.data import evenly_spaced
from pyro_msde.datasets.problem import Problem
from pyro_msde.networks import drift_of
from pyro_msde.protocols import Model
from pyro_msde.sde import Dynamics

__all__ = ["CHANGES", "NOISES", "fresh_from", "spoilt_drifts"]

Array = NDArray[Any]

FACTORS = (1.1, 1.5, 0.5, -1.0)  # of a drift
ERRORS = (0.1, 0.3)  # relative, of its weights
NOISES = (0.1, 0.3, 1.0)  # root mean squares of the training data


def _rms(u: Array) -> float:
    return float(np.sqrt(np.mean(np.square(u))))


def _wave(u: Array, number: int) -> Array:
    """A wave along the first axis of space with the root mean square of a field."""
    x = np.arange(len(u)) / len(u)
    wave = np.sqrt(2) * np.sin(2 * np.pi * number * x)
    return _rms(u) * np.broadcast_to(wave.reshape(-1, *[1] * (u.ndim - 1)), u.shape)


CHANGES: Mapping[str, Callable[[Array], Array]] = {
    "amplitude x 1.5": lambda u: 1.5 * u,
    "amplitude x 2": lambda u: 2.0 * u,
    "amplitude x 3": lambda u: 3.0 * u,
    "other sign": lambda u: -u,
    "waves of a quarter": lambda u: np.concatenate([u[::4]] * 4),
    "three waves": lambda u: _wave(u, 3),
    "eight waves": lambda u: _wave(u, 8),
    "eight waves on top": lambda u: u + 0.5 * _wave(u, 8),
}


def fresh_from(
    problem: Problem,
    split: str,
    horizon: float,
    count: int,
    *,
    num_times: int,
    change: Callable[[Array], Array] | None = None,
    noise: float | None = None,
    seed: int = 31_000,
) -> Trajectories | None:
    """Trajectories of no split, from initial fields that are changed; None: they are not finite.

    Args:
        problem: Their equation.
        split: The law of what is changed.
        horizon: How long they last.
        count: How many.
        num_times: Snapshots of each.
        change: Of initial fields; None: nothing.
        noise: Standard deviation of the first snapshot's noise; None: as of all others.
        seed: Of them; another seed gives independent ones.
    """
    steps = round(horizon / problem.dt)
    at = evenly_spaced(steps + 1, num_times)
    rows, columns = [], []
    for k in range(count):
        rng = np.random.default_rng([seed, k])
        u, covariates = problem.draw[split](rng)
        u = np.asarray(u) if change is None else change(np.asarray(u))
        with np.errstate(over="ignore", invalid="ignore"):
            solution = problem.solve(u, covariates, steps, problem.dt)
        sd = np.full(steps + 1, problem.noise_sd)
        sd[0] = problem.noise_sd if noise is None else noise
        sd = sd[at].reshape(-1, *[1] * (solution.ndim - 1))
        rows.append(solution[at] + sd * rng.standard_normal(solution[at].shape))
        columns.append(covariates)
    if not np.isfinite(rows).all():
        return None
    own = np.array(columns) if columns[0] else None
    return Trajectories(at * problem.dt, np.array(rows, dtype=np.float32), covariates=own)


@dataclass(frozen=True)
class _Factor:
    """An adjustment: a multiple of the drift."""

    name: ClassVar[str] = "factor"
    is_random: ClassVar[bool] = False

    factor: float

    def apply(self, dynamics: Dynamics) -> Dynamics:
        """Multiply it."""
        drift = dynamics.drift

        def multiple(z: Any, t: Any, **fixed: Any) -> Any:
            return self.factor * drift(z, t, **fixed)

        return replace(dynamics, drift=multiple)

    def to_dict(self) -> Mapping[str, Any]:
        """Its number."""
        return {"factor": self.factor}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], model: Model) -> _Factor:
        """What `to_dict` gave."""
        return cls(**saved)


def spoilt_drifts(fit: Fit) -> Iterator[tuple[str, Fit]]:
    """Copies of a fit whose drifts are other ones, by what was done to them."""
    for factor in FACTORS:
        yield f"drift x {factor:g}", fit.adjusted(_Factor(factor))
    for error in ERRORS:
        other, generator = copy.deepcopy(fit), torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weight in other.model.drift.parameters():
                draw = torch.randn(weight.shape, generator=generator)
                weight.mul_(1 + error * draw.to(weight))
        yield f"weights within {error:.0%}", other
    for name in drift_of(fit.model).networks:
        other = copy.deepcopy(fit)
        linear = getattr(drift_of(other.model).networks[name], "linear", None)
        if linear is not None:
            with torch.no_grad():
                linear.weight.neg_()
            yield f"sign of the linear term, {name}", other
