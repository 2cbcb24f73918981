"""How well gaps are filled, and what is left of states where little was observed.

    python -m benchmarks.studies.filling

Training snapshots of the published cases lose values at random (a share of them) or in one cube (so
many coarse spacings wide). Each line of benchmarks/studies/results/filling.csv has the root mean
square of what is filled in, and of T_r y, less the truth, both beside the field's own; with other
constants of `pyro_msde.grid.filling`, and with the coarse grid alone; what `pyro_msde.grid.unseen`
expects of T_r y; and how many macroscale and microscale states that kept weights encode complete
snapshots as lie in the 90 % intervals around those of snapshots with gaps. Takes three minutes on
one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

import pyro_msde
from benchmarks import table
from examples.cases import CASES
from pyro_msde.grid import Grid, filling

RESULTS = Path(__file__).parent / "results" / "filling.csv"
COLUMNS = (
    "case",
    "gaps",
    "method",
    "error_filled",
    "error_states",
    "expected_states",
    "coverage_macroscale",
    "coverage_microscale",
)
GAPS = ("random .3", "random .6", "random .9", "cube .5", "cube 1", "cube 2", "cube 4")
METHODS: dict[str, dict[str, Any]] = {
    "as it is": {"_RIDGE": filling._RIDGE},
    "coarse grid alone": {"_extended": lambda operator, known, *_: 0 * known},
    "ridge 1e-3": {"_RIDGE": 1e-3},
    "ridge 1e-1": {"_RIDGE": 1e-1},
    "radius 2": {"_RADIUS": 2},
    "radius 7": {"_RADIUS": 7},
}
_SNAPSHOTS = 60
_KEPT = Path(__file__).parent.parent / "runs"


def snapshots(case: str, directory: str) -> tuple[Tensor, Grid]:
    """Training snapshots (snapshot, 1, *space), and the model's grid."""
    setting = CASES[case]["published"]
    train = setting.problem.splits("published", directory=directory).train
    every = -(-train.num_observations // _SNAPSHOTS)
    fields = np.concatenate([v[::every] for v in train.values])
    return torch.as_tensor(fields[:, None]).float(), setting.build(0, 0).grid


def observed(gaps: str, shape: tuple[int, ...], grid: Grid) -> Tensor:
    """Where snapshots are, (snapshot, 1, *space); gaps differ from one to the next."""
    rng = np.random.default_rng(0)
    kind, size = gaps.split()
    if kind == "random":
        return torch.as_tensor(rng.random(shape) > float(size))
    seen = np.ones(shape, dtype=bool)
    for snapshot in seen[:, 0]:
        edges = [
            (rng.integers(n) + np.arange(int(float(size) * stride))) % n
            for n, stride in zip(grid.shape, grid.stride, strict=True)
        ]
        snapshot[np.ix_(*edges)] = False
    return torch.as_tensor(seen)


def errors(y: Tensor, seen: Tensor, grid: Grid) -> dict[str, str]:
    """Of what is filled in and of restricted fields, and what is expected of the latter."""
    filling._operators.cache_clear()
    missed = grid.filled(y.where(seen, 0), seen) - y
    operators = grid.operators(grid.kernel("lanczos", 4))
    share = grid.unseen_states(seen, y.dtype)[..., :-1]
    values = {
        "error_filled": missed[~seen],
        "error_states": operators.restrict(missed),
        "expected_states": share.sqrt(),
    }
    return {name: f"{float(v.square().mean().sqrt()):.4f}" for name, v in values.items()}


@torch.no_grad()
def coverage(case: str, y: Tensor, seen: Tensor) -> dict[str, str]:
    """Of states that complete snapshots are encoded as, around those of snapshots with gaps."""
    fit = pyro_msde.load(_KEPT / f"{case}-5")
    bound, grid = fit.model.bind(fit.guide.read_theta()), fit.model.grid
    scaled = fit.scaling.to_scaled(y, np.zeros(len(y))).float()
    mean, _ = fit.guide.encode(scaled, bound)
    gappy, var = fit.guide.encode(
        grid.filled(scaled.where(seen, 0), seen), bound, None, observed=seen
    )
    inside = (mean - gappy).abs() < 1.645 * var.sqrt()
    parts = {"macroscale": inside[:, : grid.num_zeta], "microscale": inside[:, grid.num_zeta :]}
    return {f"coverage_{name}": f"{float(v.float().mean()):.3f}" for name, v in parts.items()}


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="data", help="folder of the simulations")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for case in ("kdv", "burgers1d", "burgers2d"):
        if case in {row["case"] for row in table.read(args.results, COLUMNS)}:
            table.say_there(args.results, case)
            continue
        y, grid = snapshots(case, args.data)
        for gaps in GAPS:
            seen = observed(gaps, tuple(y.shape), grid)
            unit = (y - y.mean()) / y.std()
            for method, constants in METHODS.items():
                with mock.patch.multiple(filling, **constants):
                    row = {"case": case, "gaps": gaps, "method": method, **errors(unit, seen, grid)}
                if method == "as it is":
                    row |= coverage(case, y, seen)
                else:
                    row["expected_states"] = ""
                table.append(row, args.results, COLUMNS)
                print(", ".join(map(str, row.values())), flush=True)
    filling._operators.cache_clear()


if __name__ == "__main__":
    main()
