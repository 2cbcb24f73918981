"""The score by which training keeps its best parameters: NRMSE of validation forecasts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pyro_msde.data import (
    Batch,
    Metadata,
    Scaling,
    Segments,
    Trajectories,
    check_trajectories,
    common_batches,
    matched,
    scaled_segments,
    since_first_observed,
)
from pyro_msde.forecasts import LARGEST_FIELD, controls_of
from pyro_msde.interface.fitted import Fit
from pyro_msde.interface.validation_steps import validation_step
from pyro_msde.protocols import Model, Places

__all__ = ["checked_validation", "judging", "relative_error", "validation_score"]

Array = NDArray[Any]

_LONGEST_VALIDATION = 40  # training horizons: 10 000 steps of 16 paths


def validation_score(fit: Fit, validation: Trajectories, num_samples: int = 16) -> float:
    """`relative_error` of the fit's own forecasts, with one seed every time."""

    def mean(values: Array, batch: Batch, every: int) -> Array:
        covariates = validation.covariates
        fc = fit.predict(
            values,
            batch.times[::every],
            t0=batch.start,
            num_samples=num_samples,
            covariates=None if covariates is None else covariates[batch.rows],
            **controls_of(validation, batch),
            max_step=validation_step(fit),
        )
        return fc.mean.double().numpy()

    return relative_error(fit, validation, mean)


def relative_error(
    fit: Fit, validation: Trajectories, mean: Callable[[Array, Batch, int], Array]
) -> float:
    """Mean over trajectories of sqrt(mean_t ‖error‖² / mean_t ‖y‖²), at about 50 times each.

    Each against its own size less the fit's reference, as snapshots may be zero; one that is zero
    throughout against the training data's. Channels count alike, in units of the training data's
    size. Only what was observed counts. Infinite where a forecast is not finite.

    Args:
        fit: Whose units, reference and mask these are.
        validation: Trajectories to forecast from their first snapshots.
        mean: From first snapshots (row, *field), the batch they are of, and a stride, to forecasts
            (row, time, *field) at every so many of the batch's times.
    """
    ndim = fit.model.grid.ndim
    unit = np.reshape(fit.scaling.channels, (-1, *(1,) * ndim))  # whose squares any dtype holds
    unit = unit if fit.has_channel else unit[0]
    errors = []
    for batch in common_batches(validation):
        every = max(1, (len(batch.times) - 1) // 50)
        y = np.stack([validation.values[k][::every] for k in batch.rows])
        clock = np.expand_dims(batch.start, -1) + (batch.times - batch.times[0])[::every]
        anomaly = y.astype(np.float64) - fit.reference_at(clock)
        seen = np.isfinite(anomaly) & fit.mask
        axes = tuple(range(1, y.ndim))
        with np.errstate(over="ignore", invalid="ignore"):  # of forecasts that blow up
            error = np.square((mean(y[:, 0], batch, every) - y) / unit).mean(axes, where=seen)
        size = np.square(anomaly / unit).mean(axes, where=seen)
        errors.append(np.sqrt(error / np.where(size > 0, size, 1.0)))
    score = float(np.concatenate(errors).mean())
    return score if np.isfinite(score) else float("inf")


def checked_validation(
    validation: Trajectories, data: Trajectories, model: Model, scaling: Scaling
) -> Trajectories:
    """Validation trajectories in the training data's names and units, before any training.

    Raises:
        ValueError: They are of another grid than these, take too many steps to be forecast, or
            start far from the training data.
    """
    check_trajectories("validation", model, validation)
    validation = matched(Metadata.of(data), "validation", validation)
    if validation.field_shape != data.field_shape:
        raise ValueError(
            f"validation: fields {validation.field_shape}, but data has {data.field_shape}. "
            "Give both the same grid, and a channel axis or none."
        )
    validation = since_first_observed(validation, model.grid, "validation")
    fields = validation.fields(model.grid.channels, model.grid.data_shape)
    for k, (t, v) in enumerate(zip(validation.times, fields, strict=True)):
        if scaling.link is not None:
            scaling.link.check("validation", v, trajectory=k)
        anomaly = v[0] - scaling.reference.at(t[0]) if scaling.reference else v[0]
        span = (t[-1] - t[0]) / scaling.time
        if span > _LONGEST_VALIDATION:
            raise ValueError(
                f"validation: trajectory {k} lasts {span:.3g} training horizons, and is forecast "
                f"at every validation. Pass at most {_LONGEST_VALIDATION}, as with "
                "validation.until(…)."
            )
        size = float(np.nanmax(np.abs(anomaly), initial=0.0)) / max(scaling.channels)
        if size > LARGEST_FIELD:
            raise ValueError(
                f"validation: trajectory {k} starts at {size:.3g} times the root mean square of "
                "the training data. Check its units."
            )
    return validation


def judging(
    validation: Trajectories, scaling: Scaling, grid: Places, dtype: torch.dtype
) -> Segments | None:
    """Checked validation trajectories as starts are judged by; None: all are single snapshots."""
    lasting = [k for k, t in enumerate(validation.times) if len(t) > 1]
    if not lasting:
        return None
    like = torch.empty(0, dtype=dtype)
    return scaled_segments(validation[lasting], scaling, grid, like, length=2)
