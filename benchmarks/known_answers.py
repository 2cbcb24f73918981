"""Noisy linear fields, of which the best forecast is known: rates, variances, errors, intervals.

    python -m benchmarks.known_answers
    python -m benchmarks.known_answers --apart 0.1,1 --fields waves --seeds 3

Amplitudes of three cosines and three sines on 64 periodic points decay and are driven by white
noise; "decay" has them apart, "waves" lets each pair turn into another, as travelling waves do. A
training record has 280 snapshots, `apart` correlation times apart, with measurement noise of .05
where the field's standard deviation is 1.7. Beside our fit with default arguments stands the exact
maximum-likelihood estimate on the same record, with its Kalman filter's forecasts: nothing can be
better on average. Forecasts start from one snapshot; 100 windows of eleven are scored. One row for
each field, distance, seed and forecaster is appended to benchmarks/results/known_answers.csv.

`rate` is what mean forecasts of one step lose, per correlation time (1 is true), `variance` that of
amplitudes after ten correlation times (1 is true); `_sd` are standard errors of the estimate from
the record, by the curvature of its likelihood. `diffusion` is √C at a point, 2.45 the true one.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import approx_fprime, minimize

import pyro_msde
from benchmarks import table
from pyro_msde import Trajectories
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale

RESULTS = Path(__file__).parent / "results" / "known_answers.csv"
KEY = ("field", "apart", "seed", "forecaster", "steps")
LEADS = (1, 2, 5, 10)
COLUMNS = (
    *KEY,
    "rate",
    "rate_sd",
    "variance",
    "variance_sd",
    *(f"rmse_{lead}" for lead in LEADS),
    "rmse_all",
    "coverage_1",
    "coverage_5",
    "coverage_10",
    "diffusion",
    "seconds",
    "device",
    "version",
    "commit",
)
POINTS, RECORD, WINDOWS, NOISE = 64, 280, 100, 0.05
TURNS = {"decay": (0.0, 0.0, 0.0), "waves": (0.5, 1.0, 1.5)}  # radians in a correlation time

Array = NDArray[Any]


def waves() -> Array:
    """(6, point) cosines, then sines, of one to three waves."""
    x = 2 * np.pi * np.arange(POINTS) / POINTS
    return np.array([f(k * x) for f in (np.cos, np.sin) for k in (1, 2, 3)])


def amplitudes(turns: Array, apart: float, count: int, rows: int, rng: Any) -> Array:
    """Complex amplitudes (row, time, 3) of rate 1 and variance 2, each part's being 1."""
    step = np.exp((-1 + 1j * np.asarray(turns)) * apart)
    shape = (rows, count, 3)
    kicks = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    z = np.empty(shape, complex)
    z[:, 0] = kicks[:, 0]
    for i in range(1, count):
        z[:, i] = step * z[:, i - 1] + np.sqrt(1 - np.exp(-2 * apart)) * kicks[:, i]
    return z


def record(field: str, apart: float, count: int, rows: int, rng: Any) -> Trajectories:
    """Noisy fields of `rows` trajectories."""
    z = amplitudes(np.array(TURNS[field]), apart, count, rows, rng)
    y = np.concatenate([z.real, z.imag], -1) @ waves()
    y = y + NOISE * rng.standard_normal(y.shape)
    x = np.arange(POINTS) / POINTS
    return Trajectories(np.arange(count) * apart, y, dims=("x",), coords={"x": x})


def seen(values: Array) -> Array:
    """Complex amplitudes that fit fields (..., point) best."""
    both = values @ waves().T / (POINTS / 2)
    return both[..., :3] + 1j * both[..., 3:]


class Kalman:
    """Exact evidence of a record, and forecasts from one snapshot, given rate, variance, turns."""

    def __init__(self, apart: float, turning: bool) -> None:
        self.apart, self.turning = apart, turning
        self.noise = NOISE**2 / (POINTS / 2)  # of each part of an amplitude

    def read(self, parameters: Array) -> tuple[Array, float]:
        """(3,) complex factor of one step, and the variance of each part."""
        rate, variance = np.exp(parameters[:2])
        turns = parameters[2:] if self.turning else np.zeros(3)
        return np.exp((-rate + 1j * turns) * self.apart), variance

    def lost(self, parameters: Array, observed: Array) -> float:
        """Negative log evidence of amplitudes (time, 3), but for a constant."""
        step, variance = self.read(parameters)
        keeps = abs(step[0]) ** 2
        mean, var, total = np.zeros(3, complex), variance, 0.0
        for y in observed:
            size = var + self.noise
            total += 3 * np.log(size) + 0.5 * float((abs(y - mean) ** 2).sum()) / size
            gain = var / size
            mean = step * (mean + gain * (y - mean))
            var = keeps * (1 - gain) * var + (1 - keeps) * variance
        return total

    def fit(self, observed: Array) -> tuple[Array, Array]:
        """Likeliest parameters, and their standard errors."""
        start = np.zeros(5 if self.turning else 2)
        best = minimize(self.lost, start, args=(observed,), method="BFGS").x

        def slope(at: Array) -> Array:
            return approx_fprime(at, self.lost, 1e-5, observed)

        H = np.array([(slope(best + e) - slope(best - e)) / 2e-2 for e in 1e-2 * np.eye(len(best))])
        return best, np.sqrt(np.diag(np.linalg.inv(0.5 * (H + H.T))))

    def forecast(self, parameters: Array, first: Array, count: int) -> tuple[Array, Array]:
        """Means (row, lead, point) and variances (lead,) of fields after snapshots (row, point)."""
        step, variance = self.read(parameters)
        gain = variance / (variance + self.noise)
        lead = np.arange(1, count + 1)
        mean = gain * seen(first)[:, None] * step ** lead[:, None]
        kept = abs(step[0]) ** (2 * lead)
        var = variance * (1 - gain * kept)  # of a part; a field has three at each point
        fields = np.concatenate([mean.real, mean.imag], -1) @ waves()
        return fields, 3 * var + NOISE**2


