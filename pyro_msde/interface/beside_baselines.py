"""The last line of `fit`: what its validation forecasts are worth beside simple ones."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.baselines import FittedBaseline, simple_baselines
from pyro_msde.data import Batch, Trajectories, evenly_spaced
from pyro_msde.interface.fitted import Fit
from pyro_msde.interface.validation import relative_error, validation_score

__all__ = ["beside_baselines"]

Array = NDArray[Any]

_MOST = 32  # validation trajectories that are forecast


def beside_baselines(fit: Fit, train: Trajectories, validation: Trajectories) -> tuple[str, int]:
    """A line for the log, and its level: WARNING if a simple forecast errs less.

    The measure is the one by which training keeps its best parameters, of all validation
    trajectories or, if there are many, of some. Where the fit's reference is a mean cycle, simple
    forecasts have it too.
    """
    some, own = validation, fit.history.kept_score
    if own is None or len(validation) > _MOST:
        some = validation[evenly_spaced(len(validation), _MOST)]
        own = validation_score(fit, some)
    weights = _weights(fit)
    scores = {
        baseline.name: _error(baseline.fit(train, some, weights=weights), fit, some)
        for baseline in simple_baselines(fit.scaling.reference.period)
    }
    best = min(scores, key=lambda name: scores[name])
    ours, theirs = (f"{100 * score:.3g}%" for score in (own, scores[best]))
    if scores[best] < own:
        return (
            f"validation NRMSE {ours}, but {best} has {theirs}: a simple forecast does better. "
            "pyro_msde.compare tells at which lead times.",
            logging.WARNING,
        )
    return f"validation NRMSE {ours}; best simple forecast: {best}, {theirs}", logging.INFO


def _weights(fit: Fit) -> Any:
    """By which channels of any units weigh alike; None: there is one."""
    channels = np.asarray(fit.scaling.channels)
    if len(channels) == 1:
        return None
    return (channels.min() / channels).reshape(-1, *[1] * fit.model.grid.ndim) ** 2


def _error(baseline: FittedBaseline, fit: Fit, validation: Trajectories) -> float:
    """`relative_error` of a baseline's forecasts."""

    def mean(values: Array, batch: Batch, every: int) -> Array:
        leads = (batch.times - batch.times[0])[::every]
        return np.asarray(baseline.forecast(values, leads, batch.start).mean)

    return relative_error(fit, validation, mean)
