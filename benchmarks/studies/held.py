"""What it is worth to hold forecasts where the drift was learned.

    python -m benchmarks.studies.held
    python -m benchmarks.studies.held --case kdv --split hard

Of 120 fresh trajectories the six whose initial fields have the largest peaks and the first six
others are forecast with the kept weights, 16 samples each: by the drift as it is, held in the box
around the training data, and held near their stencils too (`pyro_msde/forecasts/region.py`). One
row each is appended to benchmarks/studies/results/held.csv; what is there is skipped. `nrmse` is
the mean over trajectories, `nrmse_largest` that of the worst one, "inf" if a forecast is not
finite; `diverged` is the mean of `Forecast.diverged`, which was the share of paths that leave the
box when these rows were measured. The stencils' margin was chosen on these trajectories.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

import pyro_msde
from benchmarks import table
from benchmarks.accuracy import kept_fit
from benchmarks.calibration import KEPT, unseen
from benchmarks.device import name_of
from benchmarks.errors import trajectory_error
from benchmarks.studies.outside import starts
from examples.cases import CASES, Setting
from pyro_msde.forecasts import Region

RESULTS = Path(__file__).parent / "results" / "held.csv"
KEY = ("case", "split", "where", "held")
COLUMNS = (
    *KEY,
    "n_eta",
    "trajectories",
    "samples",
    "nrmse",
    "nrmse_largest",
    "diverged",
    "device",
    "version",
)
FIRST = 7000  # of the random streams, beyond those of calibration and outside
DRAWN, COUNT = 120, 6
NUM_SAMPLES = 16


def places(setting: Setting) -> dict[str, list[int]]:
    """Numbers of the trajectories, those that start highest and the first others."""
    drawn = list(islice(starts(setting, FIRST), DRAWN))
    highest = [k for k, _ in sorted(drawn, key=lambda found: -found[1])[:COUNT]]
    others = [k for k, _ in drawn if k not in highest]
    return {"highest": highest, "others": others[:COUNT]}


def held(fit: pyro_msde.Fit) -> dict[str, Region | None]:
    """By name, what paths may be held in."""
    region: Any = fit.adjustment("region")
    return {"no": None, "box": None if region is None else Region(region.box), "stencils": region}


def scored(fit: pyro_msde.Fit, setting: Setting, numbers: list[int]) -> dict[str, Any]:
    """Errors of forecasts, one trajectory after the other, and the share of paths that stray."""
    errors, strayed = [], []
    for k in numbers:
        truth = unseen(setting, [k])
        y = truth.values[0]
        fc = fit.predict(
            y[:1], truth.times[0], num_samples=NUM_SAMPLES, covariates=truth.covariates
        )
        errors.append(trajectory_error(fc.mean.numpy()[0], y))
        strayed.append(float(fc.diverged.mean()))
    return {
        "trajectories": len(errors),
        "samples": NUM_SAMPLES,
        "nrmse": f"{np.mean(errors):.5f}",
        "nrmse_largest": f"{max(errors):.5f}",
        "diverged": f"{np.mean(strayed):.4f}",
    }


def rows(setting: Setting, runs: Path, there: set[tuple[str, ...]]) -> Iterator[dict[str, Any]]:
    """Those that are not there yet."""
    fit = kept_fit(setting, setting.n_eta, runs)
    if fit is None:
        return
    key = {"case": setting.case, "split": setting.split}
    wanted = [(w, h) for w in ("highest", "others") for h in held(fit)]
    missing = [pair for pair in wanted if (*key.values(), *pair) not in there]
    numbers = places(setting) if missing else {}
    for where, name in missing:
        region = held(fit)[name]
        other = fit.without("region") if region is None else fit.adjusted(region)
        found = scored(other, setting, numbers[where])
        yield {**key, "where": where, "held": name, "n_eta": setting.n_eta, **found}


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", default="kdv,burgers1d,burgers2d", help="separated by commas")
    parser.add_argument("--split", default="published,hard")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--runs", type=Path, default=KEPT, help="folder of kept weights")
    args = parser.parse_args()
    same = {"device": name_of("cpu"), "version": pyro_msde.__version__}
    for case in args.case.split(","):
        for setting in CASES[case].values():
            if setting.split not in args.split.split(","):
                continue
            there = {tuple(r[k] for k in KEY) for r in table.read(args.results, COLUMNS)}
            for row in rows(setting, args.runs, there):
                table.append({**row, **same}, args.results, COLUMNS)
                print(row, flush=True)


if __name__ == "__main__":
    main()
