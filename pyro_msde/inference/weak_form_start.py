"""A start for the macroscale drift: least squares on the training data, before any ELBO.

Where the macroscale state is well resolved its drift is close to a quadratic function of the
stencil, which linear regression finds at once and stochastic gradients slowly, as the coefficients
of high derivatives are large. The regression is in weak form,

    −∫ φ'(t) ζ(t) dt = ∫ φ(t) f(ζ(t)) dt,        f(x) = A x + xᵀ Q x,        ζ(t_i) = T_r y_i,

with smooth bumps φ that vanish at the ends of a window (weak SINDy, Messenger & Bortz 2021) and
integrals of splines through the observations: no derivative of noisy data, and no common or even
times are needed.

Coefficients that the data do not determine are shrunk, and not to zero, where the fastest modes
would neither grow nor decay but for noise: what of a state its neighbours do not predict decays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from pyro_msde.data import Inputs, ScaledFields, Segments
from pyro_msde.networks import drift_of, offers
from pyro_msde.priors import part_of, starting_values
from pyro_msde.protocols import Model, PolynomialDrift
from pyro_msde.sde import CHOOSING_STEP, FASTEST, integrate, stable_step

__all__ = ["start_macroscale_drift", "weak_form_regression", "window_counts"]

_RIDGES = tuple(10.0**k for k in range(-9, 0))  # relative to the features' mean squares
_POWER = 6  # of the bump (1 − τ²)^p: vanishes at the ends with its first p − 1 derivatives
_INTERVALS = 8  # between observations, that half a window has at least
_NOISE = 1e-3  # share of the inputs' mean square taken for noise where states are predicted
_FOLDS = 5
_MOST_FEATURES = 4000  # beyond it the quadratic part is left out: the normal matrix would not fit
# root mean square error of those forecasts, relative to the change of the state
_TOLERANCE, _TOLERANCE_OF_SHORT = 0.1, 0.2
_FEW_WINDOWS = 20
_CHECKED = 8  # trajectories that are forecast to see whether the fit is worth keeping
_LEADS = 10  # parts of a trajectory, each forecast from its start: short, as some are chaotic
_WINDOWS_AHEAD = 4  # that such a part spans where windows are short
_UNSEEN = 0.1  # share of a state's variance beyond which it is not taken for known
_STIFF = 20  # times more steps than that are too many


@torch.no_grad()
def start_macroscale_drift(
    model: Model, segments: Segments, etas: Sequence[Tensor] | None = None
) -> bool:
    """Fit the polynomial of the model's macroscale drift to encoded observations.

    Of fits over longer and shorter windows, more or less shrunk, the one is kept that forecasts
    tenths of training trajectories best, if it errs by less than a tenth of how far these move; or,
    with short windows, as far as two of these reach, by less than a fifth.
    Where the coarse grid does not resolve the state they err by more, and a drift that starts at
    zero learns better than one that starts there.

    Args:
        model: Model with `drift`, `kernel`, `grid` and `bind`.
        segments: Training data in scaled units.
        etas: Per trajectory the microscale states (time, n_eta) at its observations, whose drift
            has been started. None: there are none yet.

    Returns:
        Whether anything was done: not beside microscale states that nothing is known of, whose part
        the regression would take; not for a drift that is no `PolynomialDrift` or not zero before
        training, nor where the drift or the smoothing kernel has a prior.
    """
    kernel = part_of(model, "kernel")
    if kernel is None or kernel.is_random:
        return False
    if etas is None and (model.n_eta or not offers(model, PolynomialDrift)):
        return False
    drift = drift_of(model)
    grid, operators = model.grid, model.bind(starting_values(model)).operators
    like = next(drift.parameters())
    zetas = [
        grid.flatten(operators.restrict(segments.values[k][:].to(like.device)))
        for k in range(len(segments.values))
    ]
    beside = [segments.inputs(k).to(like) for k in range(len(zetas))]
    shared = [
        like.new_zeros(len(t), 0)
        if (now := own.of_fields(t[None])) is None
        # (time, p + c) of a trajectory
        else now[0].expand(len(t), -1)
        for own, t in zip(beside, segments.times, strict=True)
    ]
    if etas is not None:
        shared = [torch.cat(both, -1) for both in zip(shared, etas, strict=True)]
    inputs = [drift.neighbourhoods(zeta, row) for zeta, row in zip(zetas, shared, strict=True)]
    states = [zeta.unflatten(-1, (grid.channels, grid.num_coarse)).mT for zeta in zetas]
    seen = [_seen_states(values, zeta) for values, zeta in zip(segments.values, zetas, strict=True)]
    usable = None
    if not all(bool(s.all()) for s in seen):
        usable = [
            _same_inputs(drift, torch.zeros_like(zeta), (~s).to(like), row)
            for zeta, s, row in zip(zetas, seen, shared, strict=True)
        ]
    latent = zetas if etas is None else [torch.cat(z, -1) for z in zip(zetas, etas, strict=True)]
    m = inputs[0].shape[-1]
    untouched = best = deepcopy(drift.state_dict())
    for count in window_counts(segments.times):
        short = count > _FEW_WINDOWS
        error = _TOLERANCE_OF_SHORT if short else _TOLERANCE
        leads = max(_LEADS, count // _WINDOWS_AHEAD)
        for fit in weak_form_regression(
            segments.times,
            states,
            inputs,
            usable,
            num_windows=count,
            quadratic=drift.has_quadratic and m * (m + 3) // 2 <= _MOST_FEATURES,
        ):
            drift.set_polynomial(*fit)
            forecast_error = _forecast_error(drift, segments.times, latent, seen, beside, leads)
            if forecast_error < error:  # False for NaN too
                best, error = deepcopy(drift.state_dict()), forecast_error
        if best is not untouched:
            break
    drift.load_state_dict(best)
    return best is not untouched


def window_counts(times: Sequence[Tensor]) -> list[int]:
    """Parts that trajectories are divided into, for regressions over longer and shorter windows.

    Long windows average noise away, and what is faster than they are.
    """
    most = max(len(t) - 1 for t in times) // _INTERVALS
    return [_FEW_WINDOWS] if most <= _FEW_WINDOWS else [_FEW_WINDOWS, most]


def _seen_states(values: Tensor | ScaledFields, zeta: Tensor) -> Tensor:
    """Which of ζ (time, num_zeta) the observations tell."""
    unseen = getattr(values, "unseen", None)
    if unseen is None:
        return torch.ones_like(zeta, dtype=torch.bool)
    return unseen[:, :-1].to(zeta.device) < _UNSEEN


def _same_inputs(drift: PolynomialDrift, zeta: Tensor, other: Tensor, fixed: Tensor) -> Tensor:
    """At which points (time, num_coarse) two states (time, num_zeta) look the same."""
    one, two = drift.neighbourhoods(zeta, fixed), drift.neighbourhoods(other, fixed)
    return (one == two).all(-1)


def _forecast_error(
    drift: Any,
    times: Sequence[Tensor],
    latent: Sequence[Tensor],
    seen: Sequence[Tensor],
    inputs: Sequence[Inputs],
    leads: int,
) -> float:
    """Error of ζ forecast over each of so many parts of a trajectory, relative to how far it moves.

    Of those states (time, latent), the first of each, that were seen.
    """
    error = change = 0.0
    some = torch.linspace(0, len(latent) - 1, min(_CHECKED, len(latent))).long().unique()
    for k in some.tolist():
        edges = torch.linspace(0, len(times[k]) - 1, min(leads + 1, len(times[k]))).long()
        z, clock = latent[k][edges], times[k][edges].to(latent[k].device)
        counts = seen[k][edges][1:] & seen[k][edges][:-1]
        known = inputs[k].driving(drift)
        step = min(CHOOSING_STEP, stable_step(known, z[:-1], clock[:-1]))
        if not step > CHOOSING_STEP / _STIFF:
            return math.inf
        path = integrate(
            known,
            torch.zeros_like(z[0]),
            z[None, :-1],
            torch.stack([clock[:-1], clock[1:]], -1),
            max_step=step,
        )
        zeta = slice(counts.shape[-1])
        error += float((path[0, :, -1] - z[1:])[:, zeta].square().where(counts, 0).sum())
        change += float(z.diff(dim=0)[:, zeta].square().where(counts, 0).sum())
        if not error < change * len(latent):
            return math.inf  # others will not make up for it
    return math.sqrt(error / change) if change else math.inf


def weak_form_regression(
    times: Sequence[Tensor],
    states: Sequence[Tensor],
    inputs: Sequence[Tensor],
    usable: Sequence[Tensor] | None = None,
    *,
    num_windows: int,
    quadratic: bool = True,
) -> Iterator[tuple[Tensor, Tensor]]:
    """A and Q of ds/dt = A x + xᵀ Q x by ridge regression over windows of time.

    The first fit is the one that cross-validates best. More and more shrunk ones follow: what fits
    best may be unstable, where data hardly determine the fastest modes. They are shrunk towards
    ds/dt = −500 (s − ŝ) per horizon, where ŝ is predicted linearly from x: zero on the data,
    as near as noise allows. Outputs that are not among the inputs are shrunk towards no change.

    Args:
        times: Per trajectory (time,).
        states: Per trajectory s (time, point, output).
        inputs: Per trajectory x (time, point, m).
        usable: Per trajectory (time, point) bool: windows of a point that hold a time at which it
            is False are left out. None: all are taken.
        num_windows: Parts a trajectory is divided into; a window spans two of them, and overlaps
            the next one by half. Fewer where they would hold few observations.
        quadratic: Fit Q too; otherwise it is zero.

    Yields:
        A (output, m) and symmetric Q (output, m, m), float64; nothing if ds/dt = 0 cross-validates
        better, or there are too few windows to tell.

    Source:
        Windows as in weak SINDy, Messenger & Bortz, Multiscale Model. Simul. 19 (2021).
    """
    m = inputs[0].shape[-1]
    i, j = torch.triu_indices(m, m) if quadratic else torch.zeros((2, 0), dtype=torch.int64)
    folds = [_Normal() for _ in range(_FOLDS)]
    moments = _Normal()
    is_input = torch.ones(m, states[0].shape[-1], dtype=torch.bool, device=i.device)
    for k, (t, s, x) in enumerate(zip(times, states, inputs, strict=True)):
        t, x, s = t.to(x.device).double(), x.double(), s.double()
        known = slice(None) if usable is None else usable[k]
        moments.add(x[known], s[known])
        is_input &= (x[..., None] == s[..., None, :]).flatten(0, -3).all(0).to(is_input.device)
        tests = list(_bumps(t, num_windows))
        # few trajectories are divided themselves, into stretches of time
        for n, (span, bump, slope) in enumerate(tests):
            fold = folds[(k if len(times) >= _FOLDS else n * _FOLDS // len(tests)) % _FOLDS]
            within = x[span]
            features = torch.cat([within, within[..., i] * within[..., j]], -1)
            phi = torch.einsum("t,tpf->pf", bump, features)
            goal = torch.einsum("t,tpo->po", -slope, s[span])
            if usable is not None:
                points = usable[k][span].all(0)
                phi, goal = phi[points], goal[points]
            fold.add(phi, goal)
    folds = [fold for fold in folds if torch.is_tensor(fold.matrix)]
    if len(folds) < 2:
        return
    everything = sum(folds[1:], folds[0])
    damped = everything.right.new_zeros(everything.right.shape)
    unpredicted = is_input.double() - moments.solve(_NOISE)
    damped[:m] = -FASTEST * torch.where(is_input.any(0), unpredicted, 0.0)
    scores = [
        sum(fold.misfit((everything - fold).solve(ridge, damped)) for fold in folds)
        for ridge in _RIDGES
    ]
    best = min(range(len(_RIDGES)), key=lambda n: scores[n])
    if not scores[best] < everything.square:
        return
    for ridge in _RIDGES[best:]:
        coefficients = everything.solve(ridge, damped).mT
        Q = coefficients.new_zeros(len(coefficients), m, m)
        Q[:, i, j] = coefficients[:, m:]
        yield coefficients[:, :m], 0.5 * (Q + Q.mT)


def _bumps(t: Tensor, num_windows: int) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Overlapping windows of the times t: which, and weights w with ∫ φ g dt, ∫ φ' g dt = Σ w g."""
    clock = t.cpu().numpy()
    halves = max(2, min(num_windows, (len(t) - 1) // _INTERVALS))
    edges = torch.linspace(0, len(t) - 1, halves + 1).long().tolist()
    for low, high in zip(edges[:-2], edges[2:], strict=True):
        span = slice(low, high + 1)
        spline = CubicSpline(clock[span], np.eye(high - low + 1))
        weights = t.new_tensor(spline.integrate(clock[low], clock[high]))
        half = 0.5 * (t[high] - t[low])
        tau = (t[span] - t[low]) / half - 1
        bump = (1 - tau.square()) ** _POWER
        slope = -2 * _POWER * tau * (1 - tau.square()) ** (_POWER - 1) / half
        yield span, bump * weights, slope * weights


@dataclass
class _Normal:
    """Normal equations of a least-squares problem, that add up over data."""

    matrix: Any = 0.0
    right: Any = 0.0
    square: float = 0.0

    def add(self, features: Tensor, targets: Tensor) -> None:
        """Rows (..., feature) and (..., output)."""
        F, y = features.flatten(0, -2), targets.flatten(0, -2)
        self.matrix = self.matrix + F.mT @ F
        self.right = self.right + F.mT @ y
        self.square += float(y.square().sum())

    def __add__(self, other: _Normal) -> _Normal:
        return _Normal(
            self.matrix + other.matrix, self.right + other.right, self.square + other.square
        )

    def __sub__(self, other: _Normal) -> _Normal:
        return _Normal(
            self.matrix - other.matrix, self.right - other.right, self.square - other.square
        )

    def solve(self, ridge: float, towards: Any = 0.0) -> Tensor:
        """Coefficients (feature, output), shrunk by `ridge` × each feature's sum of squares."""
        size = self.matrix.diagonal().sqrt().clamp(min=torch.finfo(torch.float64).tiny)[:, None]
        scaled = self.matrix / size / size.mT
        scaled.diagonal().add_(ridge)
        # (M + R) c = r + R c₀, with R the shrinkage
        right = self.right / size + ridge * size * towards
        coefficients: Tensor = torch.linalg.solve(scaled, right) / size
        return coefficients

    def misfit(self, coefficients: Tensor) -> float:
        """Sum of squared errors on these data."""
        fitted = (coefficients * (self.matrix @ coefficients - 2 * self.right)).sum()
        return self.square + float(fitted)
