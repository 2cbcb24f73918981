"""What is lost by encoding and decoding alone: forecasts of no time at all, from the encoded mean.

    python -m benchmarks.studies.encoding --case cylinder

One row for each kept run of a case is appended to benchmarks/studies/results/encoding.csv: NRMSE as
the paper measures it of all test snapshots, each from itself, mean over trajectories, beside that
of forecasts (of benchmarks/results/accuracy.csv). No forecast of the run errs by much less.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import pyro_msde
from benchmarks import table
from benchmarks.accuracy import at_times
from benchmarks.calibration import KEPT
from benchmarks.errors import trajectory_error
from benchmarks.studies.variance_gaps import kept
from examples.cases import CASES
from pyro_msde.scores import Calibration

RESULTS = Path(__file__).parent / "results" / "encoding.csv"
KEY = ("case", "split", "n_eta")
COLUMNS = (*KEY, "encoding", "forecast", "version", "commit")


def encoding_error(fit: pyro_msde.Fit, test: pyro_msde.Trajectories) -> float:
    """NRMSE of decoded means of q(z|y) against the snapshots y that they are of."""
    exact = fit.adjusted(Calibration(0.0, start=0.0))
    errors = []
    for one in test:
        y, times = one.values[0], one.times[0]
        known = None
        if one.covariates is not None:
            known = np.repeat(np.asarray(one.covariates), len(y), axis=0)
        fc = exact.predict(y, [0.0], t0=times, num_samples=1, covariates=known)
        errors.append(trajectory_error(fc.mean[:, 0].numpy(), y))
    return float(np.mean(errors))


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", default=",".join(CASES), help="separated by commas")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--runs", type=Path, default=KEPT, help="folder of kept weights")
    args = parser.parse_args()
    for case in args.case.split(","):
        for setting in CASES[case].values():
            test = None
            for n_eta, fit in kept(setting, args.runs):
                key = {"case": case, "split": setting.split, "n_eta": str(n_eta)}
                if tuple(key.values()) in [
                    tuple(r[k] for k in KEY) for r in table.read(args.results, COLUMNS)
                ]:
                    table.say_there(args.results, *key.values())
                    continue
                if test is None:
                    parts = setting.problem.splits(setting.split, directory="data")
                    test = at_times(parts.test, setting.horizon)
                scored = {"method": "msde", "seed": "0", **key}
                row = {
                    **key,
                    "encoding": f"{encoding_error(fit, test):.5f}",
                    "forecast": next(
                        (r["nrmse_mean"] for r in table.read() if scored.items() <= r.items()), ""
                    ),
                    "version": pyro_msde.__version__,
                    "commit": table.commit(),
                }
                table.append(row, args.results, COLUMNS)
                print(row, flush=True)


if __name__ == "__main__":
    main()
