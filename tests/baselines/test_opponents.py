from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.errors import trajectory_error
from benchmarks.opponents import OPPONENTS
from pyro_msde.datasets.kdv import KDV
from pyro_msde.datasets.problem import Problem

TESTED_APART = ("dmd", "pde-find", "fno")  # with data that they can do something with


@pytest.fixture(scope="module")
def data():
    """Short trajectories; those not to train on are twice as long, as in the hard splits."""
    parts = {"train": (6, 0.07), "validation": (2, 0.14), "test": (3, 0.14)}
    return replace(KDV, parts={"published": parts}).splits()


@pytest.mark.parametrize(
    "name", [n for n in OPPONENTS if n not in (*TESTED_APART, "period") and "pod" not in n]
)
def test_every_opponent_scores_every_test_trajectory(name, data):
    case = SimpleNamespace(problem=KDV, coarse=(20,), n_eta=3)
    outcome = OPPONENTS[name](case, "published", data, 0, 2)
    assert outcome.status == "ok"
    assert outcome.errors.shape == (3,)
    # no forecast of noisy data errs by less than about the noise
    floor = OPPONENTS["noise-floor"](case, "published", data, 0, 2).errors
    assert (outcome.errors > 0.9 * floor).all()


def vortices(initial, covariates, num_steps, dt):
    """Two channels on 6 × 4 points with a solid at (2, 1): a wave that travels once in .3.

    Or as fast as its covariate says.
    """
    speed = covariates[0] if covariates else 1 / 0.3
    t, x, y = np.ogrid[: num_steps * dt : (num_steps + 1) * 1j, 0:6, 0:4]
    phase = 2 * np.pi * (x / 6 - speed * t) + initial
    fields = [1 + 0.2 * np.cos(phase) * y, 0.5 * np.sin(phase) + 0 * y]
    out = np.stack(fields, 1)
    out[:, :, 2, 1] = np.nan
    return out


@pytest.fixture(scope="module")
def flow():
    """A trajectory of 2.4 cut at 2.0 and 2.2, as the published cylinder flow is."""
    problem = Problem(
        name="flow",
        parts={"published": {"train": (1, 2.4)}},
        draw={"published": lambda rng: (0.0, ())},
        solve=vortices,
        coords={"x": np.arange(6.0), "y": np.arange(4.0)},
        dt=0.01,
        noise_sd=0.0,
        cuts={"published": (2.0, 2.2)},
        variables=("u", "v"),
        keep_clean=False,
    )
    return SimpleNamespace(problem=problem, coarse=(3, 2), n_eta=1), problem.splits()


@pytest.fixture(scope="module")
def flows():
    """Waves of several speeds, each from a phase of its own."""
    problem = Problem(
        name="flow",
        parts={"hard": {"train": (6, 3.0), "validation": (2, 3.0), "test": (2, 3.0)}},
        draw={"hard": lambda rng: (rng.uniform(0, 6.28), (0.0,))},
        solve=vortices,
        coords={"x": np.arange(6.0), "y": np.arange(4.0)},
        dt=0.01,
        noise_sd=0.0,
        covariates={"hard": ("speed",)},
        designed={
            "hard": {
                "train": [(float(k),) for k in range(2, 8)],
                "validation": [(2.02,), (5.02,)],
                "test": [(2.98,), (4.98,)],
            }
        },
        variables=("u", "v"),
        keep_clean=False,
    )
    return SimpleNamespace(problem=problem, coarse=(3, 2), n_eta=1), problem.splits("hard")


@pytest.mark.parametrize("name", ["persistence", "mean", "nearest", "analogue", "pc-regression"])
def test_of_covariates_around_a_solid_errors_are_finite(name, flows):
    case, data = flows
    outcome = OPPONENTS[name](case, "hard", data, 0, 2)
    assert outcome.status == "ok"
    assert np.isfinite(outcome.errors).all()


