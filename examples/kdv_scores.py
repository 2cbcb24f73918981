"""How the rows of the Korteweg–de Vries table are scored, and printed."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

import pyro_msde
from pyro_msde import baselines
from pyro_msde.datasets.kdv import DT, fresh
from pyro_msde.datasets.problem import Splits
from pyro_msde.scores import relative_squares

NUM_FRESH = 50  # unseen trajectories simulated to measure coverage
SEED_FRESH = 1234
NUM_TIMES = 51  # at which those are scored

HEADER = (
    f"{'row':32s} {'steps':>6s} {'train s':>7s}  {'test NRMSE':>15s}  {'fresh':>6s}  "
    f"{'cov90':>5s}  {'by tenth':>9s}  {'CRPS':>7s}  √C ×"
)


def score(fit: pyro_msde.Fit, split: str, test: pyro_msde.Trajectories) -> dict[str, Any]:
    """Error on the test trajectories; coverage, CRPS and error again on fresh ones."""
    times = test.times[0]
    fc = fit.forecast(test, num_samples=64)
    errors = np.asarray(pyro_msde.nrmse(fc, test, relative_to="zero"))
    by_tenth = np.asarray(pyro_msde.nrmse(fc, test, bins=10, relative_to="zero")).mean(0)
    every = (len(times) - 1) // (NUM_TIMES - 1)
    unseen = fresh(split, NUM_FRESH, SEED_FRESH, float(times[-1]))
    truth = unseen.thinned(every)
    fc = fit.forecast(truth, num_samples=64, max_step=2 * DT)
    covered = np.asarray(pyro_msde.coverage(fc, truth, level=0.9, bins=10))
    fresh_errors = np.asarray(pyro_msde.nrmse(fc, truth, relative_to="zero"))
    return {
        "steps": fit.steps,
        "train_seconds": round(fit.training.seconds),
        "nrmse_mean": float(errors.mean()),
        "nrmse_sd": float(errors.std(ddof=1)),
        "nrmse_by_trajectory": errors.round(4).tolist(),
        "nrmse_by_tenth": by_tenth.round(4).tolist(),
        "fresh_nrmse_mean": float(fresh_errors.mean()),
        "fresh_nrmse": fresh_errors.round(4).tolist(),
        "fresh_peak": np.abs([v[0] for v in truth.values]).max(1).round(3).tolist(),
        "coverage_90": float(covered.mean()),
        "coverage_by_tenth": covered.mean(0).round(4).tolist(),
        "coverage_by_trajectory": covered.mean(1).round(4).tolist(),
        "crps": float(np.mean(pyro_msde.crps(fc, truth))),
        "diffusion_scale": fit.diffusion_scale,
    }


def peaks(data: Splits) -> dict[str, tuple[float, float]]:
    """Smallest and largest max |y| of the first snapshots of each part."""
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    each = {name: np.abs([v[0] for v in part.values]).max(1) for name, part in parts.items()}
    return {name: (float(p.min()), float(p.max())) for name, p in each.items()}


def look_ups(data: Splits) -> dict[str, float]:
    """Errors of the answers a sceptic would try first, over the training horizon."""
    num_times = len(data.train.times[0])
    y = np.stack(data.test.values)[:, :num_times]
    components, degree = baselines.choose_regression(data.train)
    forecasts = {
        "persistence": baselines.persistence(y[:, 0], num_times),
        "mean": baselines.mean_trajectory(data.train, y[:, 0]),
        "nearest": baselines.nearest_trajectory(data.train, y[:, 0]),
        "pc-regression": baselines.principal_regression(
            data.train, y[:, 0], components=components, degree=degree
        ),
    }
    truth = torch.as_tensor(y)
    errors = {
        name: relative_squares(torch.from_numpy(f.astype(float)), truth)
        for name, f in forecasts.items()
    }
    return {name: float(np.sqrt(own.mean(1)).mean()) for name, own in errors.items()}


def report(name: str, result: dict[str, Any]) -> None:
    """Print one line of the table, and one about the largest of the fresh states."""
    tenths = result["coverage_by_tenth"]
    error = f"{result['nrmse_mean']:.2%} ± {result['nrmse_sd']:.2%}"
    print(
        f"{name:32s} {result['steps']:6d} {result['train_seconds']:7d}  {error:>15s}  "
        f"{result['fresh_nrmse_mean']:6.2%}  {result['coverage_90']:5.3f}  "
        f"{min(tenths):.2f}–{max(tenths):.2f}  {result['crps']:7.5f}  "
        f"{result['diffusion_scale']:g}"
    )
    k = int(np.argmax(result["fresh_peak"]))
    peak, share = result["fresh_peak"][k], result["coverage_by_trajectory"][k]
    error = result["fresh_nrmse"][k]
    print(f"    largest fresh state: peak {peak:.2f}, error {error:.1%}, covered {share:.2f}")
