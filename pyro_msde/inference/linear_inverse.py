"""Linear inverse models of paths that are noisy or seldom observed.

Of such paths no time derivative can be taken, and the regression in weak form finds nothing. What
climatologists use (Penland & Sardeshmukh 1995) needs only pairs of snapshots a lag τ apart: in the
leading modes V of anomalies ζ − m, with a = V (ζ − m),

    G = (⟨a(t + τ) a(t)ᵀ⟩ + λ D) (⟨a aᵀ⟩ + λ)⁻¹,    A = log(G)/τ.

The ridge λ draws G to the diagonal D: to the share of the modes that is left after a lag, all of
them together or each by itself, which is damped persistence, or to (nearly) one, which is a random
walk (Litterman 1986 has the same prior). What the modes lack, or all of it where there are none,
decays in the same way. C follows from the errors ε of a(t + τ), of whose noise it is the source:

    P = e^{Aτ} P e^{Aᵀτ} + ⟨ε εᵀ⟩,    C = −(A P + P Aᵀ),

the balance of fluctuation and dissipation at the variance P that such errors build up.

Sampling makes eigenvalues of G that no stable real generator has. Their sizes are brought into
[e⁻³, e^−τ], τ in training horizons, so that a mode forgets within a third of a lag at the soonest
and within the whole record at the latest; negative real ones, which no real logarithm has, become
e⁻³, and what is forgotten sooner than that does not turn.

Under controls u, da = (A a + B u) dt + L dβ. The regression of a(t + τ) is then on a(t) and on the
mean ū of the controls in between, G a + H ū, and B = (∫₀^τ e^{As} ds)⁻¹ H.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

__all__ = ["Decay", "Learned", "LinearInverse", "Record", "is_smooth", "pairs", "stable_generator"]

Array = NDArray[Any]
Record = tuple[Array, Array, Array]  # times (time,), states (time, n), controls (time, c)
Decay = Literal["common", "own", "none"]  # rates of what is not in modes

MOST_MODES = 20
_RIDGE = 1e-8  # of the controls' mean square, which may depend on each other
_FORGOTTEN = math.exp(-3.0)
_SMOOTH = 3.0  # ratio of mean squared changes over two nodes and over one: 4 if smooth, 2 if noisy
_FEWEST, _FEWEST_ALONE = 20, 5  # pairs of snapshots, with modes and without
_UNLIKE = 0.1  # of the usual time between two snapshots, by which others may differ
_LEAST_SIZE = 1e-4  # of a mode, of the strongest one's


def is_smooth(states: Sequence[Array], stride: int = 1) -> bool:
    """Whether paths move on between nodes as they did before, rather than at random."""
    changes = [0.0, 0.0]
    for z in states:
        for k in (1, 2):
            if len(z) > 2 * stride:
                changes[k - 1] += float(np.square(z[k * stride :] - z[: -k * stride]).mean())
    return changes[1] > _SMOOTH * changes[0]


@dataclass(frozen=True)
class Learned:
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
    def of(cls, records: list[Record], most: int | None = None) -> Learned:
        """Those of some records."""
        states = np.concatenate([z for _, z, _ in records])
        mean = states.mean(0)
        sizes, modes = np.linalg.svd(states - mean, full_matrices=False)[1:]
        return cls(records, mean, modes[sizes > _LEAST_SIZE * sizes[0]][:MOST_MODES], most)


def pairs(
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
        cls, learned: Learned, lag: int, rank: int, ridge: float, decay: Decay = "common"
    ) -> LinearInverse | None:
        """Learned from pairs `lag` snapshots apart; None: there are too few, or no two alike."""
        now, later, between, elapsed = pairs(learned.records, lag, learned.most)
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
            held = ridge * size * np.eye(len(square))
            damped = _kept(_without(a, u), _without(b, u), tau, decay) * held
            G, H = _regression(a, b, u, square + held, lagged + damped)
            A = stable_generator(G, tau)
            if A is not None and H.size:
                B = np.linalg.solve(_propagators(A, tau)[1], H)
        if A is None:
            return None
        rates = _rates(now - a @ modes, later - b @ modes, tau, decay)
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
        """(n_ζ, n_ζ) C's correlations.

        They are drawn to none by the share that their sampling errors have (`_sureness`).
        """
        C, errors = self._noise
        values, axes = np.linalg.eigh(C)
        whole = (axes * np.clip(values, 0, None)) @ axes.T
        unit = np.sqrt(np.clip(whole.diagonal(), np.finfo(float).tiny, None))
        found: Array = _sureness(errors) * whole / unit[:, None] / unit
        np.fill_diagonal(found, 1.0)
        return found

    def diffusion(self) -> Array:
        """(n_ζ,) diagonal of C, zero where errors cannot have come from noise."""
        found: Array = np.clip(self._noise[0].diagonal(), 0, None) * self.optimism
        return found

    @cached_property
    def _noise(self) -> tuple[Array, Array]:
        """C (n_ζ, n_ζ) that makes the errors at the lag, and these (pair, n_ζ)."""
        generator = self.generator
        moved = expm(generator * self.lag)
        predicted = self.now @ moved.T
        if self.B.size:
            pushed = _propagators(self.A, self.lag)[1]
            predicted += self.imposed @ (pushed @ self.B).T @ self.modes
        errors = self.later - predicted
        flow = generator @ _built_up(moved, errors.T @ errors / len(errors))
        return -(flow + flow.T), errors


def _built_up(moved: Array, size: Array) -> Array:
    """P = Σ Mᵏ S Mᵏᵀ of a stable M and of S (n, n), by doubling: P = M P Mᵀ + S."""
    while np.abs(moved).max() > np.finfo(float).eps:
        size = size + moved @ size @ moved.T
        moved = moved @ moved
    return size


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


def _rates(now: Array, later: Array, tau: float, decay: Decay) -> Array:
    """(n,) rates of decay of a state that is one thing `now` (pair, n) and another `later`."""
    rates: Array = -np.log(np.clip(_kept(now, later, tau, decay), _FORGOTTEN, math.exp(-tau))) / tau
    return rates


def _kept(now: Array, later: Array, tau: float, decay: Decay) -> Array:
    """(n,) share of a state `now` (pair, n) that is left `later`."""
    if decay == "none":
        return np.full(now.shape[1], math.exp(-tau))
    product, square = (now * later).sum(0), (now * now).sum(0)
    if decay == "common":
        product, square = (np.full_like(x, x.sum()) for x in (product, square))
    return np.divide(product, square, out=np.zeros_like(square), where=square > 0)


def _without(states: Array, imposed: Array) -> Array:
    """(pair, n) what is left of states of which controls (pair, c) explain what they can."""
    if not imposed.shape[1]:
        return states
    left: Array = states - imposed @ np.linalg.lstsq(imposed, states, rcond=None)[0]
    return left


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
        None: the eigenvectors hardly differ, and G is no function of its eigenvalues; or it is
            not finite.
    """
    if not np.isfinite(G).all():  # of states whose squares are no numbers any more
        return None
    values, vectors = np.linalg.eig(G)
    if not np.linalg.cond(vectors) < 1e8:
        return None
    size = np.clip(np.abs(values), _FORGOTTEN, math.exp(-tau))
    real = np.abs(values.imag) < 1e-12
    size = np.where(real & (values.real < 0), _FORGOTTEN, size)
    angle = np.where(real | (np.abs(values) < _FORGOTTEN), 0.0, np.angle(values))
    logs = np.log(size) + 1j * angle
    A: Array = ((vectors * logs) @ np.linalg.inv(vectors)).real / tau
    return A
