"""Forecasts of test trajectories as ArviZ data, all in the data's units.

Groups, for a field u with one axis x; [channel] if the data have such an axis; `time` is `snapshot`
with times (trajectory, snapshot) where trajectories have times of their own:

    posterior             diffusion_sd_zeta (…, [channel], x_coarse), diffusion_sd_eta
                          (…, microscale), observation_sd (…, [channel]), with … = chain, draw
    posterior_predictive  u (…, trajectory, time, [channel], x_probe), zeta (…, trajectory, time,
                          [channel], x_coarse), eta (…, trajectory, time, microscale), and on the
                          whole grid u_mean, u_sd, u_q05, u_q95 (trajectory, time, [channel], x)
    observed_data         u at the probes
    constant_data         u_field, the observed u on the whole grid, smoothing_kernel ([channel],
                          x_lag), field_scale ([channel]), time_scale, parameter_0, …
                          (trajectory), and all coordinates
    training              elbo, log_likelihood, drift_residual, kl_parameters (step),
                          validation (validation_step)

ArviZ pairs variables of `observed_data` with draws of the same name, so u_field is not there; it
takes those of `sample_stats` to have chain and draw, so the history is not there. The experts'
variances are left out: only their product's, Σ_y, is identified.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pyro_msde.arviz_io.frame import Frame, Variable
from pyro_msde.arviz_io.groups import constants, observed, posterior, predictive, training
from pyro_msde.forecasting import Forecast
from pyro_msde.trajectories import Trajectories

__all__ = ["to_arviz"]

Array = NDArray[Any]


def to_arviz(
    fit: Any,
    test: Trajectories,
    *,
    num_samples: int = 64,
    seed: int = 0,
    probes: Mapping[str, Any] | None = None,
    times: int | Sequence[float] = 50,
) -> Any:
    """Forecast every trajectory from its first snapshot and collect all in ArviZ's format.

    Args:
        fit: The `Fit`.
        test: Trajectories on the model's grid.
        num_samples: Latent paths, and draws.
        seed: Of the forecasts; trajectory k has seed + k if trajectories have times of their own.
        probes: Positions per axis of space, such as {"x": [0.5, 2.0]}, where draws of the field are
            kept; the nearest grid points are taken. Axes left out: the coarse points.
        times: How many snapshots of each trajectory to forecast, evenly spaced from the first to
            the last, or times to which to take the nearest snapshots.

    Returns:
        `arviz.InferenceData`; from ArviZ 1 on an `xarray.DataTree` with the same groups. Where θ
        is a point estimate, all draws of `posterior` are equal; where it is not and trajectories
        have times of their own, they are those of the first trajectory's forecast.

    Raises:
        ValueError: Data of another grid, an unknown axis, positions or times outside the data.
    """
    picked = _pick(test, times)
    truth = picked.to_xarray()
    frame = Frame.of(fit.model.grid, picked, truth["time"], probes)
    values = truth[test.name].values
    parameters: dict[str, Variable] = {}
    fields: dict[str, Variable] = {}
    for rows, fc in _forecasts(fit, test, picked, num_samples, seed):
        parameters = parameters or posterior(fit, fc, frame)
        for name, variable in predictive(fc, frame, seed).items():
            _insert(fields, name, variable, rows, values.shape[:2])
    inputs = truth[[str(name) for name in truth.data_vars if str(name).startswith("parameter_")]]
    groups = {
        "posterior": frame.dataset(parameters),
        "posterior_predictive": frame.dataset(fields),
        "observed_data": frame.dataset(observed(values, frame)),
        "constant_data": constants(fit, values, frame).assign(inputs.data_vars),
        "training": training(fit.history),
    }
    return _container({name: ds for name, ds in groups.items() if ds.data_vars})


def _pick(test: Trajectories, times: int | Sequence[float]) -> Trajectories:
    """Copies of the chosen snapshots."""
    if not isinstance(times, int):
        wanted = np.asarray(times, dtype=np.float64)
        outside = wanted[
            (wanted < min(t[0] for t in test.times)) | (wanted > max(t[-1] for t in test.times))
        ]
        if len(outside):
            raise ValueError(f"times: {outside.tolist()} before or after all trajectories.")
    index = [_choose(clock, times, k) for k, clock in enumerate(test.times)]
    return Trajectories(
        [t[i] for t, i in zip(test.times, index, strict=True)],
        [v[i] for v, i in zip(test.values, index, strict=True)],
        parameters=test.parameters,
        name=test.name,
        dims=test.dims,
        coords=test.coords,
        units=test.units,
    )


def _choose(clock: Array, times: int | Sequence[float], k: int) -> Array:
    """Indices of snapshots of one trajectory."""
    if isinstance(times, int):
        if times < 1:
            raise ValueError(f"times: {times} snapshots. Pass a positive number, or times.")
        count = min(times, len(clock))
        return np.unique(np.linspace(0, len(clock) - 1, count).round().astype(np.int64))
    wanted = np.asarray(times, dtype=np.float64).reshape(-1)
    wanted = wanted[(wanted >= clock[0]) & (wanted <= clock[-1])]
    if not len(wanted):
        raise ValueError(
            f"times: none within trajectory {k}, from {clock[0]:g} to {clock[-1]:g}. "
            "Leave it out or pass a number of snapshots."
        )
    return np.unique(np.abs(clock[:, None] - wanted).argmin(0))


def _forecasts(
    fit: Any, test: Trajectories, picked: Trajectories, num_samples: int, seed: int
) -> Iterator[tuple[Array, Forecast]]:
    """Rows of trajectories with their forecast: all at once, or one by one if times differ."""
    every = np.arange(len(test))
    for rows in [every] if test.common_times() is not None else every[:, None]:
        k = int(rows[0])
        fc: Forecast = fit.predict(
            np.stack([test.values[row][0] for row in rows]),
            picked.times[k],
            t0=float(test.times[k][0]),
            num_samples=num_samples,
            parameters=None if test.parameters is None else test.parameters[rows],
            seed=seed + k,
        )
        yield rows, fc


def _insert(
    into: dict[str, Variable], name: str, variable: Variable, rows: Array, size: tuple[int, ...]
) -> None:
    """Put some trajectories' values into an array for all of them, NaN where nothing is put."""
    dims, values, attrs = variable
    axis = dims.index("trajectory")
    if name not in into:
        shape = (*values.shape[:axis], *size, *values.shape[axis + 2 :])
        into[name] = (dims, np.full(shape, np.nan, dtype=values.dtype), attrs)
    into[name][1][(*(slice(None),) * axis, rows, slice(values.shape[axis + 1]))] = values


def _container(groups: dict[str, Any]) -> Any:
    """`InferenceData` where ArviZ has it, else what replaced it."""
    with warnings.catch_warnings():
        # announces ArviZ 1, which the other branch is for
        warnings.filterwarnings("ignore", r"\s*ArviZ is undergoing", FutureWarning)
        import arviz
    if hasattr(arviz, "InferenceData"):
        return arviz.InferenceData(**groups)
    return xr.DataTree.from_dict(groups)
