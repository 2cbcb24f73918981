"""Does a microscale state buy Markovianity? A generalised Langevin equation with known answer.

    python examples/gle.py --out runs/gle       a few minutes on 2 cores

The mean y(t) of a field has memory, K(s) = k₀ + k₁ s; with the p = 2 auxiliary variables that the
field shows at smaller scales it is Markovian (Ilersich & Nair 2025, App. B). Linear models with
n_η = 0 and n_η = 2 are fitted to relaxations; if a fitted model leaves no memory, its one-step
Kalman innovations of y are white. They are tested (Ljung–Box, 20 lags, so a white series has
p < 10⁻³ once in a thousand) on unseen relaxations and on the stationary process, beside those of
two models that are not fitted to training data: of all scalar linear SDEs seen through noise the
one whose innovations on these very test data are whitest, and the equation itself.

Prints the table and leaves innovations.png, innovations.json and the runs under --out.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import minimize

import pyro_msde
from pyro_msde.datasets.gle import DIFFUSION, DRIFT, GLE, modes, points
from pyro_msde.guides import AmortizedGP
from pyro_msde.models.gle import gle
from pyro_msde.scores.innovation_test import (
    LjungBox,
    innovations,
    kalman_innovations,
    linear_model,
    ljung_box,
)

# The drift is 10 to 20 per horizon and starts near 0, hence the large rate; variances, which at ten
# times a rate like that would settle before the drift does, move at twice it.
RECIPE: dict[str, Any] = {
    "length": 11,
    "stride": 1,
    "segments_per_step": 16,
    "num_nodes": 32,
    "learning_rate": 5e-2,
    "variance_rate": 2.0,
    "beta": 1.0,
    "anneal": 500,
}
LAGS = 20
SHOWN = (1, 2, 3, 5, 10, 20)


def train(n_eta: int, steps: int, seed: int, out: Path) -> pyro_msde.Fit:
    """Fit to relaxations; scale √C so that forecasts of the validation part are covered."""
    data = GLE.splits("relaxation", seed=seed)
    model = gle(n_eta, seed=seed)
    guide = AmortizedGP(model, seed=seed)
    fit = pyro_msde.fit(model, guide, data.train, steps=steps, seed=seed, **RECIPE)
    fit = fit.calibrated(data.validation)
    fit.save(out / f"gle-{n_eta}")
    return fit


def of_the_equation(data: pyro_msde.Trajectories) -> list[np.ndarray]:
    """Innovations of y under the SDE that made the data."""
    basis = modes(points())
    noise = np.eye(len(basis)) * GLE.noise_sd**2 / basis.shape[1]
    readings = [v.astype(np.float64) @ basis.T / basis.shape[1] for v in data.values]
    start = np.ones(len(basis))
    return [
        kalman_innovations(DRIFT, DIFFUSION, noise, r, t, start, 1)
        for t, r in zip(data.times, readings, strict=True)
    ]


def of_the_best_scalar(data: pyro_msde.Trajectories) -> list[np.ndarray]:
    """Innovations of y under dζ = −a ζ dt + √c dβ, seen with variance r, least in Ljung–Box."""
    means = [v.astype(np.float64).mean(-1, keepdims=True) for v in data.values]

    def filtered(arguments: np.ndarray) -> list[np.ndarray]:
        a, r = arguments[0], np.exp(arguments[1])  # relative to c, which only scales innovations
        one, start = np.ones((1, 1)), np.array([1e2])
        return [
            kalman_innovations(-a * one, one, r * one, y, t, start, 1)
            for t, y in zip(data.times, means, strict=True)
        ]

    def statistic(arguments: np.ndarray) -> float:
        return ljung_box(filtered(arguments), num_lags=LAGS).statistic

    starts = [(0.3, -10.0), (1.0, -3.0)]
    found = [minimize(statistic, x, method="Nelder-Mead", options={"maxfev": 60}) for x in starts]
    return filtered(min(found, key=lambda result: result.fun).x)


def report(name: str, series: list[np.ndarray]) -> LjungBox:
    """One row: autocorrelations in standard errors, statistic and p-value."""
    result = ljung_box(series, num_lags=LAGS)
    z = result.autocorrelation / result.standard_error
    cells = "".join(f"{result.autocorrelation[k - 1]:+.3f} ({z[k - 1]:+5.1f}) " for k in SHOWN)
    mean_square = np.mean(np.concatenate(series) ** 2)
    print(f"{name:22s} {cells} {result.statistic:9.1f} {result.p_value:9.2g} {mean_square:7.2f}")
    return result


def figure(results: dict[str, dict[str, LjungBox]]) -> Figure:
    """Autocorrelation over the lag, a panel for each kind of test data."""
    fig = Figure(figsize=(7, 2.8), layout="constrained")
    for axes, (split, rows) in zip(fig.subplots(1, len(results)), results.items(), strict=True):
        for marker, (name, result) in zip("os^v", rows.items(), strict=True):
            lags = GLE.dt * np.arange(1, LAGS + 1)
            axes.plot(lags, result.autocorrelation, marker=marker, ms=3, lw=1, label=name)
        band = 2 * result.standard_error
        axes.fill_between(lags, -band, band, color="0.85", lw=0, label="white: 2 standard errors")
        axes.set(title=split, xlabel="lag", ylabel="autocorrelation of innovations")
    axes.legend(fontsize="x-small")
    return fig


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/gle"), help="where to leave it")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    fits = {f"n_η = {n}": train(n, args.steps, args.seed, args.out) for n in (0, 2)}
    rates = {name: linear_model(fit).drift / fit.scaling.time for name, fit in fits.items()}
    for name, drift in {**rates, "the equation itself": DRIFT}.items():
        print(f"eigenvalues of the drift, {name}: {np.round(np.linalg.eigvals(drift), 3)}")
    results: dict[str, dict[str, LjungBox]] = {}
    for split in ("relaxation", "stationary"):
        test = GLE.splits(split, seed=args.seed).test
        count = test.num_observations - len(test)
        print(f"\n{split}: {count} innovations; autocorrelation (in standard errors) at lags")
        head = "".join(f"{k:<15d}" for k in SHOWN)
        print(f"{'':22s} {head} {'Q':>9s} {'p':>9s} {'mean e²':>7s}")
        series = {name: innovations(fit, test) for name, fit in fits.items()}
        series["best scalar filter"] = of_the_best_scalar(test)
        series["the equation itself"] = of_the_equation(test)
        results[split] = {name: report(name, e) for name, e in series.items()}
    figure(results).savefig(args.out / "innovations.png", dpi=200)
    kept = {
        split: {
            name: {"autocorrelation": r.autocorrelation.tolist(), "Q": r.statistic, "p": r.p_value}
            for name, r in rows.items()
        }
        for split, rows in results.items()
    }
    (args.out / "innovations.json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
