"""Fields between walls: what is given comes back up to the ends, and equations are found there."""

from __future__ import annotations

import numpy as np
import pytest

import pyro_msde
from pyro_msde import Trajectories
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale

POINTS, NU = 96, 0.02
X = (np.arange(POINTS) + 0.5) / POINTS
TIMES = 0.05 * np.arange(41)


def heated(count: int, seed: int) -> Trajectories:
    """Heat between insulated walls, exactly, with noise of 1e-3: u_t = .02 u_xx."""
    rng = np.random.default_rng(seed)
    fields = []
    for _ in range(count):
        u = np.full((len(TIMES), POINTS), 20 + rng.normal())
        for k in range(1, 5):
            decay = np.exp(-NU * (np.pi * k) ** 2 * TIMES)[:, None]
            u += rng.normal() * decay * np.cos(np.pi * k * X)
        fields.append(u + 1e-3 * rng.standard_normal(u.shape))
    return Trajectories(TIMES, np.stack(fields), dims=("x",), coords={"x": X})


def test_heat_between_insulated_walls_is_forecast_up_to_these() -> None:
    """At first and last the mean errs by less than a fiftieth of anomalies, at the ends, too."""
    train, validation = heated(6, 0), heated(2, 1)
    model = multiscale.like(train, coarse=48)
    assert model.grid.stride == (2,)
    fit = pyro_msde.fit(
        model, AmortizedGP(model), train, validation=validation, steps=20, progress=False
    )
    fresh = heated(3, 2)
    fc = fit.forecast(fresh, num_samples=16)
    truth = np.stack(fresh.values)
    size = np.sqrt(np.square(truth - truth.mean((1, 2), keepdims=True)).mean())
    assert fit.equation.coefficients["u"] == {"u_xx": pytest.approx(NU, rel=0.01)}
    for when in (0, -1):
        away = np.asarray(fc.mean)[:, when] - truth[:, when]
        assert np.abs(away).max() < 0.02 * size
