"""Which weight β of the drift residual forecasts best: 1, √n or n, the values in a snapshot.

    python -m benchmarks.studies.beta
    python -m benchmarks.studies.beta --data "white;sst" --steps 500

Simulated data are validated on what a user would validate on and scored on fresh trajectories;
observed ones are validated on the first half of their validation windows and scored on the second.
No test data are touched. CRPS judges points by themselves, the energy score whole fields. β = n is
the default of smooth paths, 1 of noisy ones. One row for each is appended to
benchmarks/studies/results/beta.csv, what is there is skipped.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import pyro_msde
from benchmarks import known_answers, observed, table
from benchmarks.accuracy import at_times
from examples.cases import CASES
from pyro_msde import Trajectories
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale

RESULTS = Path(__file__).parent / "results" / "beta.csv"
KEY = ("data", "beta", "steps")
COLUMNS = (
    *KEY,
    "n",
    "crps",
    "energy",
    "nrmse",
    "coverage_90",
    "best_step",
    "seconds",
    "device",
    "version",
    "commit",
)
POWERS = {"1": 0.0, "sqrt n": 0.5, "n": 1.0}
RECORD, WINDOWS, LEADS = 280, 100, 11


class Task(NamedTuple):
    """What is fitted, and what forecasts are scored on."""

    model: Callable[[], Any]
    train: Trajectories
    validation: Trajectories
    fresh: Trajectories
    options: dict[str, Any]


def amplitudes(apart: float) -> Task:
    """Six decaying amplitudes, of which a record's last fifth validates."""
    rng = np.random.default_rng([7, round(apart * 1000)])
    whole = known_answers.record("decay", apart, RECORD, 1, rng)
    fresh = known_answers.record("decay", apart, LEADS, WINDOWS, rng)
    return _from_record(whole, fresh)


def white() -> Task:
    """Nothing to learn."""
    rng = np.random.default_rng(8)
    x = np.arange(known_answers.POINTS) / known_answers.POINTS

    def draw(rows: int, count: int) -> Trajectories:
        y = rng.standard_normal((rows, count, len(x)))
        return Trajectories(np.arange(count), y, dims=("x",), coords={"x": x})

    return _from_record(draw(1, RECORD), draw(WINDOWS, LEADS))


def _from_record(whole: Trajectories, fresh: Trajectories) -> Task:
    cut = whole.times[0][RECORD - RECORD // 5 - 1]
    train = whole.until(cut)
    held = whole.after(cut).cut(length=LEADS, every=3)
    return Task(lambda: multiscale.like(train), train, held, fresh, {})


def simulated(case: str, split: str, n_eta: int) -> Task:
    """A case, with twenty fresh trajectories."""
    setting = CASES[case][split]
    data = setting.problem.splits(split, directory="data")
    dt = setting.problem.dt
    horizon = dt * int(setting.horizon / dt + 1e-9)  # Lyapunov times are no multiple of it
    fresh = at_times(setting.problem.fresh(split, 20, 11, horizon), horizon)
    options = setting.training(n_eta)
    return Task(lambda: setting.build(n_eta, 0), data.train, data.validation, fresh, options)


def from_file(name: str, reference: str) -> Task:
    """A set of observed fields."""
    case = observed.CASES[name]
    train, validation, _ = case.prepare()
    half = len(validation) // 2
    return Task(
        lambda: multiscale.like(train, n_eta=observed.N_ETA),
        train,
        validation[list(range(half))],
        validation[list(range(half, len(validation)))],
        {"reference": case.references[reference]},
    )


TASKS: dict[str, Callable[[], Task]] = {
    "amplitudes, .9": lambda: amplitudes(-np.log(0.9)),
    "amplitudes, .5": lambda: amplitudes(-np.log(0.5)),
    "white": white,
    "sst": lambda: from_file("sst", "point"),
    "hgt": lambda: from_file("hgt", "point"),
    "kdv": lambda: simulated("kdv", "published", 5),
    "ostia": lambda: from_file("ostia", "cycle"),
    "scenarios": lambda: from_file("scenarios", "point"),
    "burgers1d": lambda: simulated("burgers1d", "published", 5),
    "ks": lambda: simulated("ks", "published", 0),
}


def row(task: Task, beta: str, steps: int) -> dict[str, Any]:
    """Train and score once."""
    model = task.model()
    n = model.grid.num_points * model.grid.channels
    fit = pyro_msde.fit(
        model,
        AmortizedGP(model),
        task.train,
        validation=task.validation,
        steps=steps,
        progress=False,
        beta=float(n ** POWERS[beta]),
        **task.options,
    )
    fc = fit.forecast(task.fresh, num_samples=64)
    report = pyro_msde.calibration(fc, task.fresh, bins=1)
    return {
        "n": n,
        "crps": f"{np.mean(pyro_msde.crps(fc, task.fresh)):.6f}",
        "energy": f"{np.mean(report.average('energy')[0]):.5f}",
        "nrmse": f"{np.mean(pyro_msde.nrmse(fc, task.fresh, relative_to='zero')):.5f}",
        "coverage_90": f"{np.mean(pyro_msde.coverage(fc, task.fresh, level=0.9)):.4f}",
        "best_step": fit.history.validation_steps[fit.history.kept or 0],
        "seconds": f"{fit.training.seconds:.0f}",
    }


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default=";".join(TASKS), help="names, separated by semicolons")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    there = {tuple(r[k] for k in KEY) for r in table.read(args.results, COLUMNS)}
    for name in args.data.split(";"):
        task = TASKS[name]()
        for beta in POWERS:
            key = {"data": name, "beta": beta, "steps": str(args.steps)}
            if tuple(key.values()) in there:
                table.say_there(args.results, *key.values())
                continue
            found = row(task, beta, args.steps)
            table.append({**key, **found, **table.provenance()}, args.results, COLUMNS)
            print({**key, **found}, flush=True)


if __name__ == "__main__":
    main()
