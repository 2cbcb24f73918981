"""Burgers' equation end to end, at the published sizes: 1000 → 20 points, or 128² → 8².

    python examples/burgers.py                        one dimension, some minutes on one core
    python examples/burgers.py --dimensions 2         two dimensions, an hour or two; 5 GB of memory
    python examples/burgers.py --split hard           several bumps of both signs, a viscosity each

Leaves under --out the run (for `pyro_msde.load`) and forecast.png. An interrupted run is resumed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import pyro_msde
from pyro_msde import plot
from pyro_msde.datasets.burgers1d import BURGERS1D
from pyro_msde.datasets.burgers2d import BURGERS2D
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import burgers1d, burgers2d

# on the harder splits no few numbers describe the fine scale: the coarse grid has to resolve more
SETTINGS: dict[tuple[int, str], dict[str, Any]] = {
    (1, "published"): {"n_eta": 5},
    (1, "hard"): {"n_eta": 0, "n_coarse": 100, "num_parameters": 1},
    (2, "published"): {"n_eta": 5},
    (2, "hard"): {"n_eta": 0, "n_coarse": 16},
}

RECIPE = {"published": "default", "hard": "steady"}


def main() -> None:
    """Train, calibrate on validation trajectories, forecast the test trajectories."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dimensions", type=int, choices=(1, 2), default=1)
    parser.add_argument("--split", choices=("published", "hard"), default="published")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where to leave it; runs/burgers1d-published, say")
    args = parser.parse_args()
    out = args.out or Path("runs") / f"burgers{args.dimensions}d-{args.split}"
    problem, build = ((BURGERS1D, burgers1d), (BURGERS2D, burgers2d))[args.dimensions - 1]
    data = problem.splits(args.split, directory="data")
    model = build(**SETTINGS[args.dimensions, args.split], seed=args.seed)
    fit = pyro_msde.fit(
        model, AmortizedGP(model, seed=args.seed), data.train, validation=data.validation,
        steps=args.steps, seed=args.seed, checkpoint=out, recipe=RECIPE[args.split],
    )  # fmt: skip
    fit = fit.calibrated(data.validation)
    fit.save(out)
    test = data.test.every(10)
    fc = fit.forecast(test)
    errors = np.asarray(pyro_msde.nrmse(fc, test))
    print(f"test NRMSE {errors.mean():.2%} ± {errors.std(ddof=1):.2%}")
    print(f"coverage of the 90 % interval {np.mean(pyro_msde.coverage(fc, test)):.3f}")
    picture = plot.forecast_images(fc, test)
    picture.flat[0].figure.savefig(out / "forecast.png", dpi=150)


if __name__ == "__main__":
    main()