def scores(mean: Array, lower: Array, upper: Array, truth: Array) -> dict[str, Any]:
    """Errors and coverage (row, lead, point) by lead."""
    rmse = np.sqrt(((mean - truth) ** 2).mean((0, 2)))
    inside = ((truth >= lower) & (truth <= upper)).mean((0, 2))
    return {
        **{f"rmse_{lead}": f"{rmse[lead - 1]:.4f}" for lead in LEADS},
        "rmse_all": f"{np.sqrt((rmse**2).mean()):.4f}",
        **{f"coverage_{lead}": f"{inside[lead - 1]:.3f}" for lead in (1, 5, 10)},
    }


def exact(train: Trajectories, test: Trajectories, field: str, apart: float) -> dict[str, Any]:
    """The row of the likeliest linear model."""
    began = time.perf_counter()
    kalman = Kalman(apart, field == "waves")
    best, sd = kalman.fit(seen(train.values[0][:]))
    truth = np.stack([v[1:] for v in test.values])
    first = np.stack([v[0] for v in test.values])
    mean, var = kalman.forecast(best, first, truth.shape[1])
    half = 1.6449 * np.sqrt(var)[None, :, None]
    rate, variance = np.exp(best[:2])
    return {
        "rate": f"{rate:.4f}",
        "rate_sd": f"{rate * sd[0]:.4f}",
        "variance": f"{variance:.4f}",
        "variance_sd": f"{variance * sd[1]:.4f}",
        **scores(mean, mean - half, mean + half, truth),
        "diffusion": f"{np.sqrt(2 * rate * variance * 3):.3f}",
        "seconds": f"{time.perf_counter() - began:.1f}",
    }


def ours(
    train: Trajectories, test: Trajectories, apart: float, seed: int, steps: int, **options: Any
) -> dict[str, Any]:
    """The row of our fit, with default arguments unless told otherwise."""
    began = time.perf_counter()
    model = multiscale.like(train, seed=seed)
    guide = AmortizedGP(model, seed=seed)
    fit = pyro_msde.fit(model, guide, train, steps=steps, seed=seed, progress=False, **options)
    seconds = time.perf_counter() - began
    fc = fit.forecast(test, num_samples=64, seed=seed)
    truth = np.stack([v[1:] for v in test.values])
    mean, low, high = (
        np.asarray(v)[:, 1:].reshape(truth.shape)
        for v in (fc.mean, fc.quantile(0.05), fc.quantile(0.95))
    )
    first = seen(np.stack([v[0] for v in test.values]))
    kept = (first.conj() * seen(mean[:, 0])).sum() / (abs(first) ** 2).sum()
    late = fit.predict(test.values[0][0], np.array([0.0, 10.0]), num_samples=512, seed=seed)
    *_, (_, draws) = late.chunks()
    final = seen(np.asarray(draws[:, -1]).reshape(-1, POINTS))
    root = float(fit.model.bind({}).diffusion.detach().mean().sqrt())
    return {
        "rate": f"{-np.log(abs(kept)) / apart:.4f}",
        "variance": f"{0.5 * (abs(final - final.mean(0)) ** 2).mean():.4f}",
        **scores(mean, low, high, truth),
        "diffusion": f"{root * fit.scaling.channels[0] / fit.scaling.time**0.5:.3f}",
        "seconds": f"{seconds:.1f}",
    }


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", default=",".join(TURNS))
    parser.add_argument("--apart", default="0.05,0.1,0.3,1,3", help="correlation times")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    there = {tuple(row[k] for k in KEY) for row in table.read(args.results, COLUMNS)}
    for field in args.fields.split(","):
        for apart in map(float, args.apart.split(",")):
            for seed in range(args.seeds):
                rng = np.random.default_rng([list(TURNS).index(field), round(apart * 1000), seed])
                train = record(field, apart, RECORD, 1, rng)
                test = record(field, apart, 11, WINDOWS, rng)
                for name in ("exact", "ours"):
                    key = {"field": field, "apart": f"{apart:g}", "seed": seed, "forecaster": name}
                    key["steps"] = args.steps if name == "ours" else ""
                    if tuple(map(str, key.values())) in there:
                        table.say_there(args.results, *key.values())
                        continue
                    found = (
                        exact(train, test, field, apart)
                        if name == "exact"
                        else ours(train, test, apart, seed, args.steps)
                    )
                    table.append({**key, **found, **table.provenance()}, args.results, COLUMNS)
                    print({**key, **found}, flush=True)


if __name__ == "__main__":
    main()
