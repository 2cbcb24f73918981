"""Linear inverse model: a first-order autoregression of principal components.

    a(t + step) = A a(t) + noise,     A = ⟨a(t + step) a(t)ᵀ⟩ (⟨a(t) a(t)ᵀ⟩ + ridge)⁻¹

(Penland & Sardeshmukh 1995, doi:10.1175/1520-0442(1995)008<1999:TOGOTS>2.0.CO;2). A forecast is
A^(lead/step) a: whole powers are products, for what is left over the real part of the principal
power is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.baselines.anomalies import (
    HARMONICS,
    Period,
    check_cycle,
    cycle_in,
    fitted,
    records_for,
)
from pyro_msde.baselines.gaussian import FittedBaseline
from pyro_msde.baselines.mean_cycle import MeanCycle
from pyro_msde.baselines.principal_states import PrincipalStates
from pyro_msde.baselines.records import Records

__all__ = ["LinearInverseModel", "powers"]

Array = NDArray[Any]

COMPONENTS = (1, 2, 3, 5, 8, 12, 20, 30, 40)
RIDGES = (0.0, 1e-3, 1e-2, 1e-1, 1.0)  # of the mean square of a component
_WHOLE = 1e-6  # as near to a whole number as rounding puts a lead
_MOST_STEPS = 2.0**40  # when nothing changes any more


@dataclass(frozen=True)
class LinearInverseModel:
    """Linear dynamics of principal components of anomalies from the mean or the mean cycle.

    The number of components and the ridge are those that err least on validation data, at all lead
    times that these hold. What grows is scaled to stay: A has no eigenvalue beyond 1.

    Args:
        period: Of the cycle, as of `pyro_msde.Cycle`; None: no cycle.
        harmonics: Of the cycle.
    """

    period: Period = None
    harmonics: int = HARMONICS

    name = "linear inverse model"

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_cycle(self.period, self.harmonics)

    def fit(self, train: Any, validation: Any = None, *, weights: Any = None) -> FittedBaseline:
        """Learn A; arguments and errors as of `Persistence.fit`.

        Without validation data, components and ridge are chosen on the last quarter of the training
        data, and A is learned again from all.
        """
        records, held = records_for(train, validation, weights)
        part, judge = records.held_out() if held is None else (records, held)
        period = cycle_in(train, self.period)
        moments = _Moments.of(part, period, self.harmonics)
        rank, ridge = _best(moments, judge)
        if held is None:
            moments = _Moments.of(records, period, self.harmonics)
            rank = min(rank, len(moments.square))
        law = moments.law(rank, ridge)
        choice = f"{rank} components, ridge {ridge:g}"
        return fitted(self.name, law, records, held, choice)


@dataclass(frozen=True, eq=False)
class _Linear:
    """A law of principal states.

    Attributes:
        states: The first few are those of A.
        A: (component, component).
        step: Time in which it takes effect.
    """

    states: PrincipalStates
    A: Array
    step: float

    def mean(self, start: Array, t0: Array, leads: Array) -> Array:
        """See `Law`."""
        rank = len(self.A)
        states = self.states.encoded(start, t0)[:, :rank]
        paths = powers(self.A, states, leads / self.step)
        paths = np.pad(paths, ((0, 0), (0, 0), (0, len(self.states.modes) - rank)))
        return self.states.cycle.over(t0, leads) + self.states.decoded(paths)


@dataclass(frozen=True, eq=False)
class _Moments:
    """What regressions take of training data.

    Attributes:
        states: As many components as are tried.
        square: (component, component) ⟨a aᵀ⟩ over snapshots that have a next one.
        lagged: ⟨a(t + step) a(t)ᵀ⟩.
        step: The mean time to the next one.
    """

    states: PrincipalStates
    square: Array
    lagged: Array
    step: float

    @classmethod
    def of(cls, records: Records, period: float | None, harmonics: int) -> _Moments:
        """Of the records' anomalies."""
        cycle = MeanCycle.of(records, period, harmonics)
        states = PrincipalStates.of(records, cycle, COMPONENTS[-1])
        rank = len(states.modes)
        square, lagged = np.zeros((rank, rank)), np.zeros((rank, rank))
        lag, count = 0.0, 0
        for times, rows, later_times, later_rows in records.pairs():
            now, later = states.encoded(rows, times), states.encoded(later_rows, later_times)
            square, lagged = square + now.T @ now, lagged + later.T @ now
            lag, count = lag + float((later_times - times).sum()), count + len(times)
        step = lag / count if count else records.step
        return cls(states, square / max(1, count), lagged / max(1, count), step)

    def law(self, rank: int, ridge: float) -> _Linear:
        """Of the first few components."""
        square, lagged = self.square[:rank, :rank], self.lagged[:rank, :rank]
        added = ridge * np.trace(square) / rank * np.eye(rank)
        A = np.linalg.lstsq(square + added, lagged.T, rcond=1e-12)[0].T
        growth = float(np.abs(np.linalg.eigvals(A)).max())
        return _Linear(self.states, A / max(1.0, growth), self.step)


def _best(moments: _Moments, judge: Records) -> tuple[int, float]:
    """Components and ridge that err least, leads weighing alike.

    Errors are measured among the components: what is beyond them is the same for all.
    """
    states = moments.states
    windows = []
    for window in judge.windows():
        later = window.steps > 0
        if not later.any():
            continue
        times = window.t0 + window.leads[later]
        start = states.encoded(window.start[None], np.array([window.t0]))
        truth = states.encoded(window.targets[later], times)
        windows.append((start, window.leads[later], window.steps[later], truth))
    all_ranks = [r for r in COMPONENTS if r < len(moments.square)] + [len(moments.square)]
    options = [(rank, ridge) for rank in all_ranks for ridge in RIDGES]
    if not windows:
        return options[-1]
    return min(options, key=lambda option: _error(moments.law(*option), windows))


def _error(law: _Linear, windows: Any) -> float:
    rank = len(law.A)
    sums: dict[int, Array] = {}
    for start, leads, steps, truth in windows:
        path = powers(law.A, start[:, :rank], leads / law.step)[0]
        squares = np.square(truth[:, :rank] - path).sum(1) + np.square(truth[:, rank:]).sum(1)
        for m, square in zip(steps, squares, strict=True):
            sums[int(m)] = sums.get(int(m), np.zeros(2)) + np.array([square, 1.0])
    return float(np.mean([total / count for total, count in sums.values()]))


def powers(A: Array, states: Array, exponents: Array) -> Array:
    """A^s x for each x of states (batch, component) and s of exponents: (batch, exponent, …)."""
    exponents = np.minimum(exponents, _MOST_STEPS)
    whole = np.floor(exponents + _WHOLE).astype(np.int64)
    part = np.where(np.abs(exponents - whole) < _WHOLE, 0.0, exponents - whole)
    values, vectors = np.linalg.eig(A) if part.any() else (np.zeros(0), np.zeros((0, 0)))
    out = np.empty((len(states), len(exponents), len(A)))
    reached, before = states, 0
    for i in np.argsort(whole, kind="stable"):
        reached = reached @ np.linalg.matrix_power(A, int(whole[i]) - before).T
        before, now = int(whole[i]), reached
        if part[i]:
            power = (vectors * values.astype(complex) ** part[i]) @ np.linalg.inv(vectors)
            now = reached @ power.real.T
        out[:, i] = now
    return out
