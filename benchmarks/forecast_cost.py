"""What a forecast costs beside the solver of the equation: CPU seconds a trajectory, one thread.

    python -m benchmarks.forecast_cost
    python -m benchmarks.forecast_cost --results /tmp/forecast_cost.csv

Kept runs with an equation forecast the test trajectories of their split to 101 times from the first
snapshots, as one path and as 64, and decode the mean; the solver that made the data computes the
same times on its own grid. The least of three goes counts. One row for each is appended to
benchmarks/results/forecast_cost.csv, what is there is skipped.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pyro_msde
from benchmarks import table
from benchmarks.accuracy import at_times
from benchmarks.device import name_of
from examples.cases import CASES, Setting

RESULTS = Path(__file__).parent / "results" / "forecast_cost.csv"
KEPT = Path(__file__).parent / "runs"
KEY = ("case", "split", "what")
COLUMNS = (*KEY, "seconds", "trajectories", "device", "version", "commit")
RUNS = {
    ("kdv", "hard"): "kdv-hard",
    ("ks", "published"): "ks-0",
    ("burgers1d", "hard"): "burgers1d-hard",
    ("burgers2d", "hard"): "burgers2d-hard",
}
GOES = 3


def least(call: Callable[[], Any]) -> float:
    """CPU seconds of the quickest of some goes."""
    seconds = []
    for _ in range(GOES):
        began = time.process_time()
        call()
        seconds.append(time.process_time() - began)
    return min(seconds)


def solved(setting: Setting, truth: pyro_msde.Trajectories) -> Callable[[], Any]:
    """The data's own solver over the horizon, from their first snapshots."""
    problem = setting.problem
    steps = round(float(truth.times[0][-1]) / problem.dt)

    def run() -> None:
        for k, values in enumerate(truth.values):
            own = () if truth.covariates is None else tuple(map(float, truth.covariates[k]))
            problem.solve(np.asarray(values[0], dtype=np.float64), own, steps, problem.dt)

    return run


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    same = {"device": name_of("cpu"), "version": pyro_msde.__version__, "commit": table.commit()}
    for (case, split), run in RUNS.items():
        setting = CASES[case][split]
        there = {tuple(r[k] for k in KEY) for r in table.read(args.results, COLUMNS)}
        truth = at_times(setting.problem.splits(split, directory="data").test, setting.horizon)
        fit = pyro_msde.load(KEPT / run)
        whats: dict[str, Callable[[], Any]] = {
            "one path": lambda: fit.forecast(truth, num_samples=1).mean,  # noqa: B023
            "64 paths": lambda: fit.forecast(truth, num_samples=64).mean,  # noqa: B023
            "solver": solved(setting, truth),
        }
        for what, call in whats.items():
            if (case, split, what) in there:
                table.say_there(args.results, case, split, what)
                continue
            row = {
                "case": case,
                "split": split,
                "what": what,
                "seconds": f"{least(call) / len(truth):.4f}",
                "trajectories": len(truth),
                **same,
            }
            table.append(row, args.results, COLUMNS)
            print(", ".join(f"{k} {v}" for k, v in row.items()), flush=True)


if __name__ == "__main__":
    main()
