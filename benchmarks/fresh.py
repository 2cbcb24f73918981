"""How kept runs do on twenty trajectories that nobody has seen, beside their five test ones.

    python -m benchmarks.fresh
    python -m benchmarks.fresh --case kdv,burgers1d,ks,burgers2d

Of the same random streams as `benchmarks.calibration`'s, forecast in the same way. A row for each
case is appended to benchmarks/results/fresh.csv; what is there is skipped. `worst_to_median` is of
errors; coverage of 90 % and spread over skill are the least and largest of the ten tenths of the
horizon.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import pyro_msde
from benchmarks import table
from benchmarks.accuracy import NUM_SAMPLES, at_times, kept_fit
from benchmarks.calibration import KEPT, SEED
from benchmarks.device import name_of
from examples.cases import CASES, Setting

RESULTS = Path(__file__).parent / "results" / "fresh.csv"
KEY = ("case", "split")
COLUMNS = (
    *KEY,
    "trajectories",
    "nrmse_mean",
    "nrmse_sd",
    "nrmse_median",
    "worst_to_median",
    "coverage_low",
    "coverage_high",
    "spread_skill_low",
    "spread_skill_high",
    "device",
    "version",
    "commit",
)
COUNT = 20


def row(fit: pyro_msde.Fit, setting: Setting) -> dict[str, Any]:
    """Scores of forecasts, one trajectory after the other."""
    dt = setting.problem.dt
    horizon = dt * int(setting.horizon / dt + 1e-9)
    errors, covered, ratios = [], [], []
    for k in range(COUNT):
        whole = setting.problem.fresh(setting.split, 1, SEED + k, horizon)
        one = at_times(whole, horizon)
        fc = fit.forecast(one, num_samples=NUM_SAMPLES)
        errors.append(float(np.mean(pyro_msde.nrmse(fc, one, relative_to="zero"))))
        covered.append(np.asarray(pyro_msde.coverage(fc, one, level=0.9, bins=10))[0])
        report = pyro_msde.calibration(fc, one, bins=10)
        ratios.append((report.squared_error[0], report.variance[0]))
    by_tenth = np.mean(covered, 0)
    square, variance = np.mean(ratios, 0)
    skill = np.sqrt(variance / square)
    return {
        "trajectories": COUNT,
        "nrmse_mean": f"{np.mean(errors):.5f}",
        "nrmse_sd": f"{np.std(errors, ddof=1):.5f}",
        "nrmse_median": f"{np.median(errors):.5f}",
        "worst_to_median": f"{np.max(errors) / np.median(errors):.2f}",
        "coverage_low": f"{by_tenth.min():.4f}",
        "coverage_high": f"{by_tenth.max():.4f}",
        "spread_skill_low": f"{skill.min():.3f}",
        "spread_skill_high": f"{skill.max():.3f}",
    }


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", default="kdv,burgers1d,ks,burgers2d")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--runs", type=Path, default=KEPT, help="folder of kept runs")
    args = parser.parse_args()
    for case in args.case.split(","):
        split = "published" if case == "ks" else "hard"
        setting = CASES[case][split]
        there = {tuple(r[k] for k in KEY) for r in table.read(args.results, COLUMNS)}
        fit = kept_fit(setting, 0, args.runs)
        if (case, split) in there or fit is None:
            table.say_there(args.results, case, split)
            continue
        found = row(fit, setting)
        same = {"case": case, "split": split, "device": name_of("cpu")}
        same |= {"version": pyro_msde.__version__, "commit": table.commit()}
        table.append({**same, **found}, args.results, COLUMNS)
        print(same, found, flush=True)


if __name__ == "__main__":
    main()
