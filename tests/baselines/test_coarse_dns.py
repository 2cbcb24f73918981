from __future__ import annotations

import numpy as np
import pytest

from benchmarks.coarse_dns import SOLVERS, Choice, choose, forecast, score
from pyro_msde import Trajectories
from pyro_msde.datasets.burgers1d import BURGERS1D
from pyro_msde.datasets.burgers2d import BURGERS2D
from pyro_msde.datasets.burgers_equation import solve_square
from pyro_msde.datasets.kdv import KDV
from pyro_msde.datasets.ks import KS
from pyro_msde.datasets.problem import Problem


def clean(problem: Problem, split: str, horizon: float) -> Trajectories:
    ds = problem.generate(split, 2, horizon=horizon, seed=5, noise_sd=0.0)
    return Trajectories.from_xarray(ds, "u", covariates=problem.covariates.get(split))


@pytest.mark.parametrize(
    ("problem", "split", "horizon"),
    [(KDV, "published", 0.02), (BURGERS1D, "hard", 0.02), (KS, "published", 2.0)],
    ids=["kdv", "burgers1d-hard", "ks"],
)
def test_on_the_fine_grid_it_is_the_solution(problem, split, horizon):
    data, solver = clean(problem, split, horizon), SOLVERS[problem.name]
    choice = Choice("point", "linear", solver.accuracies[-1])
    errors, status = score(solver, data, data.field_shape, choice)
    assert status == "ok"
    assert errors.max() < 1e-5  # the data are in float32, and grow chaotically for the last


def test_on_the_fine_grid_it_is_the_solution_between_walls():
    x = np.arange(1, 13) / 13
    u = np.sin(np.pi * x)[:, None] * np.sin(np.pi * x) ** 2
    times = np.arange(11) * 0.01
    exact = solve_square(u, 0.005, num_steps=10, dt=0.01)
    solver = SOLVERS[BURGERS2D.name]
    for end in ("linear", "spectral"):
        found = forecast(solver, u, None, times, (12, 12), Choice("lowpass", end, 1e-9))
        np.testing.assert_allclose(found, exact, atol=1e-7)  # the integrator's tolerance


def test_a_blow_up_is_a_status(monkeypatch):
    data = Trajectories(np.arange(41) * 0.25, 1e3 * clean(KS, "published", 10.0).values[0][None])
    errors, status = score(SOLVERS["ks"], data, (32,), Choice("point", "spectral", 1))
    assert errors.tolist() == [np.inf]
    assert status.startswith("1 of 1 blow up: ")


def test_a_choice_that_blows_up_is_not_taken():
    solver = SOLVERS["kdv"]

    def unstable(u, own, num_steps, dt, accuracy):
        if accuracy == 1:
            raise FloatingPointError("state 3 is not finite")
        return solver.run(u, own, num_steps, dt, accuracy)

    choice, error = choose(
        solver._replace(run=unstable, accuracies=(1, 2)), clean(KDV, "published", 0.01), (50,)
    )
    assert choice.accuracy == 2
    assert np.isfinite(error)
