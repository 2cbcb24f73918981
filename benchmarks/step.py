"""Milliseconds a training step takes, and Pyro's share of it.

    python -m benchmarks.step --threads 1 --steps 50

Plain: the same mathematics called directly, without traces, plates or sites. The published recipe
is that of the paper: 128 consecutive snapshots, 128 quadrature nodes. Data are noise: only time is
measured. Results are kept in benchmarks/results/step.csv with the device.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import kl_divergence

from benchmarks.device import name_of
from pyro_msde.elbo import MultiscaleELBO
from pyro_msde.experts import ProductOfExperts
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import burgers2d, kdv
from pyro_msde.segments import SegmentBatch, Segments
from pyro_msde.training import RECIPES, Recipe, pyro_settings

MODELS = {"kdv": kdv, "burgers2d": burgers2d}
RESULTS = Path(__file__).parent / "results" / "step.csv"
COLUMNS = (
    "case", "recipe", "n_eta", "n_coarse", "device", "threads", "pyro_ms", "plain_ms", "share_ms",
)  # fmt: skip


def plain_loss(model: Any, guide: Any, batch: SegmentBatch, plan: Recipe) -> Tensor:
    """−ELBO of one minibatch without Pyro's machinery; point estimates only."""
    theta = model.read_parameters({})
    marginals = guide.path_marginals(batch, {}, theta.operators)
    marginals.num_nodes, marginals.antithetic = plan.num_nodes, plan.antithetic
    z = marginals.rsample()
    experts = ProductOfExperts(
        *model.expert_means(theta, z), theta.var_zeta, theta.var_eta,
        weight=batch.observation_weight,
    )  # fmt: skip
    residual = kl_divergence(marginals, model.path_law(theta, batch))
    scale = batch.num_segments / len(batch.times)
    return scale * (residual - experts.log_prob(batch.values)).sum()


def milliseconds(
    steps: Sequence[Callable[[], Any]], repeats: int, device: torch.device
) -> list[float]:
    """Median time of each step after five of warming up.

    They take turns, so that a machine that slows down for a while does so for all.
    """
    times: list[list[float]] = [[] for _ in steps]
    for i in range(repeats + 5):
        for step, own in zip(steps, times, strict=True):
            if device.type == "cuda":
                torch.cuda.synchronize()
            began = time.perf_counter()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if i >= 5:
                own.append(1e3 * (time.perf_counter() - began))
    return [statistics.median(own) for own in times]


def measure(
    case: str, recipe: str, n_eta: int, n_coarse: int, repeats: int, device: torch.device
) -> list[Any]:
    """One row: a full step, minibatch to Adam, with and without Pyro."""
    plan = RECIPES[recipe]
    model = MODELS[case](n_eta, n_coarse=n_coarse, recipe=recipe).to(device)
    guide = AmortizedGP(model).to(device)
    segments = Segments(
        [torch.linspace(0, 1, 1001, dtype=torch.float64)] * 2,
        [torch.randn(1001, *model.grid.field_shape) for _ in range(2)],
        length=plan.length, stride=plan.stride, windows=plan.windows,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    with_pyro = MultiscaleELBO(plan.num_nodes, antithetic=plan.antithetic)(model, guide)
    optimiser = torch.optim.Adam([*model.parameters(), *guide.parameters()], 1e-4)

    def step(loss: Callable[[SegmentBatch], Tensor]) -> None:
        batch = segments.draw(plan.segments_per_step, rng).to(device)
        optimiser.zero_grad()
        loss(batch).backward()
        optimiser.step()

    def plain(batch: SegmentBatch) -> Tensor:
        return plain_loss(model, guide, batch, plan)

    with pyro_settings(validate=False):
        pyro_ms, plain_ms = milliseconds(
            [lambda: step(with_pyro), lambda: step(plain)], repeats, device
        )
    figures = (f"{pyro_ms:.1f}", f"{plain_ms:.1f}", f"{pyro_ms - plain_ms:.1f}")
    return [case, recipe, n_eta, n_coarse, name_of(device), torch.get_num_threads(), *figures]


def main() -> None:
    """Measure all rows, print and keep them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cases = [
        ("kdv", "default", 0, 20), ("kdv", "default", 5, 20), ("kdv", "default", 0, 50),
        ("kdv", "published", 0, 20), ("kdv", "published", 5, 20),
        ("burgers2d", "default", 0, 8), ("burgers2d", "default", 5, 8),
        ("burgers2d", "published", 0, 8), ("burgers2d", "published", 5, 8),
    ]  # fmt: skip
    RESULTS.parent.mkdir(exist_ok=True)
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(COLUMNS)
        print(",".join(COLUMNS))
        for case in cases:
            row = measure(*case, args.steps, torch.device(args.device))
            writer.writerow(row)
            print(",".join(map(str, row)))


if __name__ == "__main__":
    main()
