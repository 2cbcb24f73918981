"""Linear inverse models of paths that are noisy or seldom observed.

Of such paths no time derivative can be taken, and the regression in weak form finds nothing. What
climatologists use (Penland & Sardeshmukh 1995) needs only pairs of snapshots a lag τ apart: in the
leading modes V of anomalies ζ − m, with a = V (ζ − m),

    G = ⟨a(t + τ) a(t)ᵀ⟩ (⟨a aᵀ⟩ + ridge)⁻¹,    A = log(G)/τ,    C = −(A Σ + Σ Aᵀ),

the last by the balance of fluctuation and dissipation, times the ratio of each state's mean square
error at the lag to what that balance expects: one in a stationary record. Quarters of the record,
each forecast from the others, tell how much larger errors are on data that were not learned from,
and C with them. Sampling makes eigenvalues of G that no stable real generator has. Their sizes are
brought into [e⁻³, e^−τ], τ in training horizons, so that a mode forgets within a third of a lag at
the soonest and within the whole record at the latest; negative real ones, which no real logarithm
has, become e⁻³.

Under controls u, da = (A a + B u) dt + L dβ. The regression of a(t + τ) is then on a(t) and on the
mean ū of the controls in between, G a + H ū, and

    B = (∫₀^τ e^{As} ds)⁻¹ H,    C = −(A Σ + Σ Aᵀ + B ⟨u aᵀ⟩ + ⟨a uᵀ⟩ Bᵀ).

What the modes lack, or all of it where there are none, decays at one rate or at that of each state,
within the same bounds: damped persistence, of which climatology is the one end and persistence the
other. How many modes, whether rates differ, how far apart pairs are, and the ridge are those that
forecast best the quarters of the training data, each learned from the others; where there are
validation data, these and the quarters on average, of all that forecast these nearly best.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

__all__ = ["LinearInverse", "Record", "is_smooth", "linear_inverse_model", "stable_generator"]

Array = NDArray[Any]
Record = tuple[Array, Array, Array]  # times (time,), states (time, n), controls (time, c)
Fold = tuple[list[Record], list[Record]]

_RANKS = (0, 1, 2, 3, 5, 8, 12, 20)
_RIDGE = 1e-8  # of the controls' mean square, which may depend on each other
_RIDGES = (0.0, 1e-2, 1e-1, 1.0)  # of the mean square of a mode
_LAGS = (1, 2, 4, 8, 16)  # in snapshots
_FORGOTTEN = math.exp(-3.0)
_SMOOTH = 3.0  # ratio of mean squared changes over two nodes and over one: 4 if smooth, 2 if noisy
_FEWEST, _FEWEST_ALONE = 20, 5  # pairs of snapshots, with modes and without
_LEADS = (1, 2, 3, 4, 8, 16)  # in snapshots
_PARTS = 4
_UNLIKE = 0.1  # of the usual time between two snapshots, by which others may differ
_NEARLY = 1.2  # times the least mean square error
_MOST_PAIRS = 2000  # by which a start is chosen
_LEAST_SIZE = 1e-4  # of a mode, of the strongest one's
_MOST_RATIO = 10.0  # of errors to those expected of the balance


def linear_inverse_model(
    records: list[Record], judge: list[Record] | None = None, *, most: int = _RANKS[-1]
) -> LinearInverse | None:
    """The linear inverse model that forecasts best, learned from all records.

    Args:
        records: Of each trajectory times (time,), in training horizons, states (time, n), and
            controls (time, c), of which there may be none.
        judge: The same of validation data; None: there are none, and quarters of the records do.
        most: Modes, at most.

    Returns:
        None: there are too few pairs of snapshots.
    """
    quarters = _trials(_folds(records))
    best = _best(quarters, [] if judge is None else _trials([(records, judge)]), most)
    law = None if best is None else LinearInverse.of(_Learned.of(records), *best)
    if best is None or law is None:
        return None
    return replace(law, optimism=_optimism(law, quarters, best))


def _optimism(
    law: LinearInverse, quarters: list[_Trial], choice: tuple[int, int, float, bool]
) -> float:
    """How many times the mean square error on data it was learned from it is on others."""
    pairs = [
        (error * trial.unit, float(np.mean([law.error(*target) for target in trial.targets])))
        for trial in quarters
        if math.isfinite(error := trial.error(*choice))
    ]
    without, within = np.sum(pairs, axis=0) if pairs else (0.0, 0.0)
    return max(1.0, float(without / within)) if within > 0 else 1.0


def is_smooth(states: Sequence[Array], stride: int = 1) -> bool:
    """Whether paths move on between nodes as they did before, rather than at random."""
    changes = [0.0, 0.0]
    for z in states:
        for k in (1, 2):
            if len(z) > 2 * stride:
                changes[k - 1] += float(np.square(z[k * stride :] - z[: -k * stride]).mean())
    return changes[1] > _SMOOTH * changes[0]


def _folds(records: list[Record]) -> list[Fold]:
    """All but a quarter, and that quarter: of the trajectories, or of the time of a few."""
    if len(records) >= _PARTS:
        parts = [records[k::_PARTS] for k in range(_PARTS)]
    else:
        parts = [[_part(record, k) for record in records] for k in range(_PARTS)]
    others = [[r for j, part in enumerate(parts) if j != k for r in part] for k in range(_PARTS)]
    return list(zip(others, parts, strict=True))


def _part(record: Record, k: int) -> Record:
    """The k-th quarter of a record's time."""
    t, z, u = record
    edges = np.linspace(0, len(t), _PARTS + 1).astype(int)
    span = slice(edges[k], edges[k + 1])
    return t[span], z[span], u[span]


