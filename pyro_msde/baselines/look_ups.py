"""What a sceptic would try first: forecasts that look training trajectories up.

All but persistence are weighted sums of training trajectories, with weights that the first snapshot
of an unseen one decides; the training data are neither stacked nor copied. Beyond the training
horizon the last training snapshot is held. Results are (trajectory, time, *field).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.checks import check_kind, check_whole
from pyro_msde.data import Trajectories, common_batches, to_numpy
from pyro_msde.renaming import renamed_arguments

__all__ = [
    "choose_regression",
    "mean_trajectory",
    "nearest_trajectory",
    "persistence",
    "principal_regression",
]

Array = NDArray[Any]

COMPONENTS = (1, 2, 3, 4, 6, 8)
_MOST_TIMES = 2**31
_MOST_NUMBERS = 2**28  # in a forecast: two gigabytes
_NUM_TIMES = 100  # about as many at which cross-validation compares


def persistence(y0: Array, num_times: int) -> Array:
    """The first snapshot for ever: a view of y0 (trajectory, *field)."""
    y0 = _finite(y0, "y0")
    num_times = check_whole("num_times", num_times, 1, _MOST_TIMES)
    return np.broadcast_to(y0[:, None], (len(y0), num_times, *y0.shape[1:]))


def mean_trajectory(train: Trajectories, y0: Array, num_times: int | None = None) -> Array:
    """The average of the training trajectories, whatever y0: a view.

    Args:
        train: Training trajectories on common times.
        y0: (trajectory, *field) first snapshots, of which only the number matters.
        num_times: Snapshots to give; None: as many as the training trajectories have.

    Raises:
        ValueError: Training trajectories with times of their own.
    """
    check_kind("train", train, ("times", "values"), "pyro_msde.Trajectories")
    y0 = _finite(y0, "y0")
    mean = _combine(train, np.full((1, len(train)), 1 / len(train)), num_times)
    return np.broadcast_to(mean, (len(y0), *mean.shape[1:]))


@renamed_arguments(parameters="covariates")
def nearest_trajectory(
    train: Trajectories, y0: Array, num_times: int | None = None, *, covariates: Array | None = None
) -> Array:
    """The training trajectory whose first snapshot is nearest to y0.

    Where there are covariates, squared distances of snapshots and of covariates are each divided by
    their mean over pairs of training trajectories, and added.

    Args:
        train: Training trajectories on common times.
        y0: (trajectory, *field) first snapshots.
        num_times: Snapshots to give; None: as many as the training trajectories have.
        covariates: (trajectory, p), if the training trajectories have them.

    Raises:
        ValueError: Training trajectories with times of their own; covariates that only one side
            has.
    """
    check_kind("train", train, ("times", "values"), "pyro_msde.Trajectories")
    y0, covariates = _unseen(train, y0, covariates)
    starts = _starts(train)
    distance = _relative_distance(y0.reshape(len(y0), -1), starts)
    if covariates is not None and train.covariates is not None:
        distance = distance + _relative_distance(covariates, train.covariates)
    return _combine(train, np.eye(len(train))[distance.argmin(1)], num_times)


@renamed_arguments(parameters="covariates")
def principal_regression(
    train: Trajectories,
    y0: Array,
    num_times: int | None = None,
    *,
    covariates: Array | None = None,
    components: int = 2,
    degree: int = 1,
) -> Array:
    """Regression of the whole trajectory on principal components of its first snapshot.

    Args:
        train: Training trajectories on common times.
        y0: (trajectory, *field) first snapshots.
        num_times: Snapshots to give; None: as many as the training trajectories have.
        covariates: (trajectory, p), if the training trajectories have them: regressors too.
        components: Principal components.
        degree: 1: linear in the regressors; 2: their products as well.

    Raises:
        ValueError: Training trajectories with times of their own; covariates that only one side
            has.
    """
    check_kind("train", train, ("times", "values"), "pyro_msde.Trajectories")
    components = check_whole("components", components, 1)
    degree = check_whole("degree", degree, 1, 2)
    y0, covariates = _unseen(train, y0, covariates)
    known = _Known(_starts(train), train.covariates)
    unseen = _Known(y0.reshape(len(y0), -1).astype(np.float64), covariates)
    return _combine(train, _regression_weights(known, unseen, components, degree), num_times)


def choose_regression(train: Trajectories) -> tuple[int, int]:
    """Components and degree with the smallest leave-one-out NRMSE on the training trajectories.

    Of 1, 2, 3, 4, 6 and 8 components, linear or quadratic, as far as there are more trajectories
    than coefficients. The principal components are found anew without the one left out.

    Raises:
        ValueError: Fewer than four training trajectories.
    """
    check_kind("train", train, ("times", "values"), "pyro_msde.Trajectories")
    if len(train) < 4:
        raise ValueError(f"train: {len(train)} trajectories are too few to leave one out; give 4.")
    grams = list(_gram_matrices(train))
    starts = _starts(train)
    left, values, _ = np.linalg.svd(starts - starts.mean(0), full_matrices=False)
    known = _Known(left * values, train.covariates)  # same distances, fewer numbers
    extra = 0 if train.covariates is None else train.covariates.shape[1]
    options = [
        (c, degree)
        for degree in (1, 2)
        for c in COMPONENTS
        if _num_features(c + extra, degree) < len(train) - 1
    ]
    return min(options, key=lambda option: _leave_one_out(known, grams, *option))


class _Known:
    """What is known of trajectories beforehand: starts (trajectory, any) and covariates."""

    def __init__(self, starts: Array, covariates: Array | None) -> None:
        self.starts, self.covariates = starts, covariates

    def __getitem__(self, rows: Any) -> _Known:
        covariates = None if self.covariates is None else self.covariates[rows]
        return _Known(self.starts[rows], covariates)


def _regression_weights(known: _Known, unseen: _Known, components: int, degree: int) -> Array:
    """(unseen, training trajectory): least squares is a weighted sum of what was seen."""
    centre = known.starts.mean(0)
    axes = np.linalg.svd(known.starts - centre, full_matrices=False)[2][:components]
    seen, new = ((k.starts - centre) @ axes.T for k in (known, unseen))
    if known.covariates is not None and unseen.covariates is not None:
        seen = np.column_stack([seen, known.covariates - known.covariates.mean(0)])
        new = np.column_stack([new, unseen.covariates - known.covariates.mean(0)])
    size = seen.std(0)
    size[size == 0] = 1.0
    inverse = np.linalg.pinv(_features(seen / size, degree))
    return np.asarray(_features(new / size, degree) @ inverse)


def _num_features(regressors: int, degree: int) -> int:
    return 1 + regressors + (degree == 2) * regressors * (regressors + 1) // 2


def _features(x: Array, degree: int) -> Array:
    """One, x, and for degree 2 the products x_i x_j."""
    columns = [np.ones(len(x)), *x.T]
    if degree == 2:
        i, j = np.triu_indices(x.shape[1])
        columns += [*(x[:, i] * x[:, j]).T]
    return np.column_stack(columns)


def _leave_one_out(known: _Known, grams: list[Array], components: int, degree: int) -> float:
    """Mean over trajectories of the NRMSE of each, forecast from the others."""
    errors = []
    for k in range(len(known.starts)):
        others = np.delete(np.arange(len(known.starts)), k)
        residual = np.zeros(len(known.starts))
        weights = _regression_weights(known[others], known[[k]], components, degree)
        residual[others], residual[k] = -weights[0], 1.0
        # where nothing is left, rounding may leave less
        ratios = [max(float(residual @ gram @ residual), 0.0) / gram[k, k] for gram in grams]
        errors.append(np.sqrt(np.mean(ratios)))
    return float(np.mean(errors))


def _gram_matrices(train: Trajectories) -> Iterator[Array]:
    """Inner products (trajectory, trajectory) of the snapshots at about `_NUM_TIMES` times."""
    length = _common_length(train)
    for i in range(0, length, max(1, (length - 1) // _NUM_TIMES)):
        snapshots = np.stack([v[i].ravel() for v in train.values]).astype(np.float64)
        yield snapshots @ snapshots.T


def _combine(train: Trajectories, weights: Array, num_times: int | None) -> Array:
    """Σ_k weights[i, k] · trajectory k, in the data's type; its last snapshot held at the end."""
    length = _common_length(train)
    if num_times is None:
        num_times = length
    most = max(1, _MOST_NUMBERS // (len(weights) * math.prod(train.field_shape)))
    num_times = check_whole("num_times", num_times, 1, most)
    known = min(length, num_times)
    values = train.values
    out = np.zeros((len(weights), num_times, *train.field_shape), dtype=values[0].dtype)
    for i, k in np.argwhere(weights):
        out[i, :known] += values[k].dtype.type(weights[i, k]) * values[k][:known]
    out[:, known:] = out[:, known - 1 : known]
    return out


def _relative_distance(y: Array, known: Array) -> Array:
    """Squared distances (y, known), divided by their mean between members of `known`."""
    spread = 2 * known.var(0, ddof=1).sum() if len(known) > 1 else 1.0
    squares = np.stack([np.square(one.astype(np.float64) - known).sum(1) for one in y])
    return np.asarray(squares / (spread or 1.0))


def _starts(train: Trajectories) -> Array:
    """(trajectory, point) first snapshots, float64."""
    return np.stack([v[0].ravel() for v in train.values]).astype(np.float64)


def _common_length(train: Trajectories) -> int:
    batches = common_batches(train)
    if len(batches) > 1:
        raise ValueError("train: lead times differ between trajectories; resample them first.")
    return len(batches[0].times)


def _unseen(train: Trajectories, y0: Any, covariates: Any) -> tuple[Array, Array | None]:
    """First snapshots (trajectory, *field) and covariates (trajectory, p)."""
    y0 = _finite(y0, "y0")
    if y0.shape[1:] != train.field_shape:
        raise ValueError(
            f"y0: shape {y0.shape} is not (trajectory, *field) with the training fields' "
            f"{train.field_shape}."
        )
    if (train.covariates is None) != (covariates is None):
        raise ValueError(
            "covariates: only one of training and unseen trajectories has them. Pass both or none."
        )
    if train.covariates is None:
        return y0, None
    unseen = _finite(covariates, "covariates").astype(np.float64)
    expected = (len(y0), train.covariates.shape[1])
    if unseen.shape != expected:
        raise ValueError(f"covariates: shape {unseen.shape}. Pass {expected}.")
    return y0, unseen


def _finite(values: Any, argument: str) -> Array:
    """Numbers of some trajectories.

    Raises:
        ValueError: None, or NaN or infinity among them.
    """
    array = to_numpy(values, argument)
    if array.ndim == 0 or not len(array):
        raise ValueError(f"{argument}: shape {array.shape} holds no trajectory. Pass one or more.")
    bad = int((~np.isfinite(array)).sum())
    if bad:
        raise ValueError(
            f"{argument}: NaN or infinite, {bad} of {array.size}. Fill or drop them. (Masked and "
            "missing values are read as NaN.)"
        )
    return array
