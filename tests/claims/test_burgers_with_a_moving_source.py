"""Burgers' equation with a source that moves: a control says where it is, places where a point is.

u_t = −½ (u²)_x + ν u_xx + s exp(κ (cos 2π(x − p(t)) − 1)),    p(t) = p₀ + v t + wobbles.
"""

from __future__ import annotations

import numpy as np
import pytest

import pyro_msde
from pyro_msde.datasets.burgers_equation import points_periodic, solve_periodic
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale

POINTS, COARSE, NU = 64, 16, 0.01
STEPS, DT, KICKS = 100, 0.01, 4
SOURCE, SHARPNESS = 1.0, 4.0
_TIMES_BETTER = 3.0  # than without knowing where the source is


def solved(initial, place):
    """(step + 1, x); half of the source before each step of the equation, half after it."""
    x, h, u = points_periodic(POINTS), DT / KICKS, initial
    snapshots = [u]
    for i in range(STEPS * KICKS):
        kicks = [
            0.5 * h * SOURCE * np.exp(SHARPNESS * (np.cos(2 * np.pi * (x - place(t))) - 1))
            for t in (i * h, (i + 1) * h)
        ]
        u = solve_periodic(u + kicks[0], NU, num_steps=1, dt=h)[-1] + kicks[1]
        if (i + 1) % KICKS == 0:
            snapshots.append(u)
    return np.stack(snapshots)


def moving_sources(count, seed):
    rng = np.random.default_rng(seed)
    times, x = DT * np.arange(STEPS + 1), points_periodic(POINTS)
    values, controls = [], []
    for _ in range(count):
        p, v, a, f = rng.uniform(0, 1), rng.uniform(-1, 1), rng.uniform(0, 0.2), rng.uniform(1, 3)

        def place(t, p=p, v=v, a=a, f=f):
            return p + v * t + a * np.sin(2 * np.pi * f * t)

        start = rng.normal(0, 0.3) * np.sin(2 * np.pi * (x - rng.uniform(0, 1)))
        values.append(solved(start, place))
        angle = 2 * np.pi * place(times)
        controls.append(np.stack([np.cos(angle), np.sin(angle)], 1))
    return pyro_msde.Trajectories(
        times, values, controls=controls, control_names=["cos_place", "sin_place"]
    )


def error_of(data, test):
    controls = 0 if data.controls is None else 2
    model = multiscale(
        (POINTS,), (COARSE,), located=True, half_width=2, num_controls=controls, width=64
    )
    result = pyro_msde.fit(
        model,
        AmortizedGP(model),
        data,
        steps=400,
        length=25,
        stride=2,
        learning_rate=5e-3,
        jackknife=False,
        progress=False,
    )
    return float(np.mean(pyro_msde.nrmse(result.forecast(test, num_samples=8), test)))


@pytest.mark.slow
def test_a_source_is_followed_that_moves_as_none_did_in_training():
    data, test = moving_sources(16, seed=0), moving_sources(6, seed=1)
    blind = (pyro_msde.Trajectories(d.times, d.values) for d in (data, test))
    error = error_of(data, test)
    unaware = error_of(*blind)
    assert error * _TIMES_BETTER < unaware
