"""Korteweg–de Vries end to end: learn from noisy snapshots, forecast unseen trajectories.

    python examples/kdv.py                          all rows of the table, an hour or two on 2 cores
    python examples/kdv.py --rows kdv-hard          one of them
    python examples/kdv.py --score benchmarks/runs  score the weights kept there

Trained runs are kept under --out and resumed or reused. Nothing is tuned on the test trajectories.
`examples/kdv_demo.py` is the short version.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cases import CASES, KDV_AS_PUBLISHED, Setting
from kdv_scores import HEADER, look_ups, peaks, report, score

import pyro_msde
from pyro_msde.datasets.kdv import kdv_splits
from pyro_msde.datasets.problem import Splits
from pyro_msde.guides import AmortizedGP


@dataclass(frozen=True)
class Row:
    """One row of the table: what to train, with how many states, and the horizons to score."""

    name: str
    setting: Setting
    n_eta: int
    horizons: tuple[float, ...] = (1.0,)


ROWS = (
    Row("kdv-0", CASES["kdv"]["published"], 0),
    Row("kdv-5", CASES["kdv"]["published"], 5),
    Row("kdv-5-published-recipe", KDV_AS_PUBLISHED, 5),
    Row("kdv-hard", CASES["kdv"]["hard"], 0, horizons=(1.0, 2.0)),
)


def train(row: Row, data: Splits, out: Path, seed: int, steps: int | None = None) -> pyro_msde.Fit:
    """Train a row, or go on with it if it is there, and calibrate it on validation trajectories.

    Its length is the row's own unless `steps` are given.
    """
    setting, n_eta = row.setting, row.n_eta
    model = setting.build(n_eta, seed)
    fit = pyro_msde.fit(
        model,
        AmortizedGP(model, seed=seed),
        data.train,
        validation=data.validation,
        steps=steps or setting.length(n_eta),
        seed=seed,
        checkpoint=out,
        **setting.training(n_eta),
    )
    fit = fit.calibrated(data.validation)
    fit.save(out)
    return fit


def run_table(
    rows: tuple[Row, ...], out: Path, kept: Path | None, seed: int, steps: int | None
) -> None:
    """Train or load every row, score it; print the table and keep it as JSON."""
    table: dict[str, Any] = {}
    print(HEADER, flush=True)
    for row in rows:
        if kept is not None and not (kept / row.name).exists():
            continue
        data = kdv_splits(row.setting.split, directory="data")
        if kept is None:
            fit = train(row, data, out / row.name, seed, steps)
        else:
            fit = pyro_msde.load(kept / row.name)
        for horizon in row.horizons:
            name = f"{row.name} [0,{horizon:g}]"
            table[name] = score(fit, row.setting.split, data.test.until(horizon))
            report(name, table[name])
    for split in dict.fromkeys(row.setting.split for row in rows):
        data = kdv_splits(split, directory="data")
        found, extent = look_ups(data), peaks(data)
        table[f"look-ups {split}"], table[f"peaks {split}"] = found, extent
        print(f"look-ups, {split}, [0,1]:", ", ".join(f"{k} {v:.1%}" for k, v in found.items()))
        ranges = (f"{k} {low:.2f}–{high:.2f}" for k, (low, high) in extent.items())
        print(f"peaks of first snapshots, {split}:", ", ".join(ranges))
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.json").write_text(json.dumps(table, indent=1) + "\n")


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/kdv"), help="where runs are kept")
    parser.add_argument("--rows", help="only these rows, separated by commas")
    parser.add_argument("--score", type=Path, help="score the weights kept in this folder")
    parser.add_argument("--steps", type=int, help="steps, for all rows")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rows = ROWS
    if args.rows:
        wanted = args.rows.split(",")
        unknown = set(wanted) - {row.name for row in ROWS}
        if unknown:
            parser.error(f"--rows: no {', '.join(unknown)}; there are {[r.name for r in ROWS]}")
        rows = tuple(row for row in rows if row.name in wanted)
    run_table(rows, args.out, args.score, args.seed, args.steps)


if __name__ == "__main__":
    main()
