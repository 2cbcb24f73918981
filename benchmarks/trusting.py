"""Does `Forecast.diverged` tell forecasts that are far off from others?

    python -m benchmarks.trusting
    python -m benchmarks.trusting --case sst,hgt,ostia,a1b

A forecast is far off if its error is over three times the mean one of validation forecasts, and is
flagged if `diverged` is over one half. Kept runs forecast their test trajectories and twenty fresh
ones ("usual"), trajectories from changed initial fields ("start"), and their test trajectories with
spoilt drifts ("drift"); observed sets, of which no truth is known elsewhere, are forecast as they
are and with spoilt drifts by a model trained in 300 steps. One row for each change is appended to
benchmarks/results/trusting.csv; what is there is skipped. `python -m benchmarks.render_trusting`
makes docs/trust.md. On one core a case takes one to five minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import pyro_msde
from benchmarks import table
from benchmarks.accuracy import kept_fit
from benchmarks.device import name_of
from benchmarks.spoilt import CHANGES, NOISES, fresh_from, spoilt_drifts
from examples.cases import CASES, Setting
from pyro_msde import Fit, Trajectories
from pyro_msde.data import common_batches, evenly_spaced
from pyro_msde.datasets import observed
from pyro_msde.guides import AmortizedGP
from pyro_msde.interface import usual_forecasts
from pyro_msde.models import multiscale

RESULTS = Path(__file__).parent / "results" / "trusting.csv"
KEPT = Path(__file__).parent / "runs"
KEPT_CASES = ("kdv-0", "kdv-5", "kdv-hard", "burgers1d-0", "burgers1d-5", "burgers1d-hard", "ks-0")
KEY = ("case", "kind", "change")
COLUMNS = (
    *KEY,
    "forecasts",
    "far_off",
    "flagged",
    "false_alarms",
    "detected",
    "error_ratio",
    "diverged",
    "sign",
    "device",
    "version",
    "commit",
)
FAR_OFF, FLAG = 3.0, 0.5
NUM_TIMES, NUM_SAMPLES = 21, 8
FRESH, CHANGED, SPOILT = 20, 2, 2  # trajectories
STEPS = 300

Variant = tuple[str, str, Fit, Trajectories]  # kind, change, forecaster, truth
Fresh = Callable[..., Trajectories | None]


@dataclass(frozen=True)
class Case:
    """Something to forecast.

    Attributes:
        fit: As it was kept, or trained.
        validation: Trajectories that tell what is usual.
        test: Others of the same law.
        fresh: `fresh_from`, given the equation; None: it is not known.
        size: Root mean square of the training data; 0: initial fields cannot be changed.
    """

    fit: Fit
    validation: Trajectories
    test: Trajectories
    fresh: Fresh | None = None
    size: float = 0.0

    def drifts(self, known: Fit, truth: Trajectories) -> Iterator[Variant]:
        """Spoilt ones."""
        for change, spoilt in spoilt_drifts(known):
            yield "drift", change, spoilt, truth

    def starts(self, known: Fit, count: int, **options: Any) -> Iterator[Variant]:
        """Changed initial fields, so many of each change; options are those of `fresh_from`."""
        if self.fresh is None or not self.size:
            return
        changes: dict[str, dict[str, Any]] = {name: {"change": c} for name, c in CHANGES.items()}
        changes |= {f"noise of {n:g} rms": {"noise": n * self.size} for n in NOISES}
        for name, change in changes.items():
            truth = self.fresh(count, **change, **options)
            if truth is not None:
                yield "start", name, known, truth

    def variants(self, known: Fit) -> Iterator[Variant]:
        """All that is scored, of the fit with `Trust`."""
        yield "usual", "test", known, self.test
        others = None if self.fresh is None else self.fresh(FRESH)
        if others is not None:
            yield "usual", "fresh", known, others
        yield from self.drifts(known, self.test if self.fresh is None else self.test[:SPOILT])
        yield from self.starts(known, CHANGED)


def thinned(data: Trajectories, horizon: float | None = None) -> Trajectories:
    """At `NUM_TIMES` times, up to a horizon."""
    data = data if horizon is None else data.until(horizon)
    return data.snapshots([evenly_spaced(len(t), NUM_TIMES) for t in data.times])


def kept_case(setting: Setting, n_eta: int, runs: Path, directory: str) -> Case:
    """A kept run on its splits."""
    fit = kept_fit(setting, n_eta, runs)
    if fit is None:
        raise FileNotFoundError(f"{runs}: no run of {setting.case}, {setting.split}, {n_eta}.")
    data = setting.problem.splits(setting.split, directory=directory)
    validation, test = (thinned(part, setting.horizon) for part in (data.validation, data.test))
    fresh = partial(
        fresh_from, setting.problem, setting.split, setting.horizon, num_times=NUM_TIMES
    )
    spun_up = setting.case == "ks"  # from initial fields of another kind
    size = 0.0 if spun_up else float(np.sqrt(np.mean(np.square(data.train.values[0]))))
    return Case(fit, validation, test, fresh, size)


OBSERVED = {  # variable, snapshots of a window
    "sst": ("sst", 6),
    "hgt": ("z", 6),
    "ostia": ("surface_temperature", 4),
    "a1b": ("air_temperature", 11),
}


def observed_case(name: str) -> Case:
    """A model trained on part of an observed record, and windows of what follows."""
    variable, length = OBSERVED[name]
    ds = getattr(observed, name)()
    if name == "hgt":
        ds = ds.isel(pressure=0)
    missing = {"missing": "mask"} if bool(ds[variable].isnull().any()) else {}
    data = Trajectories.from_xarray(ds, variable, **missing)
    train, validation, test = data.split(train=0.6, validation=0.2)
    model = multiscale.like(train, n_eta=0)
    windows = validation.cut(length, 1)
    fit = pyro_msde.fit(
        model, AmortizedGP(model), train, validation=windows, steps=STEPS, progress=False
    )
    return Case(fit, windows, test.cut(length, 1))


class Scored(NamedTuple):
    """Forecasts of some trajectories.

    Attributes:
        errors: (trajectory,) sqrt(mean_t ‖error‖² / mean_t ‖y − reference‖²) of what was observed;
            infinite where a forecast is not finite.
        diverged: (trajectory,) `Forecast.diverged`.
        signs: (trajectory,) by name.
    """

    errors: np.ndarray
    diverged: np.ndarray
    signs: dict[str, np.ndarray]


def scored(fit: Fit, data: Trajectories) -> Scored:
    """Forecasts from first snapshots, of trajectories with common lead times at once."""
    parts = []
    for batch in common_batches(data):
        truth = data[batch.rows]
        fc = fit.forecast(truth, num_samples=NUM_SAMPLES, max_step=0.003 * fit.scaling.time)
        y = np.stack(truth.values).astype(np.float64)
        axes = tuple(range(1, y.ndim))
        anomaly = y - fit.reference_at(np.stack(truth.times))
        seen = np.isfinite(y) & fit.mask
        with np.errstate(over="ignore", invalid="ignore"):
            error = np.square(fc.mean.double().numpy() - y).mean(axes, where=seen)
        ratio = np.sqrt(error / np.square(anomaly).mean(axes, where=seen))
        ratio = np.where(np.isfinite(ratio), ratio, np.inf)
        signs = {name: sign.numpy() for name, sign in fc.signs.items()}
        parts.append(Scored(ratio, fc.diverged.numpy(), signs))
    return Scored(
        np.concatenate([part.errors for part in parts]),
        np.concatenate([part.diverged for part in parts]),
        {name: np.concatenate([p.signs[name] for p in parts]) for name in parts[0].signs},
    )


def with_trust(fit: Fit, validation: Trajectories) -> Fit:
    """A copy that knows what is usual of validation forecasts.

    Raises:
        RuntimeError: They are not finite.
    """
    trust = usual_forecasts(fit, validation)
    if trust is None:
        raise RuntimeError("validation forecasts are not finite.")
    return fit.adjusted(trust)


def rows(case: Case, there: set[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """One for each change that is not there yet."""
    known = with_trust(case.fit, case.validation)
    usual = scored(known, case.validation).errors.mean()
    for kind, change, fit, truth in case.variants(known):
        if (kind, change) in there:
            continue
        found = scored(fit, truth)
        ratio = found.errors / usual
        far, flagged = ratio > FAR_OFF, found.diverged > FLAG
        largest = {name: float(np.nanmedian(sign)) for name, sign in found.signs.items()}
        yield {
            "kind": kind,
            "change": change,
            "forecasts": len(ratio),
            "far_off": int(far.sum()),
            "flagged": int(flagged.sum()),
            "false_alarms": int((flagged & ~far).sum()),
            "detected": int((flagged & far).sum()),
            "error_ratio": f"{np.median(ratio):.2f}",
            "diverged": f"{np.median(found.diverged):.3f}",
            "sign": max(largest, key=lambda name: largest[name]),
        }


def named(case: str, runs: Path, directory: str) -> Case:
    """An observed set, or a kept run as "kdv-5" or "kdv-hard"."""
    if case in OBSERVED:
        return observed_case(case)
    name, which = case.split("-")
    setting = CASES[name]["hard" if which == "hard" else "published"]
    n_eta = setting.n_eta if which == "hard" else int(which)
    return kept_case(setting, n_eta, runs, directory)


def main() -> None:
    """Fill the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--case", default=",".join((*KEPT_CASES, *OBSERVED)), help="separated by commas"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--runs", type=Path, default=KEPT, help="folder of kept weights")
    parser.add_argument("--data", default="data", help="folder of the splits")
    args = parser.parse_args()
    same = {"device": name_of("cpu"), "version": pyro_msde.__version__, "commit": table.commit()}
    for name in args.case.split(","):
        known = [r for r in table.read(args.results, COLUMNS) if r["case"] == name]
        there = {(r["kind"], r["change"]) for r in known}
        for row in rows(named(name, args.runs, args.data), there):
            table.append({"case": name, **row, **same}, args.results, COLUMNS)
            print(name, row, flush=True)


if __name__ == "__main__":
    main()
