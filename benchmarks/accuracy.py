"""How accurate we are, and the alternatives a user would otherwise pick, on the same splits.

    python -m benchmarks.accuracy --case kdv,burgers1d,burgers2d,ks --n-eta 0..5 --seeds 3
    python -m benchmarks.accuracy --case kdv --split hard --methods msde,nearest
    python -m benchmarks.accuracy --case kdv --n-eta 0,5 --rescore benchmarks/runs

One row per run is appended to benchmarks/results/accuracy.csv; what is there is skipped, so give
--results another file to measure it again. What was interrupted is resumed from --out. With
--rescore only our kept weights are scored. `python -m benchmarks.render` makes docs/results.md.
`strayed` is the mean of `Forecast.diverged` over trajectories, a doubt that counts from one half;
in rows of before 29 November 2026 the share of paths that left where the drift was learned.
Forecasts start from one noisy snapshot. Ours are scored at 101 times over the horizon, the
alternatives at all times.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import pyro_msde
from benchmarks import table
from benchmarks.device import name_of
from benchmarks.opponents import OPPONENTS
from benchmarks.solids import is_finite
from examples.cases import CASES, Setting
from pyro_msde.data import evenly_spaced
from pyro_msde.datasets.problem import Splits
from pyro_msde.guides import AmortizedGP

OURS = ("msde", "msde-hierarchical")
NUM_TIMES = 101
NUM_SAMPLES = 64
_DIVERGED = 10.0  # an NRMSE that no forecast has which follows its truth at all


def at_times(data: pyro_msde.Trajectories, horizon: float) -> pyro_msde.Trajectories:
    """The trajectories at `NUM_TIMES` times up to the horizon."""
    data = data.until(horizon)
    return data.snapshots([evenly_spaced(len(t), NUM_TIMES) for t in data.times])


def score(fit: pyro_msde.Fit, test: pyro_msde.Trajectories) -> dict[str, Any]:
    """Error as the paper measures it, coverage and CRPS of forecasts from the first snapshots."""
    began = time.perf_counter()
    fc = fit.forecast(test, num_samples=NUM_SAMPLES)
    finite = is_finite(fc)
    seconds = time.perf_counter() - began
    errors = (
        np.asarray(pyro_msde.nrmse(fc, test, relative_to="zero")) if finite else np.array([np.inf])
    )
    print("NRMSE by trajectory", " ".join(f"{error:.4f}" for error in errors), flush=True)
    if not finite or errors.max() > _DIVERGED:
        return {"status": "diverged", "predict_seconds": round(seconds, 1)}
    covered = np.asarray(pyro_msde.coverage(fc, test, level=0.9, bins=10))
    return {
        "predict_seconds": round(seconds, 1),
        "nrmse_mean": f"{errors.mean():.5f}",
        "nrmse_sd": _sd(errors),
        "coverage_90": f"{covered.mean():.4f}",
        "coverage_low": f"{covered.mean(0).min():.4f}",
        "coverage_high": f"{covered.mean(0).max():.4f}",
        "crps": f"{np.mean(pyro_msde.crps(fc, test)):.6f}",
        "strayed": f"{float(fc.diverged.mean()):.4f}",
        "diffusion_scale": f"{fit.diffusion_scale:g}",
        "status": "ok",
    }


def _sd(errors: NDArray[Any]) -> str:
    """Over test trajectories; nothing of a single one."""
    return f"{errors.std(ddof=1):.5f}" if len(errors) > 1 else ""


def one_shot(
    setting: Setting, n_eta: int, data: Splits, seed: int, steps: int, folder: Path, device: str
) -> pyro_msde.Fit:
    """Train a model by itself, or go on with it."""
    model = setting.build(n_eta, seed)
    return pyro_msde.fit(
        model,
        AmortizedGP(model, seed=seed),
        data.train,
        validation=data.validation,
        steps=steps,
        seed=seed,
        checkpoint=folder,
        device=device,
        progress=False,
        **setting.training(n_eta),
    )


def hierarchical(
    setting: Setting, n_eta: int, data: Splits, seed: int, steps: int, folder: Path, device: str
) -> pyro_msde.Fit:
    """Train n_η = 0 first, then one microscale state more at a time; as many steps altogether."""

    def model_factory(n: int) -> Any:
        return setting.model(
            n, n_coarse=setting.coarse[-1], seed=seed, smoothing="lanczos", **setting.options
        )

    fits = pyro_msde.fit_hierarchical(
        model_factory,
        lambda model: AmortizedGP(model, seed=seed),
        data.train,
        validation=data.validation,
        n_etas=range(n_eta + 1),
        steps=steps // (n_eta + 1),
        seed=seed,
        checkpoint=folder,
        device=device,
        progress=False,
        reference=setting.reference,
        **setting.fit,
    )
    records = [f.training for f in fits]
    spent = {name: sum(getattr(r, name) for r in records) for name in ("steps", "seconds")}
    return replace(fits[-1], training=replace(records[-1], **spent))


def our_row(
    setting: Setting, method: str, n_eta: int, data: Splits, seed: int, args: argparse.Namespace
) -> dict[str, Any]:
    """Train and score one of our models, or say what went wrong."""
    steps = args.steps or setting.length(n_eta)
    name = f"{setting.case}-{setting.split}-{method}-{n_eta}-seed{seed}-{steps}steps"
    train = one_shot if method == "msde" else hierarchical
    try:
        fit = train(setting, n_eta, data, seed, steps, args.out / name, args.device)
    except pyro_msde.NonFiniteLossError as error:
        return {"steps": error.step, "status": f"training: {error}"}
    fit = fit.calibrated(at_times(data.validation, setting.horizon))
    fit.save(args.out / name)
    row = score(fit, at_times(data.test, setting.horizon))
    return {**row, "steps": fit.steps, "train_seconds": round(fit.training.seconds)}


def kept_fit(setting: Setting, n_eta: int, kept: Path) -> pyro_msde.Fit | None:
    """Weights that are kept as they are, with their own scale of √C; None if there are none."""
    suffix = "hard" if setting.split == "hard" else str(n_eta)
    folder = kept / f"{setting.case}-{suffix}"
    if not (folder / "run.json").exists():
        return None
    fit = pyro_msde.load(folder)
    return fit if fit.model.n_eta == n_eta else None


def kept_row(setting: Setting, n_eta: int, data: Splits, kept: Path) -> dict[str, Any] | None:
    """Score weights that are kept."""
    fit = kept_fit(setting, n_eta, kept)
    if fit is None:
        return None
    row = score(fit, at_times(data.test, setting.horizon))
    return {**row, "steps": fit.steps, "train_seconds": round(fit.training.seconds)}


def opponent_row(setting: Setting, method: str, data: Splits, seed: int, steps: int) -> Any:
    """Score one of the alternatives."""
    parts = (part.until(setting.horizon) for part in (data.validation, data.test))
    found = OPPONENTS[method](setting, setting.split, Splits(data.train, *parts), seed, steps)
    row = {
        "steps": found.steps or "",
        "train_seconds": round(found.train_seconds, 1),
        "predict_seconds": round(found.predict_seconds, 1),
        "status": found.status,
        "choice": found.choice,
    }
    if found.status == "ok":
        row["nrmse_mean"] = f"{found.errors.mean():.5f}"
        row["nrmse_sd"] = _sd(found.errors)
        for name, values in (("coverage_90", found.coverage_90), ("crps", found.crps)):
            row[name] = "" if values is None else f"{np.mean(values):.6f}"
    return row


def runs(args: argparse.Namespace) -> Iterator[tuple[Setting, str, int | None, int]]:
    """All runs that were asked for: setting, method, n_η (None where it has no meaning), seed."""
    for case in args.case.split(","):
        for split, setting in CASES[case].items():
            if split not in args.split.split(","):
                continue
            for method in ["msde"] if args.rescore else args.methods.split(","):
                n_etas = _n_etas(args.n_eta, setting) if method in OURS else [None]
                seeds = range(args.seeds) if method in OURS or method.startswith("pod") else [0]
                yield from ((setting, method, n, seed) for n in n_etas for seed in seeds)


def _n_etas(text: str, setting: Setting) -> list[int | None]:
    """Numbers asked for; on hard splits and KS the one that validation chose, unless given."""
    if not text:
        return [0, 5] if setting.split == "published" and setting.case != "ks" else [setting.n_eta]
    if ".." in text:
        low, high = text.split("..")
        return list(range(int(low), int(high) + 1))
    return [int(n) for n in text.split(",")]


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", default=",".join(CASES), help="cases, separated by commas")
    parser.add_argument("--split", default="published,hard")
    parser.add_argument("--methods", default=",".join((*OURS[:1], *OPPONENTS)))
    parser.add_argument("--n-eta", default="", help="0..5 or 0,5; unless given 0 and 5")
    parser.add_argument("--seeds", type=int, default=1, help="seeds 0, 1, … so many")
    parser.add_argument("--steps", type=int, help="of training; unless given the case's")
    parser.add_argument("--out", type=Path, default=Path("runs/accuracy"), help="checkpoints")
    parser.add_argument("--results", type=Path, default=table.RESULTS)
    parser.add_argument("--rescore", type=Path, help="score weights kept in this folder instead")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    device = name_of(args.device)
    cached: dict[tuple[str, str], Splits] = {}
    for setting, method, n_eta, seed in runs(args):
        shown = "" if n_eta is None else n_eta
        key = {
            "case": setting.case,
            "split": setting.split,
            "method": method,
            "n_eta": shown,
            "seed": seed,
        }
        if table.key_of(key) in {table.key_of(row) for row in table.read(args.results)}:
            table.say_there(args.results, *key.values())
            continue
        place = (setting.case, setting.split)
        if place not in cached:
            cached.clear()  # one split at a time: a 2-D one takes gigabytes
            cached[place] = setting.problem.splits(setting.split, directory="data")
        data = cached[place]
        if args.rescore:
            found = kept_row(setting, n_eta or 0, data, args.rescore)
        elif method in OURS:
            found = our_row(setting, method, n_eta or 0, data, seed, args)
        else:
            found = opponent_row(setting, method, data, seed, args.steps or setting.steps)
        if found is None:
            continue
        row = {
            **key,
            **found,
            "n_coarse": "x".join(map(str, setting.coarse)),
            "device": device,
            "version": pyro_msde.__version__,
            "commit": table.commit(),
        }
        table.append(row, args.results)
        print(
            ", ".join(f"{k} {v}" for k, v in row.items() if v != "" and k != "device"), flush=True
        )


if __name__ == "__main__":
    main()
