"""Frequency of vortex shedding in free forecasts of ten periods, against the flow's own.

    python -m benchmarks.shedding --runs benchmarks/runs

From the first snapshot to test of the published split, ten periods ahead, of which the data hold
one and a half: the flow is periodic, so that its frequency is known. Also the largest Floquet
multiplier of the learned drift along the last encoded period to train on: what small errors are
times after a period. 1 is an error in time alone; the cycle is unstable where it is more.

On the hard split from each first snapshot to test over the whole of its trajectory; frequencies are
of the last three periods of both. They are read from v in the middle of the wake, one diameter
times eight behind the cylinder, off the forecasts' mean. Rows go to
benchmarks/results/shedding.csv.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import pyro_msde
from benchmarks import table
from benchmarks.cylinder_solver import period_of
from examples.cases import CASES
from pyro_msde.datasets.cylinder import X, Y
from pyro_msde.datasets.problem import Splits
from pyro_msde.forecasts.simulation import encodable
from pyro_msde.priors import starting_values

Array = NDArray[Any]

RESULTS = Path(__file__).parent / "results" / "shedding.csv"
COLUMNS = (
    "run",
    "reynolds",
    "period",
    "forecast",
    "error",
    "periods",
    "multiplier",
    "commit",
)
_PROBE = np.abs(X - 1.0).argmin(), np.abs(Y).argmin()
_PERIODS, _LAST = 10, 3
_SAMPLES = 16


def probe(fields: Any) -> Array:
    """Its v (time,), of fields (time, 2, x, y)."""
    return np.asarray(fields)[:, 1, _PROBE[0], _PROBE[1]].astype(float)


def last_period(times: Array, signal: Array, count: int) -> float:
    """Mean period of the last so many."""
    first = period_of(times[len(times) // 2 :], signal[len(times) // 2 :])
    late = times > times[-1] - (count + 0.5) * first
    return period_of(times[late], signal[late])


def published(fit: pyro_msde.Fit, data: Splits) -> list[dict[str, Any]]:
    """One row: the training trajectory has the period."""
    clock, values = data.train.times[0], data.train.values[0]
    truth = last_period(clock, probe(values), _PERIODS)
    start, dt = data.test.times[0][0], clock[1] - clock[0]
    times = start + dt * np.arange(round(_PERIODS * truth / dt) + 1)
    fc = fit.predict(data.test.values[0][0], times, num_samples=_SAMPLES)
    found = period_of(times, probe(fc.mean))
    multiplier = largest_multiplier(fit, data.train, truth)
    return [{**row(160.0, truth, found, _PERIODS), "multiplier": f"{multiplier:.3f}"}]


def largest_multiplier(fit: pyro_msde.Fit, train: pyro_msde.Trajectories, period: float) -> float:
    """Of the drift's linearisation along encoded snapshots of the last period."""
    times = train.times[0]
    spacing = float(times[1] - times[0])
    last = train.after(times[-1] - period - 0.5 * spacing)
    model, clock = fit.model, last.times[0] / fit.scaling.time
    bound = model.bind(starting_values(model))
    with torch.no_grad():
        fields = torch.as_tensor(last.values[0]).double()
        scaled = encodable(model, fit.scaling, fields, last.times[0])[0]
        states = fit.guide.encode(scaled, bound)[0]
    product = torch.eye(states.shape[-1], dtype=torch.float64)
    for state, t in zip(states[:-1], torch.as_tensor(clock[:-1]), strict=True):

        def rate(z: torch.Tensor, t: torch.Tensor = t) -> torch.Tensor:
            return bound.drift(z[None, None], t[None, None])[0, 0]

        with torch.no_grad():
            jacobian = torch.func.jacrev(rate)(state).double()
        product = torch.linalg.matrix_exp(jacobian * spacing / fit.scaling.time) @ product
    return float(torch.linalg.eigvals(product).abs().max())


def hard(fit: pyro_msde.Fit, data: Splits) -> list[dict[str, Any]]:
    """A row for each trajectory to test."""
    fc = fit.forecast(data.test, num_samples=_SAMPLES)
    rows = []
    for k, (times, values) in enumerate(zip(data.test.times, data.test.values, strict=True)):
        truth = last_period(times, probe(values), _LAST)
        found = last_period(times, probe(fc.mean[k]), _LAST)
        rows.append(row(float(data.test.covariates[k, 0]), truth, found, _LAST))
    return rows


def row(reynolds: float, truth: float, found: float, periods: int) -> dict[str, Any]:
    """As it stands in the file."""
    return {
        "reynolds": f"{reynolds:g}",
        "period": f"{truth:.5f}",
        "forecast": f"{found:.5f}",
        "error": f"{found / truth - 1:.5f}",
        "periods": periods,
    }


def main() -> None:
    """Measure the runs that are kept, print and keep their rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=Path("benchmarks/runs"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for folder in sorted(args.runs.glob("cylinder-*")):
        split = "hard" if folder.name.endswith("hard") else "published"
        data = CASES["cylinder"][split].problem.splits(split, directory="data")
        measure = hard if split == "hard" else published
        for found in measure(pyro_msde.load(folder), data):
            rows.append({"run": folder.name, **found, "commit": table.commit()})
            print(rows[-1], flush=True)
    with args.results.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
