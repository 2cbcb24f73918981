"""A linear inverse model as the start of a drift: for paths that are noisy or seldom observed.

Of such paths no time derivative can be taken, and the regression in weak form finds nothing. What
climatologists use (Penland & Sardeshmukh 1995) needs only pairs of snapshots a lag τ apart: in the
leading modes V of anomalies ζ − m, with a = V (ζ − m),

    G = ⟨a(t + τ) a(t)ᵀ⟩ (⟨a aᵀ⟩ + ridge)⁻¹,    A = log(G)/τ,    C = −(A Σ + Σ Aᵀ),

the last by the balance of fluctuation and dissipation. Sampling makes eigenvalues of G that no
stable real generator has. Their sizes are brought into [e⁻³, e^−τ], τ in training horizons, so that
a mode forgets within a third of a lag at the soonest and within the whole record at the latest;
negative real ones, which no real logarithm has, become e⁻³.

How many modes, how far apart pairs are, and the ridge are those that forecast validation data best
or, without any, the quarters of the training data, each learned from the others. If persistence or
climatology does, nothing is done.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import expm

from pyro_msde.data import Segments
from pyro_msde.networks import MultiscaleDrift, drift_of
from pyro_msde.priors import LogVariance, part_of, starting_values
from pyro_msde.protocols import Model

__all__ = ["linear_inverse_model", "stable_generator", "start_linear_path"]

Array = NDArray[Any]
Record = tuple[Array, Array]
Fold = tuple[list[Record], list[Record]]

_RANKS = (1, 2, 3, 5, 8, 12, 20)
_RIDGES = (0.0, 1e-2, 1e-1, 1.0)  # of the mean square of a mode
_LAGS = (1, 2, 4, 8, 16)  # in snapshots
_FORGOTTEN = math.exp(-3.0)
_SMOOTH = 3.0  # ratio of mean squared changes over two nodes and over one: 4 if smooth, 2 if noisy
_FEWEST = 20  # pairs of snapshots
_LEADS = (1, 2, 3, 4, 8, 16)  # in snapshots
_PARTS = 4
_UNLIKE = 0.1  # of the usual time between two snapshots, by which others may differ
_UNSEEN = 0.1  # share of a snapshot's states that may have been filled in
_AT_ONCE = 64


@torch.no_grad()
def start_linear_path(model: Model, segments: Segments, judge: Segments | None = None) -> bool:
    """Start the linear path of a macroscale drift, and C, by a linear inverse model.

    Args:
        model: Model with a `MultiscaleDrift`, before training.
        segments: Training data in scaled units.
        judge: Validation data in scaled units; None: there are none.

    Returns:
        Whether that was done: not without a path, with priors, for paths that are smooth from one
        node of a segment to the next, nor where persistence or climatology forecasts better.
    """
    drift, part = drift_of(model), part_of(model, "drift")
    if not isinstance(drift, MultiscaleDrift) or part is None or part.is_random:
        return False
    path = drift.path
    if path is None or path.started:
        return False
    found = linear_inverse_model(
        _encoded(model, segments),
        None if judge is None else _encoded(model, judge),
        stride=segments.stride,
        most=len(path.modes),
    )
    if found is None:
        return False
    like = path.mean
    modes, mean, A = (torch.as_tensor(x).to(like) for x in (found.modes, found.mean, found.A))
    path.start(modes, mean, A, found.rate)
    _set_diffusion(model, found.diffusion())
    return True


def linear_inverse_model(
    records: list[Record],
    judge: list[Record] | None = None,
    *,
    stride: int = 1,
    most: int = _RANKS[-1],
) -> LinearInverse | None:
    """The linear inverse model that forecasts best, learned from all records.

    Args:
        records: Of each trajectory times (time,), in training horizons, and states (time, n).
        judge: The same of validation data; None: quarters of the records.
        stride: Snapshots between nodes of a segment, over which a path is smooth or noisy.
        most: Modes, at most.

    Returns:
        None: paths are smooth, or persistence or climatology forecasts better.
    """
    if _is_smooth([z for _, z in records], stride):
        return None
    best = _best(_folds(records) if judge is None else [(records, judge)], most)
    return None if best is None else LinearInverse.of(_Learned.of(records), *best)


def _encoded(model: Model, segments: Segments) -> list[Record]:
    """Times (time,) and ζ (time, n_ζ) of each trajectory."""
    operators = model.bind(starting_values(model)).operators
    like = next(v for v in model.state_dict().values() if v.is_floating_point())
    states = []
    for values in segments.values:
        parts = [
            model.grid.flatten(operators.restrict(values[i : i + _AT_ONCE].to(like.device)))
            for i in range(0, len(values), _AT_ONCE)
        ]
        states.append(torch.cat(parts).double().cpu().numpy())
    records = []
    for times, values, z in zip(segments.times, segments.values, states, strict=True):
        unseen, clock = getattr(values, "unseen", None), times.cpu().numpy()
        if unseen is not None:  # what was filled in is no observation
            lacking = unseen[:, :-1] - unseen[:, :-1].amin(0)  # beside what never is, as on land
            seen = lacking.mean(1).cpu().numpy() <= _UNSEEN
            clock, z = clock[seen], z[seen]
        records.append((clock, z))
    return records


def _is_smooth(states: Sequence[Array], stride: int) -> bool:
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
    t, z = record
    edges = np.linspace(0, len(t), _PARTS + 1).astype(int)
    span = slice(edges[k], edges[k + 1])
    return t[span], z[span]


def _best(folds: list[Fold], most: int) -> tuple[int, int, float] | None:
    """Lag in snapshots, modes and ridge that forecast best; None: nothing beats having none."""
    if not all(any(len(t) for t, _ in learned) for learned, _ in folds):
        return None
    trials = [_Trial(_Learned.of(learned), list(_targets(held))) for learned, held in folds]
    if not all(trial.targets for trial in trials):
        return None
    persistence = np.mean([trial.of_persistence() for trial in trials])
    climatology = np.mean([trial.of_climatology() for trial in trials])
    error, best = float(min(persistence, climatology)), None
    for lag in _LAGS:
        for rank in (r for r in _RANKS if r <= most):
            for ridge in _RIDGES:
                found = float(np.mean([trial.of(lag, rank, ridge) for trial in trials]))
                if found < error:
                    error, best = found, (lag, rank, ridge)
    return best


@dataclass(frozen=True)
class _Learned:
    """Records, and their leading modes.

    Attributes:
        records: Of each trajectory.
        mean: (n,) of all states.
        modes: (k, n) orthonormal rows, the strongest first.
    """

    records: list[Record]
    mean: Array
    modes: Array

    @classmethod
    def of(cls, records: list[Record]) -> _Learned:
        """Those of some records."""
        states = np.concatenate([z for _, z in records])
        mean = states.mean(0)
        modes = np.linalg.svd(states - mean, full_matrices=False)[2][: _RANKS[-1]]
        return cls(records, mean, modes)


@dataclass(frozen=True)
class _Trial:
    """Records to learn from, and what to forecast.

    Attributes:
        learned: What to learn from.
        targets: Elapsed time, states now and later, at each lead.
    """

    learned: _Learned
    targets: list[tuple[float, Array, Array]]

    def of_persistence(self) -> float:
        """Mean square error."""
        return float(np.mean([np.square(later - now).mean() for _, now, later in self.targets]))

    def of_climatology(self) -> float:
        """Mean square error."""
        mean = self.learned.mean
        return float(np.mean([np.square(later - mean).mean() for _, _, later in self.targets]))

    def of(self, lag: int, rank: int, ridge: float) -> float:
        """Mean square error of a linear inverse model; infinite where there is none."""
        law = LinearInverse.of(self.learned, lag, rank, ridge)
        if law is None:
            return math.inf
        return float(np.mean([law.error(*target) for target in self.targets]))


def _targets(records: list[Record]) -> Iterator[tuple[float, Array, Array]]:
    """Elapsed time, states now and later, (pair, n), at a few leads."""
    for lead in _LEADS:
        now, later, elapsed = _all_pairs(records, lead)
        if len(now):
            yield float(elapsed.mean()), now, later


def _all_pairs(records: list[Record], lag: int) -> tuple[Array, Array, Array]:
    """States now and later, (pair, n), and elapsed times (pair,), where these are as usual."""
    now, later, elapsed = (
        np.concatenate(x)
        for x in zip(*((z[:-lag], z[lag:], t[lag:] - t[:-lag]) for t, z in records), strict=True)
    )
    if not len(elapsed):
        return now, later, elapsed
    usual = np.median(elapsed)
    alike = np.abs(elapsed - usual) <= _UNLIKE * usual
    return now[alike], later[alike], elapsed[alike]


@dataclass(frozen=True)
class LinearInverse:
    """A linear inverse model of anomalies, Penland & Sardeshmukh (1995).

    Attributes:
        modes: (k, n_ζ) orthonormal rows.
        mean: (n_ζ,).
        A: (k, k).
        rate: At which the rest decays.
        square: (k, k) ⟨a aᵀ⟩.
        rest: (n_ζ,) variance of what the modes lack.
    """

    modes: Array
    mean: Array
    A: Array
    rate: float
    square: Array
    rest: Array

    @classmethod
    def of(cls, learned: _Learned, lag: int, rank: int, ridge: float) -> LinearInverse | None:
        """Learned from pairs `lag` snapshots apart; None: there are too few, or no two alike."""
        now, later, elapsed = _all_pairs(learned.records, lag)
        if len(now) < max(_FEWEST, 2 * rank):
            return None
        mean, modes = learned.mean, learned.modes[:rank]
        now, later = now - mean, later - mean
        a, b = now @ modes.T, later @ modes.T
        square, lagged = a.T @ a / len(a), b.T @ a / len(a)
        size = np.trace(square) / len(square)
        if not size > 0:
            return None
        G = np.linalg.solve(square + ridge * size * np.eye(len(square)), lagged.T).T
        tau = float(elapsed.mean())
        A = stable_generator(G, tau)
        if A is None:
            return None
        left, left_later = now - a @ modes, later - b @ modes
        total = float(np.square(left).sum())
        kept = float((left * left_later).sum()) / total if total > 0 else 0.0
        rate = -math.log(min(max(kept, _FORGOTTEN), math.exp(-tau))) / tau
        return cls(modes, mean, A, rate, square, np.square(left).mean(0))

    @property
    def generator(self) -> Array:
        """(n, n) of all states: Vᵀ (A + ρ) V − ρ."""
        among = self.A + self.rate * np.eye(len(self.A))
        whole: Array = self.modes.T @ among @ self.modes - self.rate * np.eye(self.modes.shape[1])
        return whole

    def error(self, elapsed: float, now: Array, later: Array) -> float:
        """Mean square error of forecasts."""
        away = now - self.mean
        along = away @ self.modes.T
        rest = (away - along @ self.modes) * math.exp(-self.rate * elapsed)
        forecast = self.mean + along @ expm(self.A * elapsed).T @ self.modes + rest
        return float(np.square(later - forecast).mean())

    def diffusion(self) -> Array:
        """(n_ζ,) diagonal of C that keeps the variance where it is, zero where that is negative."""
        among = -(self.A @ self.square + self.square @ self.A.T)
        own = np.einsum("kn,kl,ln->n", self.modes, among, self.modes)
        return np.clip(own + 2 * self.rate * self.rest, 0, None)


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


def _set_diffusion(model: Any, values: Array) -> None:
    """Let C of the macroscale states be these, on average over those that share a parameter."""
    part = part_of(model, "diffusion")
    net = None if part is None or part.is_random else part._modules["net"]
    if not isinstance(net, LogVariance):
        return
    count = len(values)
    owner = torch.arange(count) if net.index is None else net.index[:count].cpu()
    for k in owner.unique().tolist():
        mean = float(values[(owner == k).numpy()].mean())
        if mean > 0:
            net.log_value[k] = math.log(mean)
