"""At which multiples of what is usual is a forecast doubted? On validation only.

    python -m benchmarks.studies.trust_limits

What is forecast are validation trajectories and, of kept runs, fresh ones of another seed than
`benchmarks.trusting` scores; test trajectories, hard runs and two observed sets stay unseen. They
are dealt out into parts of at least five (of observed records: into two). Of each of the first four
parts `usual_forecasts` learns what is usual, and the others are forecast as they are; some others
with spoilt drifts and from changed initial fields, too. One row for each forecast is appended to
benchmarks/results/trust_limits.csv, with its signs as multiples of what is usual; cases that are
there are skipped. Then the limits are printed that this rule gives:

- start, outside, spread: the smallest round number that no forecast as it is exceeds which errs by
  at most three times the usual error.
- drift, which is zero in all of these: the largest round number at which at least 90 % of forecasts
  with spoilt drifts are doubted which err more, by this sign or another. Cases weigh alike.

Changed initial fields choose nothing. On one core a case takes about a minute.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import pyro_msde
from benchmarks import table
from benchmarks.device import name_of
from benchmarks.trusting import FAR_OFF, KEPT, Case, Variant, named, scored, with_trust
from pyro_msde import Trajectories
from pyro_msde.forecasts.trust import LIMITS

RESULTS = Path(__file__).parent.parent / "results" / "trust_limits.csv"
CASES = ("kdv-0", "kdv-5", "burgers1d-0", "burgers1d-5", "ks-0", "sst", "ostia")
KEY = ("case", "part", "kind", "change")
COLUMNS = (*KEY, *LIMITS, "error_ratio", "device", "version", "commit")
SEED = 32_000  # of fresh trajectories
FRESH, CHANGED, SPOILT = 25, 3, 4
FEWEST, PARTS = 5, 4
ROUND = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
DETECTED = 0.9

Row = Mapping[str, Any]


def pooled(case: Case) -> Trajectories:
    """Validation and fresh trajectories."""
    known = case.validation
    more = None if case.fresh is None else case.fresh(FRESH, seed=SEED)
    if more is None:
        return known
    return Trajectories(known.times[0], np.stack([*known.values, *more.values]))


def forecasts(case: Case) -> Iterator[tuple[int, float, Variant]]:
    """Part, usual error and what is forecast."""
    data = pooled(case)
    parts = max(2, len(data) // FEWEST)
    for part in range(min(parts, PARTS)):
        measured = np.arange(len(data)) % parts == part
        known, others = with_trust(case.fit, data[measured]), data[~measured]
        variants = [("usual", "validation", known, others)]
        if part == 0:
            variants += case.drifts(known, others[:SPOILT])
            variants += case.starts(known, CHANGED, seed=SEED)
        usual = scored(known, data[measured]).errors.mean()
        yield from ((part, usual, variant) for variant in variants)


def rows(case: Case) -> Iterator[dict[str, Any]]:
    """One for each forecast."""
    for part, usual, (kind, change, fit, truth) in forecasts(case):
        found = scored(fit, truth)
        for k, error in enumerate(found.errors):
            multiples = {name: found.signs[name][k] * LIMITS[name] for name in LIMITS}
            numbers = {**multiples, "error_ratio": error / usual}
            texts = {name: f"{number:.3g}" for name, number in numbers.items()}
            yield {"part": part, "kind": kind, "change": change, **texts}


def erring(rows: Sequence[Row], kind: str, *, more: bool) -> list[Row]:
    """Forecasts of a kind that err by more than three times the usual error, or do not."""
    own = [row for row in rows if row["kind"] == kind]
    return [row for row in own if (float(row["error_ratio"]) > FAR_OFF) == more]


def doubted(rows: Sequence[Row], limits: Mapping[str, float]) -> np.ndarray:
    """Whether any sign is beyond its limit; one that is no number is."""
    within = [[float(row[name]) <= limit for name, limit in limits.items()] for row in rows]
    return np.array([not all(signs) for signs in within], dtype=bool)


def share(rows: Sequence[Row], limits: Mapping[str, float]) -> float:
    """Of forecasts that are doubted, averaged over cases."""
    cases = [[r for r in rows if r["case"] == case] for case in {r["case"]: 0 for r in rows}]
    return float(np.mean([doubted(own, limits).mean() for own in cases]))


def chosen(rows: Sequence[Row]) -> dict[str, float]:
    """Limits by the rule.

    Raises:
        ValueError: No round number is large enough, or small enough.
    """
    near, far = erring(rows, "usual", more=False), erring(rows, "drift", more=True)
    limits: dict[str, float] = {}
    for name in ("start", "outside", "spread"):
        fitting = [f for f in ROUND if not doubted(near, {name: f}).any()]
        if not fitting:
            raise ValueError(f"{name}: some exceed {ROUND[-1]:g} times the usual.")
        limits[name] = fitting[0]
    fitting = [f for f in ROUND if share(far, {**limits, "drift": f}) >= DETECTED]
    if not fitting:
        raise ValueError(f"drift: under {DETECTED:.0%} are doubted.")
    return {**limits, "drift": fitting[-1]}


def summary(rows: Sequence[Row], limits: Mapping[str, float]) -> Iterator[str]:
    """Lines: false alarms and what is detected, of each kind."""
    for kind in ("usual", "start", "drift"):
        flagged = [doubted(erring(rows, kind, more=more), limits) for more in (False, True)]
        false, detected = (f"{f.sum()} of {len(f)}" for f in flagged)
        yield f"{kind}: false alarms {false}, detected {detected}"


def main() -> None:
    """Fill the table and choose."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--data", default="data", help="folder of the splits")
    args = parser.parse_args()
    same = {"device": name_of("cpu"), "version": pyro_msde.__version__, "commit": table.commit()}
    there = {row["case"] for row in table.read(args.results, COLUMNS)}
    for name in CASES:
        if name not in there:
            found = list(rows(named(name, KEPT, args.data)))
            for row in found:
                table.append({"case": name, **row, **same}, args.results, COLUMNS)
            print(f"{name}: {len(found)} forecasts", flush=True)
    found = table.read(args.results, COLUMNS)
    limits = chosen(found)
    print(limits, *summary(found, limits), sep="\n")


if __name__ == "__main__":
    main()
