"""What a few validation trajectories do to the scale of √C of kept runs.

    python -m benchmarks.studies.few_windows

Each kept run is scored on test trajectories as it is, and calibrated again: on one validation
trajectory, three and five at four lead times, and on five at all. Each row of
benchmarks/studies/results/few_windows.csv has the scale that these alone would choose, that which
is taken, and the coverage of the central 90 % interval, its mean and its extremes over tenths of
the horizon. Takes forty minutes on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import pyro_msde
from benchmarks import table
from benchmarks.accuracy import at_times, kept_fit, score
from benchmarks.calibration import KEPT
from examples.cases import CASES
from pyro_msde import Trajectories
from pyro_msde.data import evenly_spaced

RESULTS = Path(__file__).parent / "results" / "few_windows.csv"
KEY = ("run", "trajectories", "leads")
COLUMNS = (
    *KEY,
    "scale_chosen",
    "scale",
    "coverage",
    "coverage_low",
    "coverage_high",
    "version",
    "commit",
)
RUNS = {
    "kdv-5": (CASES["kdv"]["published"], 5),
    "kdv-hard": (CASES["kdv"]["hard"], 0),
    "burgers1d-5": (CASES["burgers1d"]["published"], 5),
    "burgers1d-hard": (CASES["burgers1d"]["hard"], 0),
}
FEW = ((0, 0), (1, 4), (3, 4), (5, 4), (5, 0))  # trajectories (0: as kept), leads (0: all)
COVERAGE = {"coverage": "90", "coverage_low": "low", "coverage_high": "high"}


def part_of(data: Trajectories, count: int, leads: int) -> Trajectories:
    """The first trajectories, at so many lead times."""
    some = data[:count]
    if not leads:
        return some
    return some.snapshots([evenly_spaced(len(t), leads + 1) for t in some.times])


def rows(run: str, kept: Path, directory: str) -> Iterator[dict[str, Any]]:
    """One for each part of the validation trajectories."""
    setting, n_eta = RUNS[run]
    fit = kept_fit(setting, n_eta, kept)
    if fit is None:
        raise FileNotFoundError(f"{kept}: no run {run}.")
    data = setting.problem.splits(setting.split, directory=directory)
    test, validation = (at_times(d, setting.horizon) for d in (data.test, data.validation))
    for count, leads in FEW:
        again = fit
        if count:
            again = fit.calibrated(part_of(validation, count, leads))
        scores = score(again, test)
        calibration = again.calibration
        yield {
            "run": run,
            "trajectories": count,
            "leads": leads,
            "scale_chosen": "" if not count else f"{calibration.chosen:.3g}",
            "scale": f"{again.diffusion_scale:.3g}",
            **{k: scores[f"coverage_{end}"] for k, end in COVERAGE.items()},
        }


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=KEPT, help="folder of kept weights")
    parser.add_argument("--data", default="data", help="folder of the simulations")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    same = {"version": pyro_msde.__version__, "commit": table.commit()}
    for run in RUNS:
        if run in {row["run"] for row in table.read(args.results, COLUMNS)}:
            table.say_there(args.results, run)
            continue
        for row in list(rows(run, args.runs, args.data)):
            table.append({**row, **same}, args.results, COLUMNS)
            print(", ".join(f"{k} {v}" for k, v in row.items()), flush=True)


if __name__ == "__main__":
    main()