def _trials(folds: list[Fold]) -> list[_Trial]:
    """Those folds from which something can be learned and forecast."""
    return [
        _Trial.of(learned, targets)
        for learned, held in folds
        if any(len(record[0]) for record in learned) and (targets := list(_targets(held)))
    ]


def _best(
    quarters: list[_Trial], judged: list[_Trial], most: int
) -> tuple[int, int, float, bool] | None:
    """Lag in snapshots, modes, ridge, and whether rates differ, that forecast best; None: none.

    A few windows of validation data tell little: of those that forecast them nearly best, the one
    is taken that forecasts these and the quarters best on average.
    """
    choices = [
        (lag, rank, ridge, each)
        for lag in _LAGS
        for rank in _RANKS
        if rank <= most
        for ridge in (_RIDGES if rank else _RIDGES[:1])
        for each in (False, True)
    ]
    by_quarters, by_validation = (
        np.array([_mean_error(trials, choice) for choice in choices])
        for trials in (quarters, judged)
    )
    score, allowed = by_quarters, np.isfinite(by_quarters)
    if judged:
        allowed = np.isfinite(by_validation) & (by_validation <= _NEARLY * by_validation.min())
        both = by_validation + by_quarters
        score = both if np.isfinite(both[allowed]).any() else by_validation
    if not allowed.any():
        return None
    return choices[int(np.where(allowed, score, np.inf).argmin())]


def _mean_error(trials: list[_Trial], choice: tuple[int, int, float, bool]) -> float:
    """Over the trials from which it can be learned; infinite where there is none."""
    errors = [trial.error(*choice) for trial in trials]
    finite = [error for error in errors if math.isfinite(error)]
    return float(np.mean(finite)) if finite else math.inf


@dataclass(frozen=True)
class _Learned:
    """Records, and their leading modes.

    Attributes:
        records: Of each trajectory.
        mean: (n,) of all states.
        modes: (k, n) orthonormal rows, the strongest first, without those of rounding errors.
        most: Pairs of snapshots to learn from, about; None: all.
    """

    records: list[Record]
    mean: Array
    modes: Array
    most: int | None = None

    @classmethod
    def of(cls, records: list[Record], most: int | None = None) -> _Learned:
        """Those of some records."""
        states = np.concatenate([z for _, z, _ in records])
        mean = states.mean(0)
        sizes, modes = np.linalg.svd(states - mean, full_matrices=False)[1:]
        return cls(records, mean, modes[sizes > _LEAST_SIZE * sizes[0]][: _RANKS[-1]], most)


