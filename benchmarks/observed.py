"""Observed and projected climate fields: this library beside simple forecasts, from file to table.

    python -m benchmarks.observed                         all sets, up to two hours on one core
    python -m benchmarks.observed --sets sst,hgt --steps 200 --results /tmp/observed.csv

Each set is prepared by a function of its own below, whose lines, with those that every user writes
(imports, model, fit, table), are counted. Fits are the defaults', once with the default reference
and once with one that knows the mean of each point, or the season where there is one. Forecasts
start from each snapshot of the test part, and are scored as the fit is ("fit") and with the scale
of √C that covers the validation windows ("calibrated"); baselines are those of
`pyro_msde.compare`. One row per fit, forecaster and lead is appended to
benchmarks/results/observed.csv; fits that are there are skipped.
`python -m benchmarks.render_observed` makes docs/observed.md of it.
"""

from __future__ import annotations

import argparse
import inspect
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr

import pyro_msde
from benchmarks import table
from benchmarks.device import name_of
from pyro_msde import Trajectories
from pyro_msde.data import Splits
from pyro_msde.datasets import observed
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale

RESULTS = Path(__file__).parent / "results" / "observed.csv"
KEY = ("set", "reference", "n_eta", "seed", "steps")
SCORES = ("rmse", "nrmse", "skill", "anomaly_correlation", "crps", "coverage")
COLUMNS = (
    *KEY,
    "forecaster",
    "lead",
    "lead_units",
    *SCORES,
    "observed",
    "units",
    "lines",
    "train_seconds",
    "compare_seconds",
    "device",
    "version",
    "commit",
)
N_ETA = 2
STEPS = 6000  # 380 to 790 s on one free core
SHARED_LINES = 8  # four imports; model, fit, `calibrated` and table
YEAR = np.timedelta64(8766, "h")
_CALIBRATED = {"forecaster": "calibrated"}


def sst() -> Splits:
    """Winters, with land: windows of 3 winters to forecast."""
    ds = observed.sst()
    record = Trajectories.from_xarray(ds, "sst", missing="mask")
    train, validation, test = record.split(train=0.6, validation=0.2, gap=3)
    return Splits(train, validation.cut(length=4, every=1), test.cut(length=4, every=1))


def hgt() -> Splits:
    """Winters, on 29 × 49 points: windows of 3 winters to forecast."""
    ds = observed.hgt()
    record = Trajectories.from_xarray(ds.sel(pressure=500), "z")
    train, validation, test = record.split(train=0.6, validation=0.2, gap=3)
    return Splits(train, validation.cut(length=4, every=1), test.cut(length=4, every=1))


def ostia() -> Splits:
    """Months, with land and a season, around the globe: windows of 3 months to forecast."""
    ds = observed.ostia()
    record = Trajectories.from_xarray(ds, "surface_temperature", missing="mask")
    train, validation, test = record.split(train=0.6, validation=0.2, gap=3)
    return Splits(train, validation.cut(length=4, every=1), test.cut(length=4, every=1))


def scenarios() -> Splits:
    """Years of 360 days: learned from A1B before 1975, tested on E1 after 2000; 5 years ahead."""
    a1b = Trajectories.from_xarray(observed.a1b(), "air_temperature")
    e1 = Trajectories.from_xarray(observed.e1(), "air_temperature").after("2004-12-30")
    validation = a1b.between("1980-01-01", "1999-12-30").cut(length=6, every=1)
    return Splits(a1b.until("1974-12-30"), validation, e1.cut(length=6, every=1))


class Case(NamedTuple):
    """A set: how it is prepared, references to try, and the period of its season."""

    prepare: Callable[[], Splits]
    references: dict[str, Any]
    period: Any = None


MEANS = {"channel": "channel", "point": "point"}
CASES = {
    "sst": Case(sst, MEANS),
    "hgt": Case(hgt, MEANS),
    "ostia": Case(ostia, {"channel": "channel", "cycle": pyro_msde.Cycle(YEAR)}, YEAR),
    "scenarios": Case(scenarios, MEANS),
}


def lines_of(prepare: Callable[[], Splits]) -> int:
    """Lines of code that a user writes from a set's file to the table."""
    code = inspect.getsource(prepare).split('"""')[-1]
    return SHARED_LINES + sum(bool(line.strip()) for line in code.splitlines())


def measure(case: Case, key: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Train and compare; a row for each forecaster and lead."""
    train, validation, test = case.prepare()
    model = multiscale.like(train, n_eta=key["n_eta"], seed=key["seed"])
    started = time.perf_counter()
    fit = pyro_msde.fit(
        model,
        AmortizedGP(model, seed=key["seed"]),
        train,
        validation=validation,
        steps=key["steps"],
        seed=key["seed"],
        reference=case.references[key["reference"]],
        progress=False,
    )
    trained = time.perf_counter()
    options = {"weights": "coslat", "period": case.period, "seed": key["seed"]}
    scores = pyro_msde.compare(fit, test, train, validation, **options)
    compared = time.perf_counter()
    calibrated = pyro_msde.compare(
        fit.calibrated(validation), test, train, validation, baselines=[], **options
    )
    common = {
        **key,
        "lines": lines_of(case.prepare),
        "train_seconds": round(trained - started, 1),
        "compare_seconds": round(compared - trained, 1),
        "units": scores["rmse"].attrs.get("units", ""),
        "lead_units": scores["lead"].attrs.get("units", ""),
        "device": name_of("cpu"),
        "version": pyro_msde.__version__,
        "commit": table.commit(),
    }
    for lead in scores["lead"].values:
        yield {**common, **_row(calibrated.sel(forecaster="fit", lead=lead)), **_CALIBRATED}
    for forecaster in scores["forecaster"].values:
        for lead in scores["lead"].values:
            yield {**common, **_row(scores.sel(forecaster=forecaster, lead=lead))}


def _row(scores: xr.Dataset) -> dict[str, Any]:
    return {
        "forecaster": str(scores["forecaster"].values),
        "lead": f"{float(scores['lead']):g}",
        **{name: f"{float(scores[name]):.5g}" for name in SCORES},
        "observed": int(scores["observed"]),
    }


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", default=",".join(CASES), help="separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    for name in args.sets.split(","):
        for reference in CASES[name].references:
            options = {"n_eta": N_ETA, "seed": args.seed, "steps": args.steps}
            key = {"set": name, "reference": reference, **options}
            there = {tuple(r[k] for k in KEY) for r in table.read(args.results, COLUMNS)}
            if tuple(map(str, key.values())) in there:
                table.say_there(args.results, *key.values())
                continue
            for row in list(measure(CASES[name], key)):
                table.append(row, args.results, COLUMNS)
                print(", ".join(f"{k} {row[k]}" for k in (*KEY, "forecaster", "lead", "rmse")))


if __name__ == "__main__":
    main()
