"""One long record of a simulation, cut in time: this library beside simple forecasts.

    python -m benchmarks.long_records
    python -m benchmarks.long_records --records ks --steps 500 --results /tmp/long_records.csv

What a user with one run of a solver has: neither seed nor sampling are those of the examples. "ks"
is Kuramoto–Sivashinsky over 1500 time units, 128 points every .5, whose windows to forecast last
two Lyapunov times; "kdv" is Korteweg-de Vries over 12 time units, 250 points every .004, whose
windows last one unit. Both have noise of 1 % of their standard deviation. Six tenths of a record
train, two validate, two are tested on. The model is told that the domain is periodic; fits have
default arguments. Errors are relative to
anomalies, means over windows and over each fifth of the horizon. One row for each record,
forecaster and fifth is appended to benchmarks/results/long_records.csv; what is there is skipped.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import pyro_msde
from benchmarks import table
from benchmarks.device import name_of
from pyro_msde import Trajectories
from pyro_msde.data import Splits
from pyro_msde.datasets import kdv, kdv_equation, ks
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale

RESULTS = Path(__file__).parent / "results" / "long_records.csv"
KEY = ("record", "n_eta", "seed", "steps")
SCORES = ("rmse", "nrmse", "crps", "coverage")
COLUMNS = (*KEY, "forecaster", "fifth", *SCORES, "train_seconds", "device", "version", "commit")
N_ETA, STEPS, WINDOWS = 2, 6000, 12
SEED = 20_261_201  # of records, which no example has


def _record(values: NDArray[Any], dt: float, length: float, rng: Any) -> Trajectories:
    """One trajectory of noisy snapshots (time, point)."""
    noisy = values + 0.01 * values.std() * rng.standard_normal(values.shape)
    x = np.arange(values.shape[1]) * (length / values.shape[1])
    times = np.arange(len(values)) * dt
    return Trajectories(times, noisy[None], dims=("x",), coords={"x": x})


def _ks() -> tuple[Trajectories, int]:
    """The record, and the snapshots of a window."""
    rng = np.random.default_rng(SEED)
    x = np.arange(128) * (ks.LENGTH / 128)
    waves = [np.cos(2 * np.pi * j * x / ks.LENGTH + rng.uniform(0, 2 * np.pi)) for j in (1, 2, 3)]
    started = ks.solve(np.sum(waves, 0), num_steps=400, dt=0.5, substeps=10)[-1]
    values = ks.solve(started, num_steps=3000, dt=0.5, substeps=10)
    return _record(values, 0.5, ks.LENGTH, rng), 94


def _kdv() -> tuple[Trajectories, int]:
    """The record, and the snapshots of a window."""
    rng = np.random.default_rng(SEED)
    initial = kdv.hard_initial(rng, kdv_equation.grid())
    values = kdv_equation.solve(initial, num_steps=3000, dt=0.004)[:, ::4]
    return _record(values, 0.004, kdv_equation.LENGTH, rng), 251


RECORDS: dict[str, Callable[[], tuple[Trajectories, int]]] = {"ks": _ks, "kdv": _kdv}


def splits(name: str) -> Splits:
    """A record cut in time, and its last two parts into windows."""
    record, length = RECORDS[name]()
    train, validation, test = record.split(train=0.6, validation=0.2)
    every = (len(test.times[0]) - length) // (WINDOWS - 1)
    return Splits(
        train,
        validation.cut(length=length, every=every),
        test.cut(length=length, every=every),
    )


def measure(key: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Train and compare; a row for each forecaster and fifth."""
    train, validation, test = splits(key["record"])
    model = multiscale.like(train, n_eta=key["n_eta"], boundary="periodic", seed=key["seed"])
    started = time.perf_counter()
    fit = pyro_msde.fit(
        model,
        AmortizedGP(model, seed=key["seed"]),
        train,
        validation=validation,
        steps=key["steps"],
        seed=key["seed"],
        progress=False,
    )
    seconds = time.perf_counter() - started
    scores = pyro_msde.compare(fit, test, train, validation, seed=key["seed"])
    later = scores.isel(lead=scores["lead"].values > 0)
    for forecaster in scores["forecaster"].values:
        for fifth, part in enumerate(np.array_split(np.arange(later.sizes["lead"]), 5), 1):
            row = later.sel(forecaster=forecaster).isel(lead=part)
            yield {
                **key,
                "forecaster": forecaster,
                "fifth": fifth,
                **{name: f"{float(row[name].mean()):.5g}" for name in SCORES},
                "train_seconds": f"{seconds:.0f}" if forecaster == "fit" else "",
                "device": name_of("cpu"),
                "version": pyro_msde.__version__,
                "commit": table.commit(),
            }


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", default=",".join(RECORDS), help="separated by commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    for name in args.records.split(","):
        key = {"record": name, "n_eta": N_ETA, "seed": args.seed, "steps": args.steps}
        there = {tuple(r[k] for k in KEY) for r in table.read(args.results, COLUMNS)}
        if tuple(map(str, key.values())) in there:
            table.say_there(args.results, *key.values())
            continue
        for row in list(measure(key)):
            table.append(row, args.results, COLUMNS)
            print(", ".join(f"{k} {row[k]}" for k in (*KEY, "forecaster", "fifth", *SCORES)))


if __name__ == "__main__":
    main()