@dataclass(frozen=True)
class _Trial:
    """Records to learn from, and what to forecast.

    Attributes:
        learned: What to learn from.
        targets: Elapsed time, states now and later and controls in between, at each lead.
        unit: Mean square error of persistence.
    """

    learned: _Learned
    targets: list[tuple[float, Array, Array, Array]]
    unit: float

    @classmethod
    def of(cls, records: list[Record], targets: list[tuple[float, Array, Array, Array]]) -> _Trial:
        """With records that are thinned to what a choice takes."""
        unit = float(np.mean([np.square(later - now).mean() for _, now, later, _ in targets]))
        return cls(_Learned.of(records, most=_MOST_PAIRS), targets, unit or 1.0)

    def error(self, lag: int, rank: int, ridge: float, each: bool) -> float:
        """Of a linear inverse model, relative to persistence's; infinite where there is none."""
        law = LinearInverse.of(self.learned, lag, rank, ridge, each)
        if law is None:
            return math.inf
        return float(np.mean([law.error(*target) for target in self.targets])) / self.unit


def _targets(records: list[Record]) -> Iterator[tuple[float, Array, Array, Array]]:
    """Elapsed time, states now and later, controls in between, as `_pairs`, at a few leads."""
    for lead in _LEADS:
        now, later, between, elapsed = _pairs(records, lead, _MOST_PAIRS)
        if len(now):
            yield float(elapsed.mean()), now, later, between


