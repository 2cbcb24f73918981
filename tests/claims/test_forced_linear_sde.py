"""A learned forced SDE forecasts under controls that training did not have, as the exact one."""

from __future__ import annotations

import numpy as np
from forced import exact_mean, forced_data

import pyro_msde
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale

_LARGEST = 0.15  # of the exact mean's size; 0.05 after 300 steps, which no test waits for
_TIMES_BETTER = 4.0  # than without the controls, whose mean knows nothing of the force


def forecast_error(data, test, truth):
    """Of the forecast's mean, relative to the exact one."""
    controls = 0 if data.controls is None else 1
    model = multiscale((4,), (4,), half_width=0, num_controls=controls, width=32)
    result = pyro_msde.fit(
        model,
        AmortizedGP(model),
        data,
        steps=100,
        length=24,
        stride=2,
        learning_rate=1e-2,
        jackknife=False,
        progress=False,
    )
    mean = result.forecast(test, num_samples=16).mean.numpy()
    return np.sqrt(np.square(mean - truth).mean() / np.square(truth).mean())


def test_the_mean_under_unseen_controls_is_the_exact_one():
    data, test = forced_data(8, seed=0), forced_data(8, seed=1)
    each = zip(test.values, test.times, test.controls, strict=True)
    truth = np.stack([exact_mean(v[0], t, u) for v, t, u in each])
    error = forecast_error(data, test, truth)
    blind = (pyro_msde.Trajectories(d.times, d.values) for d in (data, test))
    assert error < _LARGEST
    assert error * _TIMES_BETTER < forecast_error(*blind, truth)
