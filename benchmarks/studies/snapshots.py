"""What several snapshots are worth to a forecast, beside an exact Kalman filter.

    python -m benchmarks.studies.snapshots

A generalised Langevin field (`pyro_msde.datasets.gle`) with noise of .5 a point is learned at
n_η = 2, and forecasts of 200 unseen stationary series start from their last 1, 2, 5, 10 and 20
snapshots: complete, with 30 % of values missing, and with 20 of 33 points missing in the last one.
Of the three modes at the start, rows give the error over that of the Kalman filter of the equation
itself (from a flat law), and E e²/σ², which is 1 where the claimed variance is right, both averaged
over modes. Then the kept weights of Korteweg–de Vries at n_η = 5 forecast five fresh trajectories
from .1 to .52: the error against the fields without noise, from snapshots without noise, with it,
with 30 % missing, and with the crest missing in the last one. Rows go to
benchmarks/studies/results/snapshots.csv, if it is not there. Ten minutes on one free core.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import pyro_msde
from benchmarks import table
from benchmarks.calibration import KEPT
from benchmarks.errors import trajectory_error
from examples.gle import RECIPE
from pyro_msde.data import Metadata
from pyro_msde.datasets.gle import DIFFUSION, DRIFT, GLE, modes, points, sample_path
from pyro_msde.datasets.kdv import KDV
from pyro_msde.guides import AmortizedGP
from pyro_msde.models.gle import gle
from pyro_msde.sde import stationary_covariance, transition

Array = NDArray[Any]

RESULTS = Path(__file__).parent / "results" / "snapshots.csv"
COLUMNS = (
    "case",
    "gaps",
    "snapshots",
    "error",
    "error_over_exact",
    "squares_over_claim",
    "version",
)
NOISE, SERIES, MOST = 0.5, 200, 20


def with_gaps(fit: pyro_msde.Fit) -> pyro_msde.Fit:
    """The fit, which takes snapshots with gaps."""
    metadata = fit.metadata or Metadata("u", None, {}, {}, None, ())
    return replace(fit, metadata=replace(metadata, missing="mask"))


def learned(steps: int) -> pyro_msde.Fit:
    """Of noisy relaxations."""
    rng = np.random.default_rng(0)
    train = GLE.splits("relaxation").train
    noisy = [v + NOISE * rng.standard_normal(v.shape) for v in train.values]
    model = gle(2)
    data = pyro_msde.Trajectories(train.times, noisy)
    return pyro_msde.fit(model, AmortizedGP(model), data, steps=steps, progress=False, **RECIPE)


def exact(observed: Array, basis: Array) -> Array:
    """Means (series, mode) of the equation's Kalman filter at the last snapshot."""
    phi, added = transition(DRIFT, DIFFUSION, GLE.dt)
    means = []
    for series in observed:
        m, P = np.zeros(3), 100.0 * np.eye(3)
        for i, y in enumerate(series):
            if i:
                m, P = phi @ m, phi @ P @ phi.T + added
            seen = np.isfinite(y)
            H = basis.T[seen]
            S = H @ P @ H.T + NOISE**2 * np.eye(len(H))
            gain = np.linalg.solve(S, H @ P).T
            m, P = m + gain @ (y[seen] - H @ m), P - gain @ S @ gain.T
        means.append(m)
    return np.array(means)


def langevin(fit: pyro_msde.Fit) -> Iterator[dict[str, Any]]:
    """Rows of the generalised Langevin field."""
    rng, basis = np.random.default_rng(5), modes(points())
    chol = np.linalg.cholesky(stationary_covariance(DRIFT, DIFFUSION))
    starts = (chol @ rng.standard_normal(3) for _ in range(SERIES))
    paths = np.stack([sample_path(z, MOST - 1, GLE.dt, rng) for z in starts])
    fields = paths @ basis + NOISE * rng.standard_normal((SERIES, MOST, basis.shape[1]))
    last = np.arange(MOST)[:, None] == MOST - 1
    gaps = {
        "none": np.zeros(fields.shape, dtype=bool),
        "random": rng.uniform(size=fields.shape) < 0.3,
        "last": np.broadcast_to(last & (np.arange(basis.shape[1]) < 20), fields.shape),
    }
    for name, missing in gaps.items():
        for count in (1, 2, 5, 10, 20):
            y = np.where(missing, np.nan, fields)[:, -count:]
            times = GLE.dt * np.arange(count)
            fc = with_gaps(fit).predict(y, times[-1:], times0=times)
            bound = fc.theta[0]
            field = bound.observe(fc.paths[0, :, :, 0]).mean.detach()[..., 0, :].double().numpy()
            state = field * fit.scaling.channels[0] @ basis.T / basis.shape[1]
            squares = np.square(state.mean(0) - paths[:, -1])
            best = np.square(exact(y, basis) - paths[:, -1])
            ratio = np.sqrt(squares.mean(0) / best.mean(0))
            yield {
                "case": "gle",
                "gaps": name,
                "snapshots": count,
                "error": f"{np.sqrt(squares.mean()):.4f}",
                "error_over_exact": f"{ratio.mean():.3f}",
                "squares_over_claim": f"{(squares / state.var(0, ddof=1)).mean():.2f}",
            }


def waves(fit: pyro_msde.Fit) -> Iterator[dict[str, Any]]:
    """Rows of Korteweg–de Vries."""
    noisy, clean = (
        KDV.generate("published", 5, horizon=1.0, seed=0, stream="fresh", noise_sd=sd)["u"].values
        for sd in (KDV.noise_sd, 0.0)
    )
    start, clock = 100, KDV.dt * np.arange(noisy.shape[1])
    at = np.r_[start, np.arange(start + 10, 521, 82)]
    crest = np.abs(clean[:, start]).argmax(1)[:, None]
    near = np.abs((np.arange(1000) - crest + 500) % 1000 - 500) <= 100
    last = np.where(np.arange(noisy.shape[1])[:, None] == start, near[:, None], False)
    given = {
        "none, no noise": clean,
        "none": noisy,
        "random": np.where(np.random.default_rng(1).random(noisy.shape) < 0.3, np.nan, noisy),
        "last": np.where(last, np.nan, noisy),
    }
    for name, values in given.items():
        for count, stride in ((1, 1), (5, 2), (20, 5)):
            past = start - stride * np.arange(count)[::-1]
            fc = with_gaps(fit).predict(values[:, past], clock[at], times0=clock[past])
            errors = map(trajectory_error, fc.mean.numpy(), clean[:, at])
            yield {
                "case": "kdv",
                "gaps": name,
                "snapshots": count,
                "error": f"{np.mean(list(errors)):.4f}",
            }


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500, help="of the Langevin model")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    if args.results.exists():
        table.say_there(args.results, "snapshots")
        return
    torch.set_num_threads(1)
    cases = (langevin(learned(args.steps)), waves(pyro_msde.load(KEPT / "kdv-5")))
    for rows in cases:
        for row in rows:
            table.append({**row, "version": pyro_msde.__version__}, args.results, COLUMNS)
            print(row, flush=True)


if __name__ == "__main__":
    main()
