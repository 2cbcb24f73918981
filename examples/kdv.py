"""Korteweg–de Vries end to end: learn from noisy snapshots, forecast unseen trajectories.

    python examples/kdv.py                          all rows of the table, some hours on 2 cores
    python examples/kdv.py --demo --out runs/demo   n_η = 5 at 3000 steps, a few minutes
    python examples/kdv.py --score benchmarks/runs  score the weights kept there, up to an hour

Trained runs are kept under --out and resumed or reused. Nothing is tuned on the test trajectories.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import pyro_msde
from pyro_msde import baselines, plots
from pyro_msde.datasets.kdv import KdVSplits, fresh, kdv_splits
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import kdv

NUM_FRESH = 50  # unseen trajectories simulated to measure coverage
SEED_FRESH = 1234


@dataclass(frozen=True)
class Row:
    """One row of the table: what to train, on which split."""

    name: str
    split: str
    model: dict[str, Any]
    fit: dict[str, Any] = field(default_factory=dict)


ROWS = (
    Row("kdv-0", "published", {"n_eta": 0}, {"steps": 16_000}),
    Row("kdv-5", "published", {"n_eta": 5}, {"steps": 16_000}),
    Row("kdv-5-published-recipe", "published", {"n_eta": 5, "recipe": "published"},
        {"steps": 16_000, "recipe": "published"}),
    Row("kdv-hard", "hard", {"n_eta": 0, "n_coarse": 50, "rank": 24}, {"steps": 16_000}),
)  # fmt: skip


def train(row: Row, data: KdVSplits, out: Path, seed: int) -> pyro_msde.Fit:
    """Train a row, or load it if it is there, and calibrate it on the validation trajectories."""
    model = kdv(**row.model, seed=seed)
    guide = AmortizedGP(model, seed=seed)
    fit = pyro_msde.fit(
        model, guide, data.train, validation=data.validation, seed=seed, checkpoint=out, **row.fit
    )
    fit = fit.calibrated(data.validation)
    fit.save(out)
    return fit


def score(fit: pyro_msde.Fit, split: str, test: pyro_msde.Trajectories) -> dict[str, Any]:
    """Error on the test trajectories; coverage and CRPS by lead time on fresh ones."""
    times = test.times[0]
    y = np.stack(test.values)
    fc = fit.predict(y[:, 0], times, num_samples=64)
    errors = np.asarray(pyro_msde.nrmse(fc, test))
    by_part = np.asarray(pyro_msde.nrmse(fc, test, bins=10)).mean(0)
    unseen = fresh(split, NUM_FRESH, SEED_FRESH, float(times[-1]))
    every = len(times) // 50
    truth = pyro_msde.Trajectories(unseen.times[0][::every], [v[::every] for v in unseen.values])
    fc = fit.predict(
        np.stack(truth.values)[:, 0], truth.times[0], num_samples=64, max_step=0.002
    )
    covered = np.asarray(pyro_msde.coverage(fc, truth, level=0.9, bins=10))
    return {
        "nrmse_mean": float(errors.mean()),
        "nrmse_sd": float(errors.std(ddof=1)),
        "nrmse_by_tenth": by_part.round(4).tolist(),
        "nrmse_fresh": np.asarray(pyro_msde.nrmse(fc, truth)).round(4).tolist(),
        "coverage_90": float(covered.mean()),
        "coverage_by_tenth": covered.mean(0).round(4).tolist(),
        "coverage_by_trajectory": covered.mean(1).round(4).tolist(),
        "crps": float(np.mean(pyro_msde.crps(fc, truth))),
        "diffusion_scale": fit.diffusion_scale,
    }


def look_ups(data: KdVSplits) -> dict[str, float]:
    """Errors of the answers a sceptic would try first, over the training horizon."""
    train = np.stack(data.train.values)
    times = data.train.times[0]
    y = np.stack(data.test.values)[:, : len(times)]
    forecasts = {
        "persistence": baselines.persistence(y[:, 0], len(times)),
        "mean": baselines.mean_trajectory(train, y[:, 0]),
        "nearest": baselines.nearest_trajectory(train, y[:, 0]),
        "pc-regression": baselines.principal_regression(train, y[:, 0]),
    }
    norms = np.square(y).sum(2)
    return {
        name: float(np.sqrt((np.square(f - y).sum(2) / norms).mean(1)).mean())
        for name, f in forecasts.items()
    }


def report(name: str, steps: int, seconds: float, result: dict[str, Any]) -> None:
    """One line of the table."""
    tenths = result["coverage_by_tenth"]
    print(
        f"{name:24s} {steps:6d} {seconds:7.0f}  {result['nrmse_mean']:6.2%} ± "
        f"{result['nrmse_sd']:5.2%}  {result['coverage_90']:.3f}  "
        f"{min(tenths):.2f}–{max(tenths):.2f}  {result['crps']:.5f}  {fit_scale(result)}"
    )


def fit_scale(result: dict[str, Any]) -> str:
    """The calibration step's multiple of √C."""
    return f"{result['diffusion_scale']:g}"


