"""Priors and guides swapped in one line each, on Korteweg–de Vries.

    python examples/swap_guides.py                 every combination, about an hour on 2 cores
    python examples/swap_guides.py --steps 300     a glance

Prints one row for each and appends it to benchmarks/results/swap.csv; what is there is printed
as it stands, so give --results another file to train it again.
The ELBO is the bound at β = 1, averaged over the last tenth of training, in nats; error and
coverage are of forecasts of the test trajectories from their first snapshots, uncalibrated.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cases import CASES
from pyro.distributions import LogNormal
from pyro.infer.autoguide import AutoDelta, AutoLowRankMultivariateNormal, AutoNormal

import pyro_msde
from pyro_msde.datasets.kdv import kdv_splits
from pyro_msde.datasets.problem import Splits
from pyro_msde.guides import AmortizedGP, UnamortizedGP
from pyro_msde.priors import Horseshoe, bayesian, fan_in_normal

KDV = CASES["kdv"]["published"]
COLUMNS = (
    "prior",
    "theta_guide",
    "path_guide",
    "elbo",
    "nrmse",
    "coverage_90",
    "seconds_per_step",
    "steps",
    "threads",
    "version",
)


def variances(model: Any) -> None:
    """Log-normal priors on the diffusion and on both experts' variances."""
    bayesian(model.diffusion, LogNormal(-5.0, 2.0))
    bayesian(model.var_zeta, LogNormal(-7.0, 2.0))
    bayesian(model.var_eta, LogNormal(-7.0, 2.0))


def normal_drift(model: Any) -> None:
    """Weights N(0, 1/fan-in)."""
    bayesian(model.drift, fan_in_normal(1.0))


PRIORS: dict[str, Callable[[Any], Any]] = {
    "point": lambda model: None,
    "normal drift": normal_drift,
    "cold normal drift": normal_drift,
    "horseshoe drift": lambda model: bayesian(model.drift, Horseshoe(0.1)),
    "log-normal variances": variances,
}
# the weight of KL(q(θ) ‖ p(θ)), which otherwise is the β that tempers the likelihood
CHANGES = {"cold normal drift": {"beta_parameters": 1.0}}
THETA: dict[str, Any] = {
    "none": AutoNormal,  # nothing is random
    "delta": AutoDelta,
    "normal": AutoNormal,
    "low rank": partial(AutoLowRankMultivariateNormal, rank=8),
}
PATH: dict[str, Callable[..., Any]] = {
    "diagonal": lambda model, data, **theta: AmortizedGP(model, **theta),
    "block": lambda model, data, **theta: AmortizedGP(model, covariance="block", **theta),
    "full": lambda model, data, **theta: AmortizedGP(model, covariance="full", **theta),
    "heteroscedastic": lambda model, data, **theta: AmortizedGP(
        model, heteroscedastic=True, **theta
    ),
    "unamortized": lambda model, data, **theta: UnamortizedGP(model, data, **theta),
}
SWAPS = (
    *(("point", "none", path) for path in PATH),
    *(("normal drift", theta, "diagonal") for theta in ("delta", "normal", "low rank")),
    ("cold normal drift", "normal", "diagonal"),
    ("horseshoe drift", "normal", "diagonal"),
    ("log-normal variances", "normal", "diagonal"),
    ("normal drift", "normal", "full"),
)


def pair(swap: tuple[str, str, str], data: Splits) -> tuple[Any, Any]:
    """A new model with its guide."""
    prior, theta, path = swap
    model = KDV.build(5, seed=0)
    PRIORS[prior](model)
    return model, PATH[path](model, data.train, theta=THETA[theta])


def seconds_per_step(swap: tuple[str, str, str], data: Splits) -> float:
    """What a run of 120 steps takes beyond one of 20, a step: start and validation drop out."""
    short, long = (
        pyro_msde.fit(*pair(swap, data), data.train, steps=steps, progress=False).training.seconds
        for steps in (20, 120)
    )
    return (long - short) / 100


def run(swap: tuple[str, str, str], data: Splits, steps: int, out: Path) -> dict[str, Any]:
    """Train one combination and score it."""
    prior, theta, path = swap
    model, guide = pair(swap, data)
    fit = pyro_msde.fit(
        model,
        guide,
        data.train,
        validation=data.validation,
        steps=steps,
        checkpoint=out / "-".join(swap).replace(" ", "_"),
        progress=False,
        **KDV.training(5),
        **CHANGES.get(prior, {}),
    )
    test = data.test.thinned(10)
    fc = fit.forecast(test)
    elbo = fit.history.terms["elbo"]
    return {
        "prior": prior,
        "theta_guide": theta,
        "path_guide": path,
        "elbo": f"{np.mean(elbo[-max(1, len(elbo) // 10) :]):.5g}",
        "nrmse": f"{np.mean(pyro_msde.nrmse(fc, test, relative_to='zero')):.4f}",
        "coverage_90": f"{np.mean(pyro_msde.coverage(fc, test)):.3f}",
        "seconds_per_step": f"{seconds_per_step(swap, data):.4f}",
        "steps": fit.steps,
        "threads": torch.get_num_threads(),
        "version": pyro_msde.__version__,
    }


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--out", type=Path, default=Path("runs/swap"), help="checkpoints")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/swap.csv"))
    args = parser.parse_args()
    data = kdv_splits("published", directory="data")
    args.results.parent.mkdir(parents=True, exist_ok=True)
    there: dict[tuple[str, ...], dict[str, Any]] = {}
    if args.results.exists():
        with args.results.open(newline="") as file:
            there = {tuple(row[k] for k in COLUMNS[:3]): row for row in csv.DictReader(file)}
    for swap in SWAPS:
        if swap in there:
            print(", ".join(f"{k} {v}" for k, v in there[swap].items()), f"({args.results})")
            continue
        row = run(swap, data, args.steps, args.out)
        new = not args.results.exists()
        with args.results.open("a", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            if new:
                writer.writeheader()
            writer.writerow(row)
        print(", ".join(f"{k} {v}" for k, v in row.items()), flush=True)


if __name__ == "__main__":
    main()
