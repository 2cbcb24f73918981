"""Memory that a fitted linear model leaves: its one-step Kalman innovations, and a test of them.

If the latent SDE is Markovian and the model right, the innovations of its Kalman filter,

    e_i = ẑ_i − E[z(t_i) | y_0 … y_{i−1}],        e_i ~ N(0, P_i + N),

are independent in time; what memory the latent state lacks shows as their autocorrelation (Ilersich
& Nair 2025, App. B). ẑ = N Hᵀ R⁻¹ y is the field's least-squares reading of the latent state and
N = (Hᵀ R⁻¹ H)⁻¹ its covariance: sufficient for z, so nothing of the size of a field is factorised.
Rows of H that were not observed are left out; a snapshot whose others do not tell all latent states
apart has no ẑ, and is passed over: the innovations of the rest are still independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import chi2

from pyro_msde.checks import check_kind, check_whole
from pyro_msde.data import Trajectories, check_trajectories, cropped, matched, to_numpy
from pyro_msde.isolation import place_of
from pyro_msde.priors import posterior_of
from pyro_msde.protocols import FittedModel
from pyro_msde.runs import adjustments_of_users
from pyro_msde.sde import covariance, noise_axes, transition

__all__ = [
    "LinearModel",
    "LjungBox",
    "innovations",
    "kalman_innovations",
    "linear_model",
    "ljung_box",
]

Array = NDArray[Any]

_LINEAR = 1e-4  # relative; models may be in float32
_MOST_CONDITION = 1e12  # of Hᵀ R⁻¹ H


class LinearModel(NamedTuple):
    """dz = A z dt + L dβ, y = H z + N(0, R), in the scaled units of a fit.

    Attributes:
        drift: (n, n) A.
        diffusion: (n, n) C = L Lᵀ.
        decoder: (field, n) H, T_p and Σ_y S_η D side by side.
        variance: (field,) the diagonal of R = Σ_y.
    """

    drift: Array
    diffusion: Array
    decoder: Array
    variance: Array


@dataclass(frozen=True)
class LjungBox:
    """Autocorrelations of some series and the test that there are none.

    Attributes:
        autocorrelation: (lag,) at lags 1, 2, …
        standard_error: (lag,) of these, if the series are white.
        statistic: Σ autocorrelation²/standard_error², up to a factor that goes to 1.
        p_value: Probability of a larger statistic if the series are white.
    """

    autocorrelation: Array
    standard_error: Array
    statistic: float
    p_value: float


def ljung_box(series: Sequence[Array], *, num_lags: int = 20) -> LjungBox:
    """Test of Ljung & Box (1978) of zero-mean white noise, pooled over independent series.

    The statistic is χ² with as many degrees of freedom as lags, if no parameter was fitted to these
    series.

    Args:
        series: Each (time,) or (time, component); components count as independent series. NaN is
            missing, and pairs with it do not count.
        num_lags: Largest lag.

    Raises:
        ValueError: No series, or one that is not longer than the largest lag.
    """
    num_lags = check_whole("num_lags", num_lags, 1)
    if not isinstance(series, Sequence | np.ndarray) or not np.ndim(np.asarray(series, object)):
        raise ValueError(f"series: got {type(series).__name__}. Pass a list of arrays.")
    given = [to_numpy(s, f"series[{k}]") for k, s in enumerate(series)]
    if any(s.ndim not in (1, 2) or np.isinf(s).any() for s in given):
        raise ValueError("series: give arrays (time,) or (time, component) of finite numbers.")
    columns = [column for s in given for column in s.reshape(len(s), -1).T]
    seen = [~np.isnan(column) for column in columns]
    columns = [np.where(there, c, 0.0) for there, c in zip(seen, columns, strict=True)]
    shortest = min(map(len, columns), default=0)
    if not 1 <= num_lags < shortest:
        raise ValueError(
            f"num_lags: {num_lags}, for {len(columns)} series, the shortest of {shortest} values. "
            "Choose at least 1, and fewer than that."
        )
    lags = np.arange(1, num_lags + 1)
    pairs = np.array([sum((there[k:] & there[:-k]).sum() for there in seen) for k in lags])
    if not pairs.all():
        raise ValueError(
            f"num_lags: {num_lags}, but no two values are {lags[pairs.argmin()]} apart: too many "
            "are missing. Choose fewer."
        )
    count = int(sum(there.sum() for there in seen))
    variance = sum(c @ c for c in columns) / count
    products = np.array([sum(c[k:] @ c[:-k] for c in columns) for k in lags])
    rho = products / pairs / variance
    statistic = float((count + 2) / count * (pairs * rho**2).sum())
    return LjungBox(rho, 1 / np.sqrt(pairs), statistic, float(chi2.sf(statistic, num_lags)))


def innovations(fit: FittedModel, data: Trajectories) -> list[Array]:
    """One-step innovations of the macroscale state, each with variance 1 if the model is right.

    Diffusion is that of forecasts: of the fit, or as `calibrated`.

    Args:
        fit: Of a model whose drift and decoder are linear, with point estimates for parameters.
        data: Trajectories, best not those that the model was fitted to.

    Returns:
        For each trajectory (time − 1, n_ζ), from its second snapshot on; NaN where what was
        observed does not tell all latent states apart.

    Raises:
        ValueError: A drift or decoder that is not linear, parameters with a posterior, microscale
            states that the decoder does not tell apart, or fields that do not fit the model.
    """
    check_kind("fit", fit, ("model", "guide", "metadata"), "what pyro_msde.fit gave")
    check_trajectories("data", fit.model, data)
    data = matched(fit.metadata, "data", data)
    A, C, H, R = linear_model(fit)
    model: Any = fit.model
    grid = model.grid
    exists = np.ones(len(R), bool) if grid.mask is None else grid.mask.reshape(-1)
    weighted = H / R[:, None]
    if not _tells_apart(weighted[exists].T @ H[exists]):
        raise ValueError(
            "fit: its decoder does not tell all latent states apart. Train longer, or with fewer."
        )
    fields = data.fields(grid.channels, grid.data_shape)
    out = []
    for t, y in zip(data.times, fields, strict=True):
        scaled = fit.scaling.to_scaled(torch.as_tensor(y, dtype=torch.float64), t)
        read, noise, readings = _readings(H, weighted, np.asarray(scaled), exists)
        start = np.full(len(A), model.initial_sd**2)
        times = t[read] / fit.scaling.time
        found = kalman_innovations(A, C, noise, readings, times, start, grid.num_zeta)
        out.append(np.full((len(t) - 1, grid.num_zeta), np.nan))
        out[-1][read[1:] - 1] = found
    return out


def _readings(
    H: Array, weighted: Array, scaled: Array, exists: Array
) -> tuple[Array, Array, Array]:
    """Which snapshots (time, channel, *space) tell all states apart, their N and ẑ.

    Args:
        H: (field, n) decoder.
        weighted: R⁻¹ H.
        scaled: NaN where nothing was observed.
        exists: (field,) where there is a field.
    """
    flat = scaled.reshape(len(scaled), -1)
    seen = ~np.isnan(flat) & exists
    if seen.all():
        noise = np.linalg.inv(weighted.T @ H)
        return np.arange(len(flat)), noise, flat @ weighted @ noise
    grams = np.stack([weighted[s].T @ H[s] for s in seen])
    read = np.flatnonzero([_tells_apart(gram) for gram in grams])
    noise = np.linalg.inv(grams[read])
    products = np.where(seen, flat, 0.0)[read] @ weighted
    return read, noise, np.einsum("ti,tij->tj", products, noise)


def _tells_apart(gram: Array) -> bool:
    """Whether Hᵀ R⁻¹ H can be inverted."""
    return bool(np.linalg.cond(gram) <= _MOST_CONDITION)


def kalman_innovations(
    drift: Array,
    diffusion: Array,
    noise: Array,
    readings: Array,
    times: Array,
    initial_var: Array,
    num_tested: int,
) -> Array:
    """Whitened innovations of the first components of ẑ_i = z(t_i) + N(0, N), dz = A z dt + L dβ.

    Args:
        drift: (n, n) A.
        diffusion: (n, n) C = L Lᵀ.
        noise: (n, n) or (time, n, n) N.
        readings: (time, n) ẑ.
        times: (time,).
        initial_var: (n,) variance of z(t₀), whose mean is 0.
        num_tested: How many components.

    Returns:
        (time − 1, num_tested), standard normal and independent if the model is right.
    """
    noise = np.broadcast_to(noise, (len(readings), *noise.shape[-2:]))
    mean, cov = np.zeros(len(drift)), np.diag(initial_var)
    steps: dict[float, tuple[Array, Array]] = {}
    whitened = []
    for i, reading in enumerate(readings):
        if i:
            step = float(f"{times[i] - times[i - 1]:.9e}")  # equal but for the times' rounding
            if step not in steps:
                steps[step] = transition(drift, diffusion, step)
            phi, Q = steps[step]
            mean, cov = phi @ mean, phi @ cov @ phi.T + Q
        total = cov + noise[i]
        e = reading - mean
        if i:
            chol = np.linalg.cholesky(total[:num_tested, :num_tested])
            whitened.append(np.linalg.solve(chol, e[:num_tested]))
        gain = np.linalg.solve(total, cov).T
        mean, cov = mean + gain @ e, noise[i] @ gain.T  # P − P S⁻¹ P = N S⁻¹ P
        cov = 0.5 * (cov + cov.T)
    return np.array(whitened).reshape(-1, num_tested)


@torch.no_grad()
def linear_model(fit: FittedModel) -> LinearModel:
    """The linear SDE and observation that a fit amounts to.

    Raises:
        ValueError: A drift or decoder that is not linear, parameters with a posterior, or
            adjustments of your own.
    """
    if others := adjustments_of_users(fit.adjustments):
        raise ValueError(
            f"fit: its adjustments {', '.join(others)} are no part of the linear model. Pass "
            "fit.without(…)."
        )
    if posterior_of(fit.guide) is not None:
        raise ValueError("fit: its parameters have a posterior. Fit a model without priors.")
    model, (dtype, device) = fit.model, place_of(fit.model)
    theta = model.bind({})
    clock = torch.zeros(1, 1, dtype=torch.float64, device=device)

    def field(z: torch.Tensor) -> torch.Tensor:
        return cropped(theta.observe(z).mean, model.grid.padding).flatten(1)

    def drift(z: torch.Tensor) -> torch.Tensor:
        return theta.drift(z[:, None, None], clock)[:, 0, 0]

    eye = torch.eye(model.num_latent, dtype=dtype, device=device)
    matrices = []
    for name, function in (("drift", drift), ("decoder", field)):
        matrix = function(eye)
        # one point more: enough for any bias or curvature but by a rare chance
        weights = torch.arange(2, 2 + len(eye)).to(eye) * torch.tensor(-1.5).to(eye)
        expected = weights @ matrix
        if not torch.allclose(
            function(weights[None])[0],
            expected,
            rtol=_LINEAR,
            atol=_LINEAR * float(expected.abs().max()),
        ):
            raise ValueError(f"fit: the model's {name} is not linear, as innovations need it.")
        matrices.append(matrix.T.double().cpu().numpy())
    noise = covariance(theta.diffusion.double(), noise_axes(theta))
    C = noise.cpu().numpy() * fit.diffusion_scale**2
    var = cropped(theta.observe(eye[0]).variance, model.grid.padding)
    R = var.flatten().double().cpu().numpy()
    return LinearModel(matrices[0], C, matrices[1], R)
