"""Do intervals widen where an initial field lies outside the training data?

    python -m benchmarks.studies.outside
    python -m benchmarks.studies.outside --case kdv --split hard --methods alt-bayesian

Fresh trajectories are drawn one after the other; the first ten whose initial field has a larger
|u| than any of training's are outside, the first ten others inside. Both are forecast as in
`benchmarks.calibration`. One row for each, averaged over trajectories and the horizon, is appended
to benchmarks/studies/results/outside.csv; what is there is skipped, and splits where few start
outside are left out. `spread` and `error` are root mean squares and `spread_skill` their ratio;
`coverage_lowest` is that of the worst trajectory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import pyro_msde
from benchmarks import table
from benchmarks.calibration import METHODS as SHIPPED
from benchmarks.calibration import SEED, arguments, measure
from benchmarks.device import name_of
from benchmarks.studies.remedies import METHODS as REMEDIES
from examples.cases import Setting
from pyro_msde import CalibrationReport

METHODS = {**SHIPPED, **REMEDIES}
RESULTS = Path(__file__).parent / "results" / "outside.csv"
KEY = ("case", "split", "method", "where")
COLUMNS = (
    *KEY,
    "trajectories",
    "peak",
    "training_peak",
    "error",
    "spread",
    "spread_skill",
    "coverage_90",
    "coverage_lowest",
    "crps",
    "device",
    "version",
)
COUNT = 10
FIRST = 1000  # of the random streams, beyond those of the calibration
PATIENCE = 2000  # trajectories drawn until enough are outside


def peak(field: Any) -> float:
    """Largest |u|."""
    return float(np.abs(field).max())


def starts(setting: Setting, first: int = FIRST) -> Iterator[tuple[int, float]]:
    """Number of an unseen trajectory, from `first` on, and the peak of its initial field."""
    for k in range(first, first + PATIENCE):
        short = setting.problem.fresh(setting.split, 1, SEED + k, setting.problem.dt)
        yield k, peak(short.values[0][0])


def sorted_out(
    peaks: Iterator[tuple[int, float]], limit: float, count: int
) -> dict[str, dict[int, float]]:
    """So many trajectories inside and outside, with their peaks.

    Raises:
        RuntimeError: There are not as many.
    """
    found: dict[str, dict[int, float]] = {"inside": {}, "outside": {}}
    for k, height in peaks:
        where = found["outside" if height > limit else "inside"]
        if len(where) < count:
            where[k] = height
        if min(map(len, found.values())) == count:
            return found
    raise RuntimeError(f"only {len(found['outside'])} start outside, at |u| > {limit:.3f}.")


def row(report: CalibrationReport, peaks: Sequence[float], limit: float) -> Mapping[str, Any]:
    """Averages over trajectories and the horizon."""
    error, spread = (float(np.sqrt(x.mean())) for x in (report.squared_error, report.variance))
    covered = report.coverage[..., report.level_index(0.9)].mean(1)
    return {
        "trajectories": report.num_trajectories,
        "peak": f"{np.mean(peaks):.3f}",
        "training_peak": f"{limit:.3f}",
        "error": f"{error:.6f}",
        "spread": f"{spread:.6f}",
        "spread_skill": f"{spread / error:.3f}",
        "coverage_90": f"{covered.mean():.4f}",
        "coverage_lowest": f"{covered.min():.4f}",
        "crps": f"{report.crps.mean():.6f}",
    }


def main() -> None:
    """Fill the table."""
    args, asked = arguments(__doc__, "kdv,burgers1d", RESULTS, METHODS)
    same = {"device": name_of("cpu"), "version": pyro_msde.__version__}
    for setting, data in asked:
        limit = max(peak(v[0]) for v in data().train.values)
        try:
            found = sorted_out(starts(setting), limit, COUNT)
        except RuntimeError as error:  # others may have enough
            print(f"{setting.case}, {setting.split}: left out, {error}", flush=True)
            continue
        for name in args.methods.split(","):
            key = {"case": setting.case, "split": setting.split, "method": name}
            there = {tuple(r[k] for k in KEY) for r in table.read(args.results, COLUMNS)}
            missing = [w for w in found if (*key.values(), w) not in there]
            if not missing:
                table.say_there(args.results, *key.values())
            method = METHODS[name](setting, data, args.runs) if missing else None
            if method is None:
                continue
            for where in missing:
                report = measure(method, setting, list(found[where]), jobs=args.jobs)
                scored = row(report, list(found[where].values()), limit)
                table.append({**key, "where": where, **scored, **same}, args.results, COLUMNS)
                print(f"{setting.case}, {setting.split}, {name}, {where}: {scored}", flush=True)


if __name__ == "__main__":
    main()
