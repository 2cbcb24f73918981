"""How well forecasts of unseen trajectories are calibrated, by lead time.

    python -m benchmarks.calibration
    python -m benchmarks.calibration --case burgers1d --split hard --jobs 5

50 trajectories, 20 in two dimensions, are simulated with seeds of their own, and forecast from one
noisy snapshot at 101 times over the horizon with 64 samples. Of the flow past a cylinder there are
three: one takes its solver four to six minutes of a core. Where the split is one trajectory cut in
time, what is forecast is as late as its test data. Ten rows for each level, one a tenth of the
horizon, are appended to benchmarks/results/calibration.csv; what is there is skipped.

Column `lead` is the end of a tenth as a share of the horizon, 0.1 to 1. All but `coverage` is the
same at every level: the interval score is that of the 90 % interval, and the reliability index that
of the PIT histogram of the tenth. Standard errors are over trajectories. One forecast of 50 KdV
trajectories takes a core two minutes, scoring it three; a trajectory in two dimensions about two.
With --jobs, as many processes share the trajectories, ten at a time or one in two dimensions; the
numbers are the same. `benchmarks.studies.remedies` measures alternatives in the same way.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

import pyro_msde
from benchmarks import table
from benchmarks.accuracy import NUM_SAMPLES, at_times, kept_fit
from benchmarks.device import name_of
from examples.cases import CASES, Setting
from pyro_msde import CalibrationReport, Trajectories
from pyro_msde.datasets.problem import Splits

RESULTS = Path(__file__).parent / "results" / "calibration.csv"
KEPT = Path(__file__).parent / "runs"
KEY = ("case", "split", "method", "level", "lead")
COLUMNS = (
    *KEY,
    "coverage",
    "coverage_se",
    "spread_skill",
    "crps",
    "spread_skill_se",
    "crps_se",
    "energy",
    "winkler_90",
    "reliability_index",
    "trajectories",
    "samples",
    "device",
    "version",
    "commit",
)
LEVELS = (0.5, 0.8, 0.9, 0.95)
TENTHS = 10
SEED = 20_000  # of the first trajectory; the stored splits' is 0
COUNT = {1: 50, 2: 20}  # trajectories, by axes of space
FEW = {"cylinder": 3}  # by case, where each takes minutes to simulate
AT_ONCE = {1: 10, 2: 1}  # in one forecast, so that memory stays bounded


class Forecaster(Protocol):
    """What a method is asked for."""

    def predict(
        self, y0: Any, times: Any, *, num_samples: int = 64, covariates: Any = None
    ) -> pyro_msde.Forecast:
        """Forecasts from initial fields (batch, *field), as `pyro_msde.Fit.predict`."""


# Methods take the setting, a call that gives its stored splits, and the folder of kept weights;
# they say None where they have nothing to offer.
Method = Callable[[Setting, Callable[[], Splits], Path], Forecaster | None]


def shipped(setting: Setting, _: Callable[[], Splits], kept: Path) -> pyro_msde.Fit | None:
    """The kept weights with their own jackknife and scale of √C: the library's default."""
    return kept_fit(setting, setting.n_eta, kept)


METHODS: dict[str, Method] = {"msde": shipped}


def unseen(setting: Setting, numbers: Sequence[int]) -> Trajectories:
    """Freshly simulated trajectories, thinned over the horizon; each has a seed of its own.

    Of a split that is one trajectory cut in time, what comes after the last cut.
    """
    parts = []
    cuts = setting.problem.cuts.get(setting.split)
    horizon = math.floor(setting.horizon / setting.problem.dt + 1e-9) * setting.problem.dt
    for k in numbers:
        whole = setting.problem.fresh(setting.split, 1, SEED + k, horizon)
        parts.append(at_times(whole.after(cuts[-1]) if cuts else whole, setting.horizon))
    own = [p.covariates for p in parts if p.covariates is not None]
    values = [p.values[0] for p in parts]
    return Trajectories(
        parts[0].times[0],
        values,
        missing=parts[0].missing,
        covariates=np.concatenate(own) if own else None,
    )


