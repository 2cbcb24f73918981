"""Which terms of a library an equation has, by backward elimination and cross-validation.

Starting from all terms, the one is left out without which the equations are fitted best, again and
again. Of these nested equations the one with the fewest terms is taken that predicts equations of
other trajectories, or of other times, as well as the best does, but for two hundredths or what
chance explains. Of terms one of which is the sum of two others, as (u v)_x is of u v_x and v u_x,
those are taken that say the same in the fewest.

How sure that is, resampling tells (ensemble SINDy; Fasel et al., Proc. R. Soc. A 478, 2022): groups
of equations, such as trajectories, are drawn with replacement, and terms selected anew.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.equations.weak_form import NormalEquations

__all__ = [
    "MOST_TERMS",
    "Selected",
    "inclusion",
    "least_squares",
    "leave_one_out",
    "misfit",
    "selected",
]

Array = NDArray[Any]

_RIDGE = 1e-13  # of scaled normal equations
_SLACK = 0.02  # of the best error
_NOTHING = 1e-6  # of the left side's square: less is an error of sums over grid points
_SAME = 2.0  # times the best error, by which what says the same may differ
_DIFFERENCES = 1e-3  # of the left side's square likewise, as slopes are differences of the data
_NEGLIGIBLE = 0.05  # of the largest of three terms one of which is the sum of the others
MOST_TERMS = 12  # of a field's equation
_CANDIDATES = 24  # that resampled equations may have
_FOLDS = 5


@dataclass(frozen=True)
class Selected:
    """One field's equation.

    Attributes:
        terms: Numbers of its terms.
        coefficients: Of these.
        error: Share of the left side's square that it misses, in cross-validation.
        last_left_out: All terms that equations may have, those first that were needed longest.
    """

    terms: tuple[int, ...]
    coefficients: Array
    error: float
    last_left_out: tuple[int, ...]


def selected(
    groups: Sequence[NormalEquations],
    field: int,
    candidates: Collection[int] | None = None,
    identities: Sequence[tuple[int, int, int]] = (),
) -> Selected:
    """The equation of a field from equations in groups that are independent of each other.

    Args:
        groups: Two at least; cross-validation leaves out one in five.
        field: Number of the field.
        candidates: Terms that it may have; None: all.
        identities: Numbers of terms, the first of which is the sum of the other two.
    """
    folds = [reduce(add, groups[k::_FOLDS]) for k in range(min(_FOLDS, len(groups)))]
    total = reduce(add, folds)
    others = [total - fold for fold in folds]
    usable = np.flatnonzero(np.diag(total.matrix) > 0)
    active = [int(k) for k in usable if candidates is None or k in candidates]
    errors: Any
    steps: list[tuple[list[int], Array]] = []
    left: list[int] = []
    while active:
        errors = [
            misfit(fold, field, active, least_squares(rest, field, active))
            for fold, rest in zip(folds, others, strict=True)
        ]
        steps.append((list(active), np.array(errors)))
        left.append(_least_needed(total, field, active))
        active.remove(left[-1])
    nothing = np.array([float(fold.square[field]) for fold in folds])
    steps.append(([], nothing))
    steps = [s for s in steps if len(s[0]) <= MOST_TERMS]
    best = min(steps, key=lambda s: float(s[1].sum()))[1]
    square = float(total.square[field])
    slack = max(_SLACK * float(best.sum()), _NOTHING * square)

    def as_good(errors: Array) -> bool:
        worse = errors - best
        chance = float(worse.std(ddof=1)) * len(worse) ** 0.5
        return bool(worse.sum() <= max(slack, chance))

    terms, errors = min((s for s in steps if as_good(s[1])), key=lambda s: len(s[0]))
    values = least_squares(total, field, terms) if terms else np.zeros(0)
    shorter = _simplified(terms, values, identities)
    if shorter != terms:
        trial = np.array(
            [
                misfit(fold, field, shorter, least_squares(rest, field, shorter))
                for fold, rest in zip(folds, others, strict=True)
            ]
        )
        if trial.sum() <= max(_SAME * float(best.sum()), _DIFFERENCES * square):
            terms, errors = shorter, trial
    share = float(errors.sum()) / square if square else 1.0
    values = least_squares(total, field, terms) if terms else np.zeros(0)
    return Selected(tuple(terms), values, share, tuple(reversed(left)))


def _simplified(
    terms: list[int], values: Array, identities: Sequence[tuple[int, int, int]]
) -> list[int]:
    """The same with fewer terms, but for parts that are small against others of an identity."""
    found = dict(zip(terms, values.tolist(), strict=True))
    for whole, *halves in identities:
        three = (whole, *halves)
        a, b, c = (found.get(k, 0.0) for k in three)
        ways = [(a, b, c), (0.0, b + a, c + a), (a + b, 0.0, c - b), (a + c, b - c, 0.0)]
        least = _NEGLIGIBLE * max(abs(x) for x in (a, b, c))

        def count(way: tuple[float, ...], least: float = least) -> int:
            return sum(abs(x) > least for x in way)

        best = min(ways, key=count)
        if count(best) < sum(k in found for k in three):
            for k, x in zip(three, best, strict=True):
                found.pop(k, None)
                if abs(x) > least:
                    found[k] = x
    return sorted(found)


def leave_one_out(groups: Sequence[NormalEquations], field: int, terms: Sequence[int]) -> Array:
    """By how much leaving out each group moves coefficients: (group, term).

    Sums of squares over groups are the jackknife's variances (Efron & Stein 1981).
    """
    if not terms:
        return np.zeros((len(groups), 0))
    total = reduce(add, groups)
    each = np.stack([least_squares(total - group, field, terms) for group in groups])
    n = len(groups)
    return np.asarray((each - each.mean(0)) * ((n - 1) / n) ** 0.5)


def inclusion(
    groups: Sequence[NormalEquations],
    field: int,
    chosen: Selected,
    *,
    draws: int,
    identities: Sequence[tuple[int, int, int]] = (),
    seed: int = 0,
) -> Array:
    """(term,) share of resamples of the groups whose equation has a term.

    Args:
        groups: Two at least.
        field: Number of the field.
        chosen: From all of them; resampled equations have terms that were among the last there.
        draws: Resamples.
        identities: As for `selected`.
        seed: Of these.
    """
    rng = np.random.default_rng(seed)
    found = np.zeros(len(groups[0].right))
    candidates = {*chosen.last_left_out[:_CANDIDATES], *chosen.terms}
    for _ in range(draws):
        counts = rng.multinomial(len(groups), np.full(len(groups), 1 / len(groups)))
        drawn = [group * int(n) for group, n in zip(groups, counts, strict=True)]
        terms = selected(drawn, field, candidates, identities).terms
        found[list(terms)] += 1
    return found / draws


def least_squares(equations: NormalEquations, field: int, active: Sequence[int]) -> Array:
    """Coefficients of some terms, (term,)."""
    matrix = equations.matrix[np.ix_(active, active)]
    size = np.sqrt(np.maximum(np.diag(matrix), np.finfo(float).tiny))
    scaled = matrix / size / size[:, None] + _RIDGE * np.eye(len(active))
    return np.asarray(np.linalg.solve(scaled, equations.right[active, field] / size) / size)


def misfit(
    equations: NormalEquations, field: int, active: Sequence[int], coefficients: Array
) -> float:
    """Squared error of some terms' coefficients."""
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
