"""What the longest step of forecasts costs: error and seconds with and without the region's cap.

    python -m benchmarks.step_cap

The region draws paths back at a rate of 500 per horizon, for which the midpoint rule is stable at
steps up to .4 % of it; `Fit.predict` takes none beyond .3 % where a region is known. Each line of
benchmarks/results/step_cap.csv is a forecast of the same unseen trajectories by kept weights, at
steps of `max_step` horizons that are capped or not. Takes two minutes on one core.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pyro_msde
from benchmarks import table
from benchmarks.accuracy import kept_fit
from benchmarks.calibration import KEPT, unseen
from benchmarks.device import name_of
from examples.cases import CASES
from pyro_msde.forecasts import Region
from pyro_msde.sde import Dynamics

RESULTS = Path(__file__).parent / "results" / "step_cap.csv"
COLUMNS = (
    "case",
    "n_eta",
    "trajectories",
    "samples",
    "max_step",
    "capped",
    "nrmse",
    "diverged",
    "seconds",
    "threads",
    "device",
    "version",
)
MAX_STEPS = (0.001, 0.002, 0.003, 0.004, 0.006, 0.01)
TRAJECTORIES, SAMPLES = 3, 16


@dataclass(frozen=True)
class Uncapped(Region):
    """Draws paths back whatever the step is."""

    def apply(self, dynamics: Dynamics) -> Dynamics:
        """The region's drift, without its longest step."""
        return replace(super().apply(dynamics), longest_step=dynamics.longest_step)


def measured(fit: pyro_msde.Fit, truth: pyro_msde.Trajectories, max_step: float) -> dict[str, Any]:
    """Error of one forecast at all times of the truth, and how long it took."""
    began = time.perf_counter()
    step = max_step * fit.scaling.time
    fc = fit.forecast(truth, num_samples=SAMPLES, max_step=step)
    seconds = time.perf_counter() - began
    finite = bool(fc.mean.isfinite().all())
    error = np.mean(pyro_msde.nrmse(fc, truth, relative_to="zero")) if finite else np.inf
    return {
        "max_step": max_step,
        "nrmse": f"{error:.5f}",
        "diverged": f"{float(fc.diverged.mean()):.4f}",
        "seconds": f"{seconds:.1f}",
    }


def main() -> None:
    """Append the lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", default="kdv,burgers1d", help="separated by commas")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    known = {
        "trajectories": TRAJECTORIES,
        "samples": SAMPLES,
        "threads": torch.get_num_threads(),
        "device": name_of("cpu"),
        "version": pyro_msde.__version__,
    }
    for case in args.case.split(","):
        setting = CASES[case]["published"]
        fit = kept_fit(setting, setting.n_eta, KEPT)
        region: Any = None if fit is None else fit.adjustment("region")
        if fit is None or region is None:
            raise SystemExit(f"{KEPT}: no weights of {case} with a region are kept. Train them.")
        # no denser than the longest step, so that it is taken
        truth = unseen(setting, list(range(TRAJECTORIES)))
        truth = truth.thinned(len(truth.times[0]) // 50)
        free = fit.adjusted(Uncapped(**vars(region)))
        for max_step in MAX_STEPS:
            for capped, own in ((True, fit), (False, free)):
                found = measured(own, truth, max_step)
                row = {"case": case, "n_eta": setting.n_eta, "capped": capped, **found, **known}
                table.append(row, args.results, COLUMNS)
                print(row, flush=True)


if __name__ == "__main__":
    main()