def _pairs(
    records: list[Record], lag: int, most: int | None = None
) -> tuple[Array, Array, Array, Array]:
    """States now and later, (pair, n), where times elapsed (pair,) are as usual, which come last.

    Third are means of the controls from one snapshot to the next in between, (pair, lag, c).

    Args:
        records: Of each trajectory.
        lag: In snapshots.
        most: Pairs, about, evenly out of all; None: all of them.
    """
    every = 1 if most is None else max(1, sum(len(t) for t, _, _ in records) // most)
    each = ((z[:-lag], z[lag:], _between(u, lag), t[lag:] - t[:-lag]) for t, z, u in records)
    now, later, between, elapsed = (
        np.concatenate([part[::every] for part in parts]) for parts in zip(*each, strict=True)
    )
    if not len(elapsed):
        return now, later, between, elapsed
    usual = np.median(elapsed)
    alike = np.abs(elapsed - usual) <= _UNLIKE * usual
    return now[alike], later[alike], between[alike], elapsed[alike]


def _between(controls: Array, lag: int) -> Array:
    """(pair, lag, c) means over the intervals from each snapshot to the one so many later."""
    steps = 0.5 * (controls[1:] + controls[:-1])
    if len(steps) < lag:
        return np.zeros((0, lag, controls.shape[1]))
    return np.moveaxis(np.lib.stride_tricks.sliding_window_view(steps, lag, axis=0), -1, 1)


@dataclass(frozen=True)
class LinearInverse:
    """A linear inverse model of anomalies, Penland & Sardeshmukh (1995).

    Attributes:
        modes: (k, n_ζ) orthonormal rows.
        mean: (n_ζ,).
        A: (k, k).
        B: (k, c), what controls do to the modes.
        rates: (n_ζ,) at which the rest of each state decays.
        now: (pair, n_ζ) anomalies that it was learned from.
        later: (pair, n_ζ) those a lag later.
        imposed: (pair, c) mean controls in between.
        lag: In training horizons.
        optimism: How many times the mean square error on these data it is on others.
    """

    modes: Array
    mean: Array
    A: Array
    B: Array
    rates: Array
    now: Array
    later: Array
    imposed: Array
    lag: float
    optimism: float = 1.0

    @classmethod
    def of(
        cls, learned: _Learned, lag: int, rank: int, ridge: float, each: bool = False
    ) -> LinearInverse | None:
        """Learned from pairs `lag` snapshots apart; None: there are too few, or no two alike."""
        now, later, between, elapsed = _pairs(learned.records, lag, learned.most)
        u = between.mean(1)
        if len(now) < (max(_FEWEST, 2 * (rank + u.shape[1])) if rank else _FEWEST_ALONE):
            return None
        if rank > len(learned.modes):
            return None
        mean, modes = learned.mean, learned.modes[:rank]
        now, later = now - mean, later - mean
        tau = float(elapsed.mean())
        a, b = now @ modes.T, later @ modes.T
        A: Array | None = np.zeros((0, 0))
        B = np.zeros((rank, u.shape[1]))
        if rank:
            square, lagged = a.T @ a / len(a), b.T @ a / len(a)
            size = np.trace(square) / len(square)
            if not size > 0:
                return None
            G, H = _regression(a, b, u, square + ridge * size * np.eye(len(square)), lagged)
            A = stable_generator(G, tau)
            if A is not None and H.size:
                B = np.linalg.solve(_propagators(A, tau)[1], H)
        if A is None:
            return None
        rates = _rates(now - a @ modes, later - b @ modes, tau, each)
        return cls(modes, mean, A, B, rates, now, later, u, tau)

    @property
    def generator(self) -> Array:
        """(n, n) of all states: Vᵀ A V − ρ (1 − Vᵀ V), ρ diagonal."""
        V = self.modes
        rest = np.eye(V.shape[1]) - V.T @ V
        whole: Array = V.T @ self.A @ V - self.rates[:, None] * rest
        return whole

    def error(self, elapsed: float, now: Array, later: Array, between: Array) -> float:
        """Mean square error of forecasts, but for what the rest drives in the modes.

        Args:
            elapsed: Time between.
            now: (pair, n_ζ).
            later: Shaped alike.
            between: (pair, lead, c) controls, step by step.
        """
        away = now - self.mean
        along = away @ self.modes.T
        rest = (away - along @ self.modes) * np.exp(-self.rates * elapsed)
        there = along @ expm(self.A * elapsed).T
        if self.B.size:
            there, (moved, pushed) = along, _propagators(self.A, elapsed / between.shape[1])
            for u in np.moveaxis(between, 1, 0):
                there = there @ moved.T + u @ (pushed @ self.B).T
        forecast = self.mean + there @ self.modes + rest
        return float(np.square(later - forecast).mean())

    def correlation(self) -> Array:
        """(n_ζ, n_ζ) C's correlations, as the balance has them.

        They are drawn to none by the share that their sampling errors have (`_sureness`).
        """
        balance, _, errors = self._balance()
        values, axes = np.linalg.eigh(balance)
        whole = (axes * np.clip(values, 0, None)) @ axes.T
        unit = np.sqrt(np.clip(whole.diagonal(), np.finfo(float).tiny, None))
        found: Array = _sureness(errors) * whole / unit[:, None] / unit
        np.fill_diagonal(found, 1.0)
        return found

    def diffusion(self) -> Array:
        """(n_ζ,) diagonal of C, zero where the balance has it negative."""
        balance, ratio, _ = self._balance()
        found: Array = np.clip(balance.diagonal(), 0, None) * ratio * self.optimism
        return found

    def _balance(self) -> tuple[Array, Array, Array]:
        """C (n_ζ, n_ζ) of the balance, by what errors exceed it (n_ζ,), errors (pair, n_ζ)."""
        generator = self.generator
        square = self.now.T @ self.now / len(self.now)
        flow = -generator @ square
        predicted = self.now @ expm(generator * self.lag).T
        if self.B.size:
            push = self.imposed @ self.B.T @ self.modes
            flow -= push.T @ self.now / len(self.now)
            pushed = _propagators(self.A, self.lag)[1]
            predicted += self.imposed @ (pushed @ self.B).T @ self.modes
        balance = flow + flow.T
        errors = self.later - predicted
        missed = np.square(errors).mean(0)
        expected = np.diag(square) - np.square(predicted).mean(0)
        expected = np.maximum(expected, missed / _MOST_RATIO)
        ratio = np.divide(missed, expected, out=np.ones_like(missed), where=expected > 0)
        return balance, ratio, errors


def _sureness(errors: Array) -> float:
    """Share of the correlations of errors (pair, n) that is no sampling error.

    Schäfer & Strimmer (2005): one less the sum of these correlations' variances over their squares.
    """
    count = len(errors)
    size = errors.std(0)
    x = (errors - errors.mean(0)) / np.where(size > 0, size, 1.0)
    r = x.T @ x / count
    spread = (np.square(x).T @ np.square(x) / count - r**2) / max(count - 1, 1)
    others = ~np.eye(len(r), dtype=bool)
    squares = float(np.square(r[others]).sum())
    return float(np.clip(1 - spread[others].sum() / squares, 0, 1)) if squares > 0 else 0.0


def _rates(now: Array, later: Array, tau: float, each: bool) -> Array:
    """(n,) rates of decay of a state that is one thing `now` (pair, n) and another `later`."""
    product, square = (now * later).sum(0), (now * now).sum(0)
    if not each:
        product, square = (np.full_like(x, x.sum()) for x in (product, square))
    kept = np.divide(product, square, out=np.zeros_like(square), where=square > 0)
    rates: Array = -np.log(np.clip(kept, _FORGOTTEN, math.exp(-tau))) / tau
    return rates


def _regression(
    now: Array, later: Array, imposed: Array, square: Array, lagged: Array
) -> tuple[Array, Array]:
    """G (k, k) and H (k, c) of G a + H ū, from ⟨a aᵀ⟩ with its ridge and ⟨a(t + τ) aᵀ⟩.

    Args:
        now: a (pair, k).
        later: a(t + τ), shaped alike.
        imposed: ū (pair, c); c may be zero.
        square: (k, k).
        lagged: (k, k).
    """
    k, count = len(square), len(now)
    if not imposed.shape[1]:
        return np.linalg.solve(square, lagged.T).T, np.zeros((k, 0))
    beside, forcing = imposed.T @ now / count, imposed.T @ imposed / count
    held = _RIDGE * np.trace(forcing) / len(forcing) + np.finfo(float).tiny
    both = np.block([[square, beside.T], [beside, forcing + held * np.eye(len(forcing))]])
    found = np.linalg.solve(both, np.vstack([lagged.T, imposed.T @ later / count])).T
    return found[:, :k], found[:, k:]


def _propagators(A: Array, tau: float) -> tuple[Array, Array]:
    """e^{Aτ} and ∫₀^τ e^{As} ds, both (k, k)."""
    k = len(A)
    both = expm(tau * np.block([[A, np.eye(k)], [np.zeros((k, 2 * k))]]))
    return both[:k, :k], both[:k, k:]


def stable_generator(G: Array, tau: float) -> Array | None:
    """The real A with e^{Aτ} = G, its eigenvalues where a stable real generator can have them.

    Args:
        G: (k, k) real.
        tau: > 0, in training horizons.

    Returns:
        None: the eigenvectors hardly differ, and G is no function of its eigenvalues.
    """
    values, vectors = np.linalg.eig(G)
    if not np.linalg.cond(vectors) < 1e8:
        return None
    size = np.clip(np.abs(values), _FORGOTTEN, math.exp(-tau))
    size = np.where((np.abs(values.imag) < 1e-12) & (values.real < 0), _FORGOTTEN, size)
    angle = np.where(np.abs(values.imag) < 1e-12, 0.0, np.angle(values))
    logs = np.log(size) + 1j * angle
    A: Array = ((vectors * logs) @ np.linalg.inv(vectors)).real / tau
    return A