def measure(
    method: Forecaster, setting: Setting, numbers: Sequence[int], *, jobs: int = 1
) -> CalibrationReport:
    """Forecast and score unseen trajectories, some at once, in so many processes."""
    at_once = AT_ONCE[len(setting.coarse)]
    parts = [numbers[first : first + at_once] for first in range(0, len(numbers), at_once)]
    if jobs == 1:
        return CalibrationReport.joined([measure_together(method, setting, p) for p in parts])
    scored = partial(_measure_named, method, setting.case, setting.split)
    with ProcessPoolExecutor(jobs, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        return CalibrationReport.joined(list(pool.map(scored, parts)))


def measure_together(
    method: Forecaster, setting: Setting, numbers: Sequence[int]
) -> CalibrationReport:
    """Forecast and score unseen trajectories in one batch."""
    truth = unseen(setting, numbers)
    y0 = np.stack([v[0] for v in truth.values])
    fc = method.predict(y0, truth.times[0], num_samples=NUM_SAMPLES, covariates=truth.covariates)
    return pyro_msde.calibration(fc, truth, levels=LEVELS, bins=TENTHS)


def _measure_named(
    method: Forecaster, case: str, split: str, numbers: Sequence[int]
) -> CalibrationReport:
    """`measure_together` of a setting by name, since those hold functions and are not pickled."""
    return measure_together(method, CASES[case][split], numbers)


def rows(report: CalibrationReport) -> Iterator[dict[str, Any]]:
    """By level and tenth of the horizon."""
    names = ("crps", "spread_skill", "energy", "winkler")
    (crps, crps_se), (ratio, ratio_se), (energy, _), (winkler, _) = map(report.average, names)
    covered, covered_se = report.average("coverage")
    bars = report.pit.mean(0)
    index = np.abs(bars - 1 / bars.shape[1]).sum(1)
    for j, level in enumerate(report.levels):
        for i in range(TENTHS):
            yield {
                "level": f"{level:g}",
                "lead": f"{(i + 1) / TENTHS:g}",
                "coverage": f"{covered[i, j]:.4f}",
                "coverage_se": f"{covered_se[i, j]:.4f}",
                "spread_skill": f"{ratio[i]:.4f}",
                "spread_skill_se": f"{ratio_se[i]:.4f}",
                "crps": f"{crps[i]:.6f}",
                "crps_se": f"{crps_se[i]:.6f}",
                "energy": f"{energy[i]:.6f}",
                "winkler_90": f"{winkler[i]:.6f}",
                "reliability_index": f"{index[i]:.4f}",
                "trajectories": report.num_trajectories,
                "samples": report.num_samples,
            }


def keys(setting: Setting, method: str) -> set[tuple[str, ...]]:
    """Of all rows that a method has on a split."""
    leads = [f"{(i + 1) / TENTHS:g}" for i in range(TENTHS)]
    place = (setting.case, setting.split, method)
    return {(*place, f"{level:g}", lead) for level in LEVELS for lead in leads}


def there(path: Path) -> set[tuple[str, ...]]:
    """Keys of the rows that the table has."""
    return {tuple(row[name] for name in KEY) for row in table.read(path, COLUMNS)}


def arguments(
    doc: str, case: str, results: Path, methods: Mapping[str, Method]
) -> tuple[argparse.Namespace, list[tuple[Setting, Callable[[], Splits]]]]:
    """The command line, and what it asks for: settings, with a call for their stored splits.

    Args:
        doc: Docstring of the module that is run.
        case: The cases unless others are asked for, separated by commas.
        results: Table to fill likewise.
        methods: By name, those to choose from, the first of which is the default.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--case", default=case, help="separated by commas")
    parser.add_argument("--split", default="published,hard")
    parser.add_argument("--methods", default=next(iter(methods)), help=", ".join(methods))
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--results", type=Path, default=results)
    parser.add_argument("--runs", type=Path, default=KEPT, help="folder of kept weights")
    args = parser.parse_args()
    splits = args.split.split(",")
    asked = [s for c in args.case.split(",") for s in CASES[c].values() if s.split in splits]
    return args, [(s, cache(partial(s.problem.splits, s.split, directory="data"))) for s in asked]


def fill(doc: str, results: Path, methods: Mapping[str, Method]) -> None:
    """Measure what the command line asks for; arguments as for `arguments`."""
    args, asked = arguments(doc, "kdv,burgers1d,burgers2d", results, methods)
    same = {"device": name_of("cpu"), "version": pyro_msde.__version__, "commit": table.commit()}
    for setting, data in asked:
        for name in args.methods.split(","):
            if keys(setting, name) <= there(args.results):
                table.say_there(args.results, setting.case, setting.split, name)
                continue
            method = methods[name](setting, data, args.runs)
            if method is None:
                continue
            count = FEW.get(setting.case, COUNT[len(setting.coarse)])
            report = measure(method, setting, range(count), jobs=args.jobs)
            found = there(args.results)
            for row in rows(report):
                row = {"case": setting.case, "split": setting.split, "method": name, **row, **same}
                if tuple(row[k] for k in KEY) not in found:
                    table.append(row, args.results, COLUMNS)
            print(f"{setting.case}, {setting.split}, {name}: {report!r}", flush=True)


def main() -> None:
    """Fill the table."""
    fill(__doc__, RESULTS, METHODS)


if __name__ == "__main__":
    main()
