"""What is left of published Korteweg-de Vries where snapshots are 20 and 50 times sparser.

    python -m benchmarks.studies.sparse
    python -m benchmarks.studies.sparse --every 50 --steps 1000 --results /tmp/sparse.csv

The model is that of the published split with five microscale states, trained with default
arguments on every so manieth snapshot; beside it stand the simple forecasts of
`pyro_msde.compare`, which know these snapshots, too. Errors are relative to anomalies, means over
the test trajectories and all kept snapshots but the first. One row for each forecaster is appended
to benchmarks/studies/results/sparse.csv; what is there is skipped.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pyro_msde
from benchmarks import table
from examples.cases import CASES
from pyro_msde import Trajectories
from pyro_msde.guides import AmortizedGP

RESULTS = Path(__file__).parent / "results" / "sparse.csv"
KEY = ("every", "steps", "forecaster")
COLUMNS = (*KEY, "snapshots", "nrmse", "coverage_90", "seconds", "device", "version", "commit")
N_ETA = 5


def thinned(data: Trajectories, every: int) -> Trajectories:
    """Every so manieth snapshot."""
    return data.snapshots([slice(None, None, every)] * len(data))


def rows(every: int, steps: int) -> list[dict[str, Any]]:
    """Train and compare."""
    setting = CASES["kdv"]["published"]
    splits = setting.problem.splits("published", directory="data")
    train, validation, test = (thinned(part, every) for part in splits)
    model = setting.build(N_ETA, 0)
    fit = pyro_msde.fit(
        model, AmortizedGP(model), train, validation=validation, steps=steps, progress=False
    )
    scores = pyro_msde.compare(fit, test, train, validation)
    found = []
    for name in scores["forecaster"].values:
        row = scores.sel(forecaster=name)
        row = row.isel(lead=row["lead"].values > 0)
        found.append(
            {
                "forecaster": str(name),
                "snapshots": len(train.times[0]),
                "nrmse": f"{float(row['nrmse'].mean()):.5f}",
                "coverage_90": f"{float(row['coverage'].mean()):.4f}",
                "seconds": f"{fit.training.seconds:.0f}" if name == "fit" else "",
            }
        )
    return found


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", default="1,20,50", help="snapshots apart")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    there = {(r["every"], r["steps"]) for r in table.read(args.results, COLUMNS)}
    for every in map(int, args.every.split(",")):
        if (str(every), str(args.steps)) in there:
            table.say_there(args.results, every, args.steps)
            continue
        for row in rows(every, args.steps):
            row = {"every": every, "steps": args.steps, **row, **table.provenance()}
            table.append(row, args.results, COLUMNS)
            print(row, flush=True)


if __name__ == "__main__":
    main()
