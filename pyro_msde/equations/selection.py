"""Which terms of a library an equation has, by backward elimination and cross-validation.

Starting from all terms, the one is left out without which the equations are fitted best, again and
again. Of these nested equations the one with the fewest terms is taken that predicts equations of
other trajectories, or of other times, as well as the best does, but for a hundredth or what chance
explains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.equations.weak_form import NormalEquations

__all__ = ["Selected", "selected"]

Array = NDArray[Any]

_RIDGE = 1e-13  # of scaled normal equations
_SLACK = 0.02  # of the best error
_NOTHING = 1e-6  # of the left side's square: less is an error of sums over grid points


@dataclass(frozen=True)
class Selected:
    """One field's equation.

    Attributes:
        terms: Numbers of its terms.
        coefficients: Of these.
        error: Share of the left side's square that it misses, in cross-validation.
        covariance: (term, term) of the coefficients, by how far folds differ.
    """

    terms: tuple[int, ...]
    coefficients: Array
    error: float
    covariance: Array


def selected(folds: Sequence[NormalEquations], field: int, most: int = 12) -> Selected:
    """The equation of a field from equations in groups that are independent of each other.

    Args:
        folds: Two at least.
        field: Number of the field.
        most: Terms at most.
    """
    total = reduce(add, folds)
    others = [total - fold for fold in folds]
    usable = np.diag(total.matrix) > 0
    active = [int(k) for k in np.flatnonzero(usable)]
    errors: Any
    steps: list[tuple[list[int], Array]] = []
    while active:
        errors = [
            _misfit(fold, field, active, _solved(rest, field, active))
            for fold, rest in zip(folds, others, strict=True)
        ]
        steps.append((list(active), np.array(errors)))
        active.remove(_least_needed(total, field, active))
    nothing = np.array([float(fold.square[field]) for fold in folds])
    steps.append(([], nothing))
    steps = [s for s in steps if len(s[0]) <= most]
    best = min(steps, key=lambda s: float(s[1].sum()))[1]
    square = float(total.square[field])
    slack = max(_SLACK * float(best.sum()), _NOTHING * square)

    def as_good(errors: Array) -> bool:
        worse = errors - best
        chance = float(worse.std(ddof=1)) * len(worse) ** 0.5
        return bool(worse.sum() <= max(slack, chance))

    terms, errors = min((s for s in steps if as_good(s[1])), key=lambda s: len(s[0]))
    share = float(errors.sum()) / square if square else 1.0
    if not terms:
        return Selected((), np.zeros(0), share, np.zeros((0, 0)))
    each = np.stack([_solved(rest, field, terms) for rest in others])
    spread = each - each.mean(0)
    jackknife = (len(each) - 1) / len(each) * spread.T @ spread
    return Selected(tuple(terms), _solved(total, field, terms), share, jackknife)


def _solved(equations: NormalEquations, field: int, active: Sequence[int]) -> Array:
    matrix = equations.matrix[np.ix_(active, active)]
    size = np.sqrt(np.maximum(np.diag(matrix), np.finfo(float).tiny))
    scaled = matrix / size / size[:, None] + _RIDGE * np.eye(len(active))
    return np.asarray(np.linalg.solve(scaled, equations.right[active, field] / size) / size)


def _misfit(
    equations: NormalEquations, field: int, active: Sequence[int], coefficients: Array
) -> float:
    """Squared error of these coefficients."""
    right = equations.right[active, field]
    matrix = equations.matrix[np.ix_(active, active)]
    return float(equations.square[field] + coefficients @ (matrix @ coefficients - 2 * right))


def _least_needed(equations: NormalEquations, field: int, active: Sequence[int]) -> int:
    """The term without which the rest fits best: it has the least c²/(M⁻¹)_kk."""
    matrix = equations.matrix[np.ix_(active, active)]
    size = np.sqrt(np.maximum(np.diag(matrix), np.finfo(float).tiny))
    inverse = np.linalg.inv(matrix / size / size[:, None] + _RIDGE * np.eye(len(active)))
    coefficients = inverse @ (equations.right[active, field] / size)
    costs = np.square(coefficients) / np.maximum(np.diag(inverse), np.finfo(float).tiny)
    return int(active[int(np.argmin(costs))])
