"""Time and memory of a forecast too large to hold: 1000 samples of 1001 times of 128 x 128 points.

    python -m benchmarks.studies.streaming

All its fields are 66 GB in float32. Each part is a line of
benchmarks/studies/results/streaming.csv, with the most memory that the process had until then. The
quantile takes a tenth of the times.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pyro_msde
from benchmarks import table
from benchmarks.accuracy import kept_fit
from benchmarks.calibration import KEPT, SEED
from benchmarks.device import name_of
from examples.cases import CASES

RESULTS = Path(__file__).parent / "results" / "streaming.csv"
COLUMNS = (
    "what",
    "samples",
    "times",
    "points",
    "seconds",
    "peak_gigabytes",
    "threads",
    "device",
    "version",
)


def main() -> None:
    """Append the lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--times", type=int, default=1001)
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    setting = CASES["burgers2d"]["published"]
    fit = kept_fit(setting, 5, KEPT)
    if fit is None:
        raise SystemExit(f"{KEPT}/burgers2d-5: no weights are kept. Train them.")
    y0 = setting.problem.fresh("published", 1, SEED, setting.problem.dt).values[0][0]
    times = np.linspace(0, 1, args.times)

    def part(what: str, count: int, ask: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        out = ask()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        row = {
            "what": what,
            "samples": args.samples,
            "times": count,
            "points": y0.size,
            "seconds": f"{time.perf_counter() - began:.1f}",
            "peak_gigabytes": f"{peak:.2f}",
            "threads": torch.get_num_threads(),
            "device": name_of("cpu"),
            "version": pyro_msde.__version__,
        }
        table.append(row, args.results, COLUMNS)
        print(row, flush=True)
        return out

    fc = part("latent paths", args.times, lambda: fit.predict(y0, times, num_samples=args.samples))
    part("mean and variances", args.times, lambda: fc.var)
    few = fit.predict(y0, times[::10], num_samples=args.samples)
    part("95 % quantile", len(few.times), lambda: few.quantile(0.95))


if __name__ == "__main__":
    main()
