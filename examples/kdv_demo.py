"""The short version of the Korteweg–de Vries case, a few minutes: `make demo`.

    python examples/kdv_demo.py --out runs/demo

Leaves under --out the run (for `pyro_msde.load`), metrics.json, forecast.png and test.nc (ArviZ).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from kdv import ROWS, train
from kdv_scores import look_ups

import pyro_msde
from pyro_msde import plot
from pyro_msde.datasets.kdv import kdv_splits


def main() -> None:
    """Train n_η = 5 at a reduced number of steps; leave table, run, figure and ArviZ file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="where to leave it")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    out: Path = args.out
    print("==> data: 20 trajectories of 1000 points and 1001 times, under data/")
    data = kdv_splits("published", directory="data")
    print(f"==> training n_η = 5 for {args.steps} steps; the full run takes 16000")
    row = next(row for row in ROWS if row.name == "kdv-5")
    fit = train(row, data, out, args.seed, args.steps)
    print("==> forecasting the 5 test trajectories from their first snapshots, at every 10th time")
    test = data.test.thinned(10)
    fc = fit.forecast(test, num_samples=64)
    errors = np.asarray(pyro_msde.nrmse(fc, test, relative_to="zero"))
    metrics = {
        "case": "kdv",
        "n_eta": 5,
        "steps": fit.steps,
        "train_seconds": round(fit.training.seconds, 1),
        "nrmse_mean": float(errors.mean()),
        "nrmse_sd": float(errors.std(ddof=1)),
        "coverage_90": float(np.mean(pyro_msde.coverage(fc, test, level=0.9))),
        "crps": float(np.mean(pyro_msde.crps(fc, test))),
        "persistence_nrmse": look_ups(data)["persistence"],
    }
    (out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    plot.forecast_overview(fc, test).savefig(out / "forecast.png", dpi=150)
    fit.to_arviz(test).to_netcdf(str(out / "test.nc"))
    for name, value in metrics.items():
        print(f"{name:20s} {value if isinstance(value, str | int) else f'{value:.4g}'}")
    print(f"==> in {out}: the run (pyro_msde.load), metrics.json, forecast.png, test.nc")


if __name__ == "__main__":
    main()
