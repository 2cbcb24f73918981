"""Burgers' equation end to end, at the published sizes: 1000 → 20 points, or 128² → 8².

    python examples/burgers.py                        one dimension, twenty minutes on one core
    python examples/burgers.py --dimensions 2         two dimensions, an hour or two; 5 GB of memory
    python examples/burgers.py --split hard           several bumps of both signs, a viscosity each

Trains as the row of README's table, whose settings are in `cases.py`. Leaves under --out the run
(for `pyro_msde.load`) and forecast.png. An interrupted run is resumed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from cases import CASES

import pyro_msde
from pyro_msde import plot


def main() -> None:
    """Train, calibrate on validation trajectories, forecast the test trajectories."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dimensions", type=int, choices=(1, 2), default=1)
    parser.add_argument("--split", choices=("published", "hard"), default="published")
    parser.add_argument("--steps", type=int, help="of training; unless given the row's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where to leave it; runs/burgers1d-published, say")
    args = parser.parse_args()
    setting = CASES[f"burgers{args.dimensions}d"][args.split]
    n_eta = setting.n_eta
    out = args.out or Path("runs") / f"{setting.case}-{setting.split}"
    data = setting.problem.splits(args.split, directory="data")
    fit = setting.train(data, n_eta, seed=args.seed, steps=args.steps, out=out)
    test = data.test.until(setting.horizon).thinned(10)
    fc = fit.forecast(test)
    errors = np.asarray(pyro_msde.nrmse(fc, test, relative_to="zero"))
    print(f"test NRMSE {errors.mean():.2%} ± {errors.std(ddof=1):.2%}")
    print(f"coverage of the 90 % interval {np.mean(pyro_msde.coverage(fc, test)):.3f}")
    picture = plot.forecast_images(fc, test)
    picture.flat[0].figure.savefig(out / "forecast.png", dpi=150)


if __name__ == "__main__":
    main()
