"""Milliseconds a training step takes, and Pyro's share of it.

    python -m benchmarks.step --threads 1 --steps 50
    python -m benchmarks.step --threads 1 --steps 50 --priors

Steps are as in `fit`, which keeps the memory that they free (`pyro_msde/memory.py`).

Plain: the same mathematics called directly, without traces, plates or sites. The published recipe
is that of the paper: 128 consecutive snapshots, 128 quadrature nodes. Data are noise: only time is
measured, but with gaps where the grid has a mask. Results are kept in benchmarks/results/step.csv
with the device.

With --priors: what a prior over all weights of KdV's drift adds to a step, under each guide over θ,
kept in benchmarks/results/prior_step.csv.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pyro.infer.autoguide import AutoDelta, AutoLowRankMultivariateNormal, AutoNormal
from torch import Tensor

from benchmarks.device import name_of
from pyro_msde.data import ScaledFields, Scaling, SegmentBatch, Segments
from pyro_msde.guides import AmortizedGP
from pyro_msde.inference import MultiscaleELBO
from pyro_msde.isolation import Isolation
from pyro_msde.likelihoods import WeightedFields
from pyro_msde.memory import memory_kept
from pyro_msde.models import burgers2d, cylinder, kdv
from pyro_msde.priors import bayesian, fan_in_normal
from pyro_msde.priors.parts import flatten_parameters
from pyro_msde.runs import RECIPES, Recipe
from pyro_msde.sde import drift_residual

MODELS = {"kdv": kdv, "burgers2d": burgers2d, "cylinder": cylinder}
RESULTS = Path(__file__).parent / "results" / "step.csv"
COLUMNS = (
    "case",
    "recipe",
    "n_eta",
    "n_coarse",
    "device",
    "threads",
    "pyro_ms",
    "plain_ms",
    "share_ms",
)
PRIOR_RESULTS = RESULTS.with_name("prior_step.csv")
PRIOR_COLUMNS = (
    "case",
    "recipe",
    "n_eta",
    "theta_guide",
    "parameters",
    "device",
    "threads",
    "prior_ms",
    "point_ms",
    "overhead",
)
THETA = {
    "delta": AutoDelta,
    "normal": AutoNormal,
    "low rank 8": partial(AutoLowRankMultivariateNormal, rank=8),
}


def plain_loss(model: Any, guide: Any, batch: SegmentBatch, plan: Recipe) -> Tensor:
    """−ELBO of one minibatch without Pyro's machinery; point estimates only."""
    bound = model.bind({})
    marginals = guide.path_marginals(batch, bound)
    z = marginals.rsample()
    law = WeightedFields(
        bound.observe(z),
        model.grid.ndim + 1,
        weight=batch.observation_weight,
        observed=batch.observed,
    )
    residual = drift_residual(
        marginals,
        model.path_law(bound, batch),
        num_nodes=plan.num_nodes,
        antithetic=plan.antithetic,
    )
    scale = batch.num_segments / len(batch.times)
    return scale * (residual - law.log_prob(batch.values)).sum()


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
    model = MODELS[case](n_eta, n_coarse=n_coarse, architecture=recipe).to(device)
    guide = AmortizedGP(model).to(device)
    with_pyro = MultiscaleELBO(plan.num_nodes, antithetic=plan.antithetic)(model, guide)

    def plain(batch: SegmentBatch) -> Tensor:
        return plain_loss(model, guide, batch, plan)

    with memory_kept(), Isolation(0, device).turn():
        steps = [step_of(model, guide, loss, plan, device) for loss in (with_pyro, plain)]
        pyro_ms, plain_ms = milliseconds(steps, repeats, device)
    figures = (f"{pyro_ms:.1f}", f"{plain_ms:.1f}", f"{pyro_ms - plain_ms:.1f}")
    return [case, recipe, n_eta, n_coarse, name_of(device), torch.get_num_threads(), *figures]


