"""How far from where the ELBO wants it Σ_y of the kept weights stopped.

    python -m benchmarks.studies.variance_gaps

One row for each KdV and Burgers run in benchmarks/runs of the default recipe or the resolved one is
appended to benchmarks/studies/results/variance_gaps.csv: mean log of Σ_y over its closed-form
optimum, all else fixed; 0.1 is 10 % too large. `fit` ends with Σ_y there; `observation_trained` is
how far above training had left it, as the run's history has it. Training segments are those of all
training trajectories.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import pyro_msde
from benchmarks import table
from benchmarks.accuracy import kept_fit
from benchmarks.calibration import KEPT
from benchmarks.studies.remedies import every_segment
from examples.cases import CASES, Setting
from pyro_msde.inference.closed_form_variance import variance_optima

RESULTS = Path(__file__).parent / "results" / "variance_gaps.csv"
KEY = ("case", "split", "n_eta")
COLUMNS = (*KEY, "steps", "observation", "observation_trained", "version")


def kept(setting: Setting, runs: Path) -> Iterator[tuple[int, pyro_msde.Fit]]:
    """By n_η, the runs that are kept of a split."""
    for n_eta in (0, 5) if setting.split == "published" else (setting.n_eta,):
        fit = kept_fit(setting, n_eta, runs)
        if fit is not None:
            yield n_eta, fit


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", default="kdv,burgers1d,burgers2d", help="separated by commas")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--runs", type=Path, default=KEPT, help="folder of kept weights")
    args = parser.parse_args()
    for case in args.case.split(","):
        for setting in CASES[case].values():
            for n_eta, fit in kept(setting, args.runs):
                key = {"case": case, "split": setting.split, "n_eta": n_eta}
                there = [tuple(r[k] for k in KEY) for r in table.read(args.results, COLUMNS)]
                if tuple(map(str, key.values())) in there:
                    table.say_there(args.results, *key.values())
                    continue
                train = setting.problem.splits(setting.split, directory="data").train
                torch.manual_seed(0)
                gaps = variance_optima(fit.model, fit.guide, every_segment(fit, train)).gaps
                gaps["observation_trained"] = fit.history.variance_gaps["observation"]
                row: dict[str, Any] = {
                    **key,
                    "steps": fit.steps,
                    **{k: f"{v:.3f}" for k, v in gaps.items()},
                    "version": pyro_msde.__version__,
                }
                table.append(row, args.results, COLUMNS)
                print(row, flush=True)


if __name__ == "__main__":
    main()
