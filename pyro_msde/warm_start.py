"""A start for the macroscale drift: least squares on the training data, before any ELBO.

Where the macroscale state is well resolved its drift is close to a quadratic function of the
stencil, which linear regression finds at once and stochastic gradients slowly, as the coefficients
of high derivatives are large. The regression is in weak form,

    ζ(t_b) − ζ(t_a) = ∫ f(ζ(t)) dt,        f(x) = A x + xᵀ Q x,        ζ(t_i) = T_r y_i,

with integrals by the trapezoidal rule over the observations: no derivative of noisy data, and no
common or even times are needed. How much to shrink the coefficients is decided by cross-validation
over trajectories.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_msde.networks import MultiscaleDrift, PolynomialMLP
from pyro_msde.sde import integrate, stable_step
from pyro_msde.segments import Segments

__all__ = ["start_macroscale_drift", "weak_form_regression"]

_RIDGES = tuple(10.0**k for k in range(-9, 0))  # relative to the features' mean squares
_FOLDS = 5
_MOST_FEATURES = 4000  # beyond it the quadratic part is left out: the normal matrix would not fit
_TOLERANCE = 0.1  # root mean square error of those forecasts, relative to the change of the state
_CHECKED = 8  # trajectories that are forecast to see whether the fit is worth keeping
_LEADS = 10  # parts of a trajectory, each forecast from its start: short, as some are chaotic
_STEP = 1 / 500  # of the horizon, in those forecasts


@torch.no_grad()
def start_macroscale_drift(model: Any, segments: Segments, *, num_windows: int = 20) -> bool:
    """Fit the polynomial paths of the model's macroscale drift to encoded observations.

    A fit is kept if forecasts with it, over tenths of training trajectories, err by less than a
    tenth of how far these move. Where the coarse grid does not resolve the state they err by more,
    and a drift that starts at zero learns better than one that starts there.

    Args:
        model: Model with `drift`, `kernel`, `grid` and `read_parameters`.
        segments: Training data in scaled units.
        num_windows: Windows [t_a, t_b] a trajectory, fewer where it has fewer intervals.

    Returns:
        Whether anything was done: not beside microscale states, whose part the regression would
        take; not for drifts of another kind or trained before, nor where the drift or the
        smoothing kernel has a prior.
    """
    parts = [getattr(model, name, None) for name in ("drift", "kernel")]
    if any(getattr(part, "is_random", True) for part in parts):
        return False
    drift = model.drift.net
    if not isinstance(drift, MultiscaleDrift) or not isinstance(drift.macro, PolynomialMLP):
        return False
    if drift.n_eta or drift.macro.has_polynomial:
        return False
    grid, operators = model.grid, model.read_parameters().operators
    like = drift.macro.linear.weight
    zetas = [
        grid.flatten(operators.restrict(segments.scaled(k).to(like.device)))
        for k in range(len(segments.values))
    ]
    # (p,) numbers a trajectory, none of them without parameters
    given = like.new_zeros(len(zetas), 0) if segments.parameters is None else segments.parameters
    parameters = given.to(like)
    inputs = [
        drift.neighbourhoods(zeta, own.expand(len(zeta), -1))
        for zeta, own in zip(zetas, parameters, strict=True)
    ]
    states = [zeta.unflatten(-1, (grid.channels, grid.num_coarse)).mT for zeta in zetas]
    m = inputs[0].shape[-1]
    fits = weak_form_regression(
        segments.times, states, inputs, num_windows=num_windows,
        quadratic=drift.macro.rank > 0 and m * (m + 3) // 2 <= _MOST_FEATURES,
    )  # fmt: skip
    before = {k: v.clone() for k, v in drift.macro.state_dict().items()}
    for fit in fits:
        drift.macro.set_polynomial(*fit)
        if _forecasts_well(drift, segments.times, zetas, parameters):
            return True
    drift.macro.load_state_dict(before)
    return False


def _forecasts_well(
    drift: MultiscaleDrift,
    times: Sequence[Tensor],
    zetas: Sequence[Tensor],
    parameters: Tensor,
) -> bool:
    """Whether ζ is forecast over each tenth of a trajectory to `_TOLERANCE` of how far it moves."""
    macro: Any = drift.macro
    error = change = 0.0
    for k in torch.linspace(0, len(zetas) - 1, min(_CHECKED, len(zetas))).long().unique().tolist():
        edges = torch.linspace(0, len(times[k]) - 1, min(_LEADS + 1, len(times[k]))).long()
        zeta, clock = zetas[k][edges], times[k][edges].to(zetas[k].device)

        def macroscale(z: Tensor, _: Tensor, own: Tensor = parameters[k]) -> Tensor:
            inputs = drift.neighbourhoods(z, own.expand(*z.shape[:-1], -1))
            value: Tensor = macro.polynomial(inputs).mT.flatten(-2)
            return value

        step = min(_STEP, max(_STEP / 100, stable_step(macroscale, zeta[:-1], clock[:-1])))
        path = integrate(
            macroscale, torch.zeros_like(zeta[0]), zeta[None, :-1],
            torch.stack([clock[:-1], clock[1:]], -1), max_step=step,
        )  # fmt: skip
        error += float((path[0, :, -1] - zeta[1:]).square().sum())
        change += float(zeta.diff(dim=0).square().sum())
    return error < _TOLERANCE**2 * change  # False for NaN too


def weak_form_regression(
    times: Sequence[Tensor],
    states: Sequence[Tensor],
    inputs: Sequence[Tensor],
    *,
    num_windows: int,
    quadratic: bool = True,
) -> Iterator[tuple[Tensor, Tensor]]:
    """A and Q of ds/dt = A x + xᵀ Q x by ridge regression over windows of time.

    The first fit is the one that cross-validates best. More and more shrunk ones follow: what
    predicts increments best may be unstable, where data hardly determine the fastest modes.

    Args:
        times: Per trajectory (time,).
        states: Per trajectory s (time, point, output).
        inputs: Per trajectory x (time, point, m).
        num_windows: Windows a trajectory.
        quadratic: Fit Q too; otherwise it is zero.

    Yields:
        A (output, m) and symmetric Q (output, m, m), float64; nothing if ds/dt = 0 cross-validates
        better.
    """
    m = inputs[0].shape[-1]
    i, j = torch.triu_indices(m, m) if quadratic else torch.zeros((2, 0), dtype=torch.int64)
    folds = [_Normal() for _ in range(_FOLDS)]
    for k, (t, s, x) in enumerate(zip(times, states, inputs, strict=True)):
        edges = torch.linspace(0, len(t) - 1, min(num_windows, len(t) - 1) + 1).long()
        x, s = x.double(), s.double()
        features = torch.cat([x, x[..., i] * x[..., j]], -1)
        steps = t.to(x).diff()[:, None, None] * 0.5
        integral = torch.cat(
            [torch.zeros_like(features[:1]), (steps * (features[1:] + features[:-1])).cumsum(0)]
        )
        increments, integrals = s[edges].diff(dim=0), integral[edges].diff(dim=0)
        count = len(increments)
        # few trajectories are divided themselves, into stretches of time
        own = torch.arange(count) * _FOLDS // count
        if len(times) >= _FOLDS:
            own = torch.full((count,), k)
        for fold, normal in enumerate(folds):
            normal.add(integrals[own % _FOLDS == fold], increments[own % _FOLDS == fold])
    everything = sum(folds[1:], folds[0])
    scores = [
        sum(fold.misfit((everything - fold).solve(ridge)) for fold in folds) for ridge in _RIDGES
    ]
    best = min(range(len(_RIDGES)), key=lambda n: scores[n])
    if not scores[best] < everything.square:
        return
    for ridge in _RIDGES[best:]:
        coefficients = everything.solve(ridge).mT
        Q = coefficients.new_zeros(len(coefficients), m, m)
        Q[:, i, j] = coefficients[:, m:]
        yield coefficients[:, :m], 0.5 * (Q + Q.mT)


@dataclass
class _Normal:
    """Normal equations of a least-squares problem, that add up over data."""

    matrix: Any = 0.0
    right: Any = 0.0
    square: float = 0.0

    def add(self, features: Tensor, targets: Tensor) -> None:
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

    def solve(self, ridge: float) -> Tensor:
        """Coefficients (feature, output), shrunk by `ridge` × each feature's sum of squares."""
        size = self.matrix.diagonal().sqrt().clamp(min=torch.finfo(torch.float64).tiny)
        scaled = self.matrix / size[:, None] / size
        scaled.diagonal().add_(ridge)
        found: Tensor = torch.linalg.solve(scaled, self.right / size[:, None]) / size[:, None]
        return found

    def misfit(self, coefficients: Tensor) -> float:
        """Sum of squared errors on these data."""
        fitted = (coefficients * (self.matrix @ coefficients - 2 * self.right)).sum()
        return self.square + float(fitted)