def test_the_analogue_is_of_the_nearest_covariates_where_that_is_better(flows):
    """All speeds pass through the same snapshots, so that these alone do not tell."""
    case, data = flows
    outcome = OPPONENTS["analogue"](case, "hard", data, 0, 2)
    assert outcome.choice == "among nearest covariates"
    still = OPPONENTS["persistence"](case, "hard", data, 0, 2).errors
    # phases are off by at most half a snapshot at the start and .06 of a turn at the end
    assert (outcome.errors < 0.4 * still).all()


@pytest.mark.slow
def test_dmd_of_covariates_around_a_solid(flows, monkeypatch):
    pytest.importorskip("pydmd")
    monkeypatch.setattr("benchmarks.opponents.RANKS", (3,))
    case, data = flows
    outcome = OPPONENTS["dmd"](case, "hard", data, 0, 2)
    assert outcome.choice.endswith("of the nearest covariates")
    assert outcome.errors.max() < 0.1  # a phase that is off by .06 of a turn at the end


def of_flow(name, flow):
    case, data = flow
    return OPPONENTS[name](case, "published", data, 0, 2)


@pytest.mark.parametrize("name", ["persistence", "mean", "nearest", "pc-regression"])
def test_of_one_trajectory_around_a_solid_errors_are_finite(name, flow):
    outcome = of_flow(name, flow)
    assert outcome.status == "ok"
    assert outcome.errors.shape == (1,)
    assert 0 <= outcome.errors[0] < 1


def test_the_mean_is_over_the_last_period(flow):
    """Of 30 snapshots: u is 1 in the mean, v is 0."""
    truth = flow[1].test.values[0]
    mean = np.broadcast_to(np.array([1.0, 0.0])[:, None, None], truth.shape)
    error = of_flow("mean", flow).errors[0]
    assert error == pytest.approx(trajectory_error(mean, truth), abs=1e-6)  # float32


@pytest.mark.parametrize("name", ["period", "analogue"])
def test_look_ups_by_time_are_right_of_what_is_periodic(name, flow):
    assert of_flow(name, flow).errors[0] < 1e-5  # float32


def test_without_earlier_snapshots_there_is_no_period(data):
    case = SimpleNamespace(problem=KDV, coarse=(20,), n_eta=3)
    outcome = OPPONENTS["period"](case, "published", data, 0, 2)
    assert outcome.status.startswith("no earlier snapshots")
    assert np.isinf(outcome.errors).all()


@pytest.mark.slow
def test_dmd_of_one_trajectory_around_a_solid(flow, monkeypatch):
    pytest.importorskip("pydmd")
    monkeypatch.setattr("benchmarks.opponents.RANKS", (3,))
    assert of_flow("dmd", flow).errors[0] < 1e-3  # a mean and a wave: three modes


@pytest.mark.slow
def test_dmd_scores_every_test_trajectory(data):
    pytest.importorskip("pydmd")
    case = SimpleNamespace(problem=KDV, coarse=(20,), n_eta=3)
    outcome = OPPONENTS["dmd"](case, "published", data, 0, 0)
    assert np.isfinite(outcome.errors).all()
    assert "rank" in outcome.choice


@pytest.mark.slow
def test_pod_sde_around_a_solid_has_a_coverage(flow):
    outcome = of_flow("pod-sde", flow)
    assert outcome.status == "ok"
    assert 0 < outcome.coverage_90[0] <= 1
    assert np.isfinite(outcome.crps[0])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rank"), [("pod-sde", 20), ("pod-sde-eta", 23)])
def test_pod_sde_scores_what_it_can(name, rank, data):
    """Two steps on these data need not give a forecast that stays finite: then a status says so."""
    case = SimpleNamespace(problem=KDV, coarse=(20,), n_eta=3)
    outcome = OPPONENTS[name](case, "published", data, 0, 2)
    assert outcome.errors.shape == (3,)
    assert outcome.choice == f"rank {rank}"
    if outcome.status == "ok":
        assert outcome.coverage_90.shape == outcome.crps.shape == (3,)
    else:
        assert f"{np.isinf(outcome.errors).sum()} of 3 forecasts are not finite" == outcome.status
