"""Linear dynamics of POD coefficients, dz/dt = A z, by dynamic mode decomposition with PyDMD.

Two ways to find A's eigenvalues ω and eigenvectors W from several trajectories:

* "exact" (Tu et al. 2014): least squares over the snapshot pairs, a lag apart, of all of them;
* "optimised" (Askham & Kutz 2018; PyDMD's `BOPDMD` without bagging): exponentials of common ω are
  fitted to all trajectories at once, stacked as one state; each has modes of its own, which should
  be multiples of W's columns: the leading singular vectors over the trajectories are taken.

A forecast from y(t₀) is W exp(ω (t − t₀)) b with W b = Φᵀ y(t₀) in least squares. Rank, way and lag
are chosen on validation. Where trajectories have covariates, the model may be that of the training
trajectory whose covariates are nearest alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import trajectory_error
from pyro_msde import Trajectories
from pyro_msde.baselines import pod_basis

__all__ = [
    "LinearModel",
    "NearestModel",
    "candidates",
    "choose",
    "exact",
    "nearest_candidates",
    "optimised",
]

Array = NDArray[Any]

_NUM_TIMES = 100  # about as many of each trajectory enter the optimised fit


@dataclass(frozen=True)
class LinearModel:
    """dz/dt = W diag(ω) W⁻¹ z of coefficients z = Φᵀ y.

    Attributes:
        basis: Φ (point, rank).
        modes: W (rank, mode), complex.
        rates: ω (mode,), complex.
    """

    basis: Array
    modes: Array
    rates: Array

    def forecast(self, y0: Array, times: Array, covariates: Array | None = None) -> Array:
        """(time, *space) from y0 (*space) at times[0], whatever the covariates."""
        amplitudes = np.linalg.lstsq(self.modes, self.basis.T @ y0.ravel(), rcond=None)[0]
        with np.errstate(over="ignore", invalid="ignore"):
            powers = np.exp(np.outer(times - times[0], self.rates)) * amplitudes
            z = (powers @ self.modes.T).real
            return np.asarray(z @ self.basis.T).reshape(len(times), *y0.shape)


@dataclass(frozen=True)
class NearestModel:
    """A model for each of some training trajectories, of which that with the nearest covariates.

    Attributes:
        covariates: (model, p).
        models: Theirs.
    """

    covariates: Array
    models: tuple[LinearModel, ...]

    def forecast(self, y0: Array, times: Array, covariates: Array | None = None) -> Array:
        """As `LinearModel.forecast`; covariates (p,).

        Raises:
            ValueError: There are none.
        """
        if covariates is None:
            raise ValueError("covariates: give those of the trajectory.")
        return self.models[nearest(self.covariates, covariates)].forecast(y0, times)


def nearest(known: Array, covariates: Array) -> int:
    """Which row of `known` (row, p) is nearest to covariates (p,), each in its own spread."""
    spread = known.std(0)
    return int(np.square((known - covariates) / np.where(spread > 0, spread, 1)).sum(1).argmin())


def exact(times: Array, states: list[Array], basis: Array, lag: int) -> LinearModel:
    """Exact DMD over all pairs of snapshots `lag` apart.

    Args:
        times: (time,) evenly spaced.
        states: Per trajectory (time, rank) coefficients.
        basis: Φ (point, rank).
        lag: In snapshots.

    Raises:
        ImportError: Without PyDMD.
    """
    fit = _pydmd().DMD(svd_rank=-1)  # of the coefficients' full rank
    before = np.concatenate([z[:-lag] for z in states]).T
    after = np.concatenate([z[lag:] for z in states]).T
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the condition number of the snapshots
        fit.fit(before, after)
    rates = np.log(fit.eigs.astype(complex)) / (times[lag] - times[0])
    return LinearModel(basis, np.asarray(fit.modes), rates)


def optimised(times: Array, states: list[Array], basis: Array) -> LinearModel:
    """Optimised DMD of all trajectories with common rates, none of which may grow.

    Arguments and errors as for `exact`.
    """
    rank = basis.shape[1]
    every = max(1, (len(times) - 1) // _NUM_TIMES)
    stacked = np.concatenate([z[::every].T for z in states])
    fit = _pydmd().BOPDMD(
        svd_rank=rank,
        num_trials=0,
        eig_constraints={"stable"},
        use_proj=True,
        varpro_opts_dict={"verbose": False},
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where it stops before its tolerance
        fit.fit(stacked, times[::every] - times[0])
    each = (fit.modes * fit.amplitudes).reshape(len(states), rank, -1)
    common = [np.linalg.svd(each[:, :, j].T)[0][:, 0] for j in range(each.shape[2])]
    return LinearModel(basis, np.stack(common, axis=1), np.asarray(fit.eigs))


def candidates(
    train: Trajectories, ranks: tuple[int, ...], lags: tuple[int, ...] = (1, 10, 50, 100)
) -> dict[str, LinearModel]:
    """Models of all ranks, ways and lags up to half the horizon, by what they are called.

    Raises:
        ImportError: Without PyDMD.
        ValueError: Training trajectories with times of their own.
    """
    times = train.common_times()
    if times is None:
        raise ValueError("train: times differ between trajectories; resample them first.")
    widest = pod_basis(train, max(ranks))
    coefficients = [v.reshape(len(v), -1) @ widest for v in train.values]
    found: dict[str, LinearModel] = {}
    for rank in ranks:
        basis, states = widest[:, :rank], [z[:, :rank] for z in coefficients]
        for lag in (n for n in lags if 2 * n < len(times)):
            found[f"exact, rank {rank}, lag {lag}"] = exact(times, states, basis, lag)
        try:
            found[f"optimised, rank {rank}"] = optimised(times, states, basis)
        except (ValueError, np.linalg.LinAlgError):
            continue  # too many exponentials for these data
    return found


def nearest_candidates(
    train: Trajectories, ranks: tuple[int, ...], wanted: Array
) -> dict[str, NearestModel]:
    """As `candidates`, of single trajectories: those nearest to covariates (unseen, p)."""
    if train.covariates is None:
        raise ValueError("train: trajectories without covariates have no nearest ones.")
    rows = sorted({nearest(train.covariates, p) for p in wanted})
    each = [candidates(train[k], ranks) for k in rows]
    names = [name for name in each[0] if all(name in models for models in each)]
    return {
        f"{name}, of the nearest covariates": NearestModel(
            train.covariates[rows], tuple(models[name] for models in each)
        )
        for name in names
    }


def choose(
    models: Mapping[str, LinearModel | NearestModel], validation: Trajectories
) -> tuple[str, dict[str, float]]:
    """Name of the model with the smallest mean error on validation, and all errors."""

    def error(model: LinearModel | NearestModel) -> float:
        return float(np.mean([_error(model, one) for one in validation]))

    errors = {name: error(model) for name, model in models.items()}
    return min(errors, key=errors.__getitem__), errors


def _error(model: LinearModel | NearestModel, one: Trajectories) -> float:
    y, covariates = one.values[0], None if one.covariates is None else one.covariates[0]
    return trajectory_error(model.forecast(y[0], one.times[0], covariates), y)


def _pydmd() -> Any:
    try:
        import pydmd
    except ImportError as error:
        raise ImportError("pydmd is missing: pip install 'pyro-msde[benchmarks]'.") from error
    return pydmd
