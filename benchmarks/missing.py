"""What missing values cost: Korteweg–de Vries with gaps against the complete data.

    python -m benchmarks.missing --gaps complete,random,points,block --n-eta 5,0 --steps 4000

Gaps: "random", 30 % of the values, others in each snapshot; "points", the same scattered fifth of
the points, never observed; "block", a fifth of the points side by side. Training, validation and
the snapshots that forecasts start from have the gaps; errors and coverage are counted on the
complete test trajectories at 101 times, and by points that were observed and that were not. One row
per run is appended to benchmarks/results/missing.csv; what is there is skipped. Two minutes a run
on one free core.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pyro_msde
from benchmarks import table
from examples.cases import CASES
from pyro_msde import Trajectories
from pyro_msde.datasets.problem import Splits
from pyro_msde.guides import AmortizedGP

RESULTS = Path(__file__).parent / "results" / "missing.csv"
KEY = ("gaps", "n_eta", "seed", "steps")
COLUMNS = (
    *KEY,
    "nrmse_mean",
    "nrmse_sd",
    "nrmse_observed",
    "nrmse_never_observed",
    "coverage_90",
    "coverage_low",
    "coverage_high",
    "coverage_never_observed",
    "diffusion_scale",
    "train_seconds",
    "version",
    "commit",
)
GAPS = ("complete", "random", "points", "block")
_MISSING = 0.3  # of the values at random
_NEVER = 0.2  # of the points
_BLOCK = 0.5  # of the axis, where the block begins: the wave passes it


def gaps_of(kind: str, shape: tuple[int, ...], seed: int) -> Any:
    """Where values (trajectory, time, point) are missing, bool."""
    if kind == "random":
        return np.random.default_rng(seed).random(shape) < _MISSING
    points = np.zeros(shape[-1], dtype=bool)
    count = int(_NEVER * shape[-1])
    if kind == "points":
        points[np.random.default_rng(0).permutation(shape[-1])[:count]] = True
    elif kind == "block":
        start = int(_BLOCK * shape[-1])
        points[start : start + count] = True
    return np.broadcast_to(points, shape)


def with_gaps(data: Trajectories, kind: str, seed: int) -> Trajectories:
    """The data without the values in the gaps."""
    values = np.stack(data.values)
    if kind == "complete":
        return data
    gappy = np.where(gaps_of(kind, values.shape, seed), np.nan, values)
    return Trajectories(data.times, gappy, missing="mask")


def measure(kind: str, n_eta: int, seed: int, steps: int, data: Splits) -> dict[str, Any]:
    """Train on data with gaps, forecast from snapshots with gaps, score on the truth."""
    setting = CASES["kdv"]["published"]
    parts = (data.train, data.validation, data.test.thinned(10))
    train, validation, test = (with_gaps(part, kind, i) for i, part in enumerate(parts))
    model = setting.build(n_eta, seed)
    started = time.perf_counter()
    fit = pyro_msde.fit(
        model,
        AmortizedGP(model),
        train,
        validation=validation,
        steps=steps,
        seed=seed,
        **setting.training(n_eta),
        progress=False,
    )
    seconds = time.perf_counter() - started
    fit = fit.calibrated(validation)
    fc = fit.forecast(test)
    truth = np.stack(parts[2].values)
    errors = pyro_msde.nrmse(fc, parts[2])
    inside = (truth >= fc.quantile(0.05).numpy()) & (truth <= fc.quantile(0.95).numpy())
    square, size = np.square(fc.mean.numpy() - truth), np.square(truth).mean()
    by_time = [part.mean() for part in np.array_split(inside, 10, axis=1)]
    never = gaps_of(kind, truth.shape, 0)[0, 0] & (kind != "random")
    row: dict[str, Any] = {
        "nrmse_mean": f"{np.mean(errors):.5f}",
        "nrmse_sd": f"{np.std(errors, ddof=1):.5f}",
        "nrmse_observed": f"{np.sqrt(square[..., ~never].mean() / size):.5f}",
        "coverage_90": f"{inside.mean():.4f}",
        "coverage_low": f"{min(by_time):.4f}",
        "coverage_high": f"{max(by_time):.4f}",
        "diffusion_scale": fit.diffusion_scale,
        "train_seconds": round(seconds, 1),
    }
    if never.any():
        row["nrmse_never_observed"] = f"{np.sqrt(square[..., never].mean() / size):.5f}"
        row["coverage_never_observed"] = f"{inside[..., never].mean():.4f}"
    return row


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gaps", default=",".join(GAPS), help="kinds, separated by commas")
    parser.add_argument("--n-eta", default="5,0")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = CASES["kdv"]["published"].problem.splits("published", directory="data")
    for n_eta in map(int, args.n_eta.split(",")):
        for kind in args.gaps.split(","):
            key = {"gaps": kind, "n_eta": n_eta, "seed": args.seed, "steps": args.steps}
            there = {tuple(r[k] for k in KEY) for r in table.read(args.results, COLUMNS)}
            if tuple(map(str, key.values())) in there:
                table.say_there(args.results, *key.values())
                continue
            row = {
                **key,
                **measure(kind, n_eta, args.seed, args.steps, data),
                "version": pyro_msde.__version__,
                "commit": table.commit(),
            }
            table.append(row, args.results, COLUMNS)
            print(", ".join(f"{k} {v}" for k, v in row.items()), flush=True)


if __name__ == "__main__":
    main()
