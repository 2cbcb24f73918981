"""What is lost by encoding and decoding alone: forecasts of no time at all, from the encoded mean.

    python -m benchmarks.studies.encoding --case cylinder --split published

One row for each kept run of a case is appended to benchmarks/studies/results/encoding.csv:

* `encoding`: NRMSE as the paper measures it of all test snapshots, each from itself, mean over
  trajectories, beside that of `forecast` (benchmarks/results/accuracy.csv), which is seldom less;
* `spread_train`, `spread_test`: the standard deviation that Σ_y claims over the error that there
  is, root mean squares over points and times. Σ_y is the same at all times.
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
COLUMNS = (*KEY, "encoding", "forecast", "spread_train", "spread_test", "version", "commit")


def encoding_error(fit: pyro_msde.Fit, data: pyro_msde.Trajectories) -> tuple[float, float]:
    """NRMSE of what is decoded of the means of q(z|y), against y; and spread over error."""
    exact = fit.adjusted(Calibration(0.0, start=0.0))
    errors, missed, claimed = [], [], []
    for one in data:
        y, times = one.values[0], one.times[0]
        known = None
        if one.covariates is not None:
            known = np.repeat(np.asarray(one.covariates), len(y), axis=0)
        fc = exact.predict(y, [0.0], t0=times, num_samples=1, covariates=known)
        mean, sd = (np.asarray(x[:, 0]) for x in (fc.mean, fc.sd))
        errors.append(trajectory_error(mean, y))
        missed.append(np.nanmean(np.square(mean - y)))
        claimed.append(np.nanmean(np.square(sd)))
    return float(np.mean(errors)), float(np.sqrt(np.mean(claimed) / np.mean(missed)))


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", default=",".join(CASES), help="separated by commas")
    parser.add_argument("--split", default="published,hard")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--runs", type=Path, default=KEPT, help="folder of kept weights")
    args = parser.parse_args()
    for case in args.case.split(","):
        for split, setting in CASES[case].items():
            if split not in args.split.split(","):
                continue
            train = test = None
            for n_eta, fit in kept(setting, args.runs):
                key = {"case": case, "split": setting.split, "n_eta": str(n_eta)}
                if tuple(key.values()) in [
                    tuple(r[k] for k in KEY) for r in table.read(args.results, COLUMNS)
                ]:
                    table.say_there(args.results, *key.values())
                    continue
                if train is None or test is None:
                    parts = setting.problem.splits(setting.split, directory="data")
                    train = at_times(parts.train, max(float(t[-1]) for t in parts.train.times))
                    test = at_times(parts.test, setting.horizon)
                error, spread = encoding_error(fit, test)
                scored = {"method": "msde", "seed": "0", **key}
                row = {
                    **key,
                    "encoding": f"{error:.5f}",
                    "forecast": next(
                        (r["nrmse_mean"] for r in table.read() if scored.items() <= r.items()), ""
                    ),
                    "spread_train": f"{encoding_error(fit, train)[1]:.2f}",
                    "spread_test": f"{spread:.2f}",
                    "version": pyro_msde.__version__,
                    "commit": table.commit(),
                }
                table.append(row, args.results, COLUMNS)
                print(row, flush=True)


if __name__ == "__main__":
    main()