def step_of(
    model: Any,
    guide: Any,
    loss: Callable[[SegmentBatch], Tensor],
    plan: Recipe,
    device: torch.device,
) -> Callable[[], None]:
    """A full step, minibatch to Adam, on noise; with its gaps where the grid has a mask."""
    large = model.grid.num_points > 2**14
    count, trajectories = (301, 1) if large else (1001, 2)
    times = torch.linspace(0, 1, count, dtype=torch.float64)
    segments = Segments(
        [times] * trajectories,
        [_noise(model.grid, times) for _ in range(trajectories)],
        length=plan.length,
        stride=plan.stride,
        starts=plan.segment_starts,
    )
    rng = np.random.default_rng(0)
    loss(segments.draw(plan.segments_per_step, rng).to(device))  # makes an autoguide's parameters
    optimiser = torch.optim.Adam([*model.parameters(), *guide.parameters()], 1e-4)

    def step() -> None:
        batch = segments.draw(plan.segments_per_step, rng).to(device)
        optimiser.zero_grad()
        loss(batch).backward()
        optimiser.step()

    return step


def _noise(grid: Any, times: Tensor) -> Any:
    """Snapshots as `fit` has them; filled in, with what was observed, where there is a mask."""
    values = torch.randn(len(times), *grid.field_shape)
    if grid.mask is None:
        return values
    values[:, ~torch.tensor(grid.mask)] = torch.nan
    scaling = Scaling((1.0,) * grid.channels, 1.0)
    return ScaledFields(values, times.numpy(), scaling, dtype=values.dtype, places=grid)


def measure_prior(n_eta: int, theta: str, repeats: int, device: torch.device) -> list[Any]:
    """One row: a step with a prior over KdV's drift, and one without."""
    plan, steps, count = RECIPES["default"], [], 0
    for random in (True, False):
        model = kdv(n_eta)
        if random:
            count = len(flatten_parameters(bayesian(model.drift, fan_in_normal(1.0)).net))
        model.to(device)
        guide = AmortizedGP(model, theta=THETA[theta]).to(device)
        elbo = MultiscaleELBO(plan.num_nodes, antithetic=plan.antithetic)(model, guide)
        with Isolation(0, device).turn():
            steps.append(step_of(model, guide, elbo, plan, device))
    with memory_kept(), Isolation(0, device).turn():
        prior_ms, point_ms = milliseconds(steps, repeats, device)
    return [
        "kdv",
        "default",
        n_eta,
        theta,
        count,
        name_of(device),
        torch.get_num_threads(),
        f"{prior_ms:.1f}",
        f"{point_ms:.1f}",
        f"{prior_ms / point_ms - 1:.3f}",
    ]


def keep(path: Path, columns: Sequence[str], rows: Iterable[list[Any]]) -> None:
    """Print rows and append them to a file."""
    path.parent.mkdir(exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(columns)
        print(",".join(columns))
        for row in rows:
            writer.writerow(row)
            print(",".join(map(str, row)), flush=True)


def main() -> None:
    """Measure all rows, print and keep them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", default=",".join(MODELS), help="cases, separated by commas")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--priors", action="store_true", help="what a prior over the drift adds")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cases = [
        ("kdv", "default", 0, 20),
        ("kdv", "default", 5, 20),
        ("kdv", "default", 0, 50),
        ("kdv", "published", 0, 20),
        ("kdv", "published", 5, 20),
        ("burgers2d", "default", 0, 8),
        ("burgers2d", "default", 5, 8),
        ("burgers2d", "published", 0, 8),
        ("burgers2d", "published", 5, 8),
        ("cylinder", "default", 0, 8),
        ("cylinder", "default", 5, 8),
        ("cylinder", "published", 0, 8),
        ("cylinder", "published", 5, 8),
    ]
    device = torch.device(args.device)
    if args.priors:
        rows = (measure_prior(n, theta, args.steps, device) for n in (0, 5) for theta in THETA)
        keep(PRIOR_RESULTS, PRIOR_COLUMNS, rows)
    else:
        asked = [case for case in cases if case[0] in args.case.split(",")]
        keep(RESULTS, COLUMNS, (measure(*case, args.steps, device) for case in asked))


if __name__ == "__main__":
    main()
