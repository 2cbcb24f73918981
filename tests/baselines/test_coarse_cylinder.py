from __future__ import annotations

import numpy as np
import pytest

from benchmarks import coarse_cylinder
from benchmarks.errors import trajectory_error
from pyro_msde import Trajectories
from pyro_msde.datasets.cylinder import X, Y
from pyro_msde.datasets.cylinder_equation import Resolution, solve_cylinder

FEW = Resolution(cylinder=0.04, wake=0.12, far=0.3, dt=2e-3)
FEWER = Resolution(cylinder=0.08, wake=0.3, far=0.5, dt=2e-3)
TIMES = np.array([0.04, 0.06, 0.08])


@pytest.fixture(scope="module")
def data():
    """The first moments at two Reynolds numbers, by few elements."""
    pytest.importorskip("ngsolve")
    rng = np.random.default_rng(0)
    values = [solve_cylinder(re, TIMES, X, Y, rng, FEW).velocity for re in (60.0, 150.0)]
    return Trajectories(
        TIMES, values, missing="mask", channel_names=("u", "v"), covariates=[60.0, 150.0]
    )


def test_the_same_elements_go_on_from_a_snapshot(data, monkeypatch):
    monkeypatch.setattr(coarse_cylinder, "RESOLUTIONS", {"fewer": FEWER, "few": FEW})
    name, errors = coarse_cylinder.choose(data)
    assert name == "few"
    still = [trajectory_error(np.broadcast_to(v[0], v.shape), v) for v in data.values]
    assert errors["few"] < 0.25 * np.mean(still)


def test_a_blow_up_is_no_forecast(data, monkeypatch):
    monkeypatch.setattr(coarse_cylinder, "RESOLUTIONS", {"few": FEW})
    wild = Trajectories(TIMES, 50 * data.values[0][None], missing="mask", covariates=[60.0])
    assert np.isinf(coarse_cylinder.forecast(wild, "few")).all()