def run_table(rows: tuple[Row, ...], out: Path, kept: Path | None, seed: int) -> None:
    """Train or load every row, score it, print and keep the table."""
    table: dict[str, Any] = {}
    print(
        "row                       steps seconds    test NRMSE        cov90  by tenth   CRPS  √C ×"
    )
    for row in rows:
        data = kdv_splits(row.split, directory="data")
        if kept is not None and not (kept / row.name).exists():
            continue
        if kept is None:
            fit = train(row, data, out / row.name, seed)
        else:
            fit = pyro_msde.load(kept / row.name)
        for horizon in (1.0, 2.0) if row.split == "hard" else (1.0,):
            last = round(horizon / 0.001) + 1
            test = pyro_msde.Trajectories(
                data.test.times[0][:last], [v[:last] for v in data.test.values]
            )
            name = row.name + (f" [0,{horizon:g}]" if row.split == "hard" else "")
            table[name] = score(fit, row.split, test)
            report(name, fit.steps, fit.seconds, table[name])
    for split in ("published", "hard"):
        table[f"look-ups {split}"] = look_ups(kdv_splits(split, directory="data"))
        print(f"look-ups, {split}, [0,1]:", ", ".join(
            f"{k} {v:.1%}" for k, v in table[f"look-ups {split}"].items()
        ))  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.json").write_text(json.dumps(table, indent=1) + "\n")


def every_tenth_time(data: pyro_msde.Trajectories) -> pyro_msde.Trajectories:
    """A tenth of the times, for a demonstration that does not take all day to decode."""
    return pyro_msde.Trajectories(
        data.times[0][::10], [v[::10] for v in data.values],
        dims=data.dims, coords=data.coords, units=data.units,
    )  # fmt: skip


def run_demo(out: Path, steps: int, seed: int) -> None:
    """Train n_η = 5 at a reduced number of steps; leave table, run, figure and ArviZ file."""
    print(f"==> data: 20 trajectories of 1000 points and 1001 times, under data/ (seed {seed})")
    data = kdv_splits("published", directory="data")
    print(f"==> training n_η = 5 for {steps} steps; the full run takes 16000")
    row = Row("demo", "published", {"n_eta": 5}, {"steps": steps})
    fit = train(row, data, out, seed)
    print("==> forecasting the 5 test trajectories from their first snapshots, at every 10th time")
    test = every_tenth_time(data.test)
    fc = fit.predict(np.stack(test.values)[:, 0], test.times[0], num_samples=64)
    errors = np.asarray(pyro_msde.nrmse(fc, test))
    metrics = {
        "case": "kdv",
        "n_eta": 5,
        "steps": fit.steps,
        "train_seconds": round(fit.seconds, 1),
        "nrmse_mean": float(errors.mean()),
        "nrmse_sd": float(errors.std(ddof=1)),
        "coverage_90": float(np.mean(pyro_msde.coverage(fc, test, level=0.9))),
        "crps": float(np.mean(pyro_msde.crps(fc, test))),
        "persistence_nrmse": look_ups(data)["persistence"],
    }
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    plots.forecast_overview(fc, test).savefig(out / "forecast.png", dpi=150)
    fit.to_arviz(test).to_netcdf(str(out / "test.nc"))
    for name, value in metrics.items():
        print(f"{name:20s} {value if isinstance(value, str | int) else f'{value:.4g}'}")
    print(f"==> in {out}: the run (pyro_msde.load), metrics.json, forecast.png, test.nc")


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--demo", action="store_true", help="n_η = 5 at a reduced number of steps")
    parser.add_argument("--out", type=Path, default=Path("runs/kdv"), help="where runs are kept")
    parser.add_argument("--rows", help="only these rows, separated by commas")
    parser.add_argument("--score", type=Path, help="score the weights kept in this folder")
    parser.add_argument("--steps", type=int, help="steps, for all rows")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.demo:
        run_demo(args.out, args.steps or 3000, args.seed)
        return
    rows = ROWS
    if args.rows:
        rows = tuple(row for row in rows if row.name in args.rows.split(","))
    if args.steps:
        rows = tuple(replace(row, fit={**row.fit, "steps": args.steps}) for row in rows)
    run_table(rows, args.out, args.score, args.seed)


if __name__ == "__main__":
    main()
