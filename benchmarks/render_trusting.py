"""docs/trust.md from the table of `benchmarks.trusting`.

python -m benchmarks.render_trusting
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks import table, trusting
from benchmarks.studies.trust_limits import CASES as CHOSEN_ON
from pyro_msde.forecasts.trust import LIMITS

OUT = Path(__file__).parent.parent / "docs" / "trust.md"
HEAD = f"""# When a forecast is not to be trusted

Made by `python -m benchmarks.render_trusting`.

`fc.diverged` is one number in [0, 1] for each initial field. Above one half the forecast is not to
be trusted: it is likely to err by over three times what forecasts of validation trajectories do.
`fc.signs` says why. Each sign is a ratio s to its limit, and `diverged` is s/(1 + s) of the
largest; it is 1 where a path is not finite (`pyro_msde/forecasts/trust.py`).

* `start`: (y₀ − E[y given z₀])²/Var[y given z₀], averaged over the initial field. The limit is
  {LIMITS["start"]:g} times the largest of validation.
* `outside`: the share of latent states, over paths and times, beyond the ranges of the encoded
  training data. The limit is {LIMITS["outside"]:g} times the largest of validation, which counts as
  0.05 at least.
* `spread`: the standard deviation of the paths, root mean square in units of each state's. The
  limit is {LIMITS["spread"]:g} times that of validation.
* `drift`: ∫ δγ dt along encoded validation trajectories, root mean square; δγ is what the drift
  that is integrated and the one that was learned differ by. It is zero unless weights or
  adjustments were changed since. The limit is {LIMITS["drift"]:g} times the error of validation
  forecasts.

`fit(validation=…)` measures in the end what is usual of validation forecasts,
`fit.calibrated(validation)` again, and both keep it as the fit's adjustment "trust", which adjusts
nothing. Without it, in runs of earlier versions and in fits without validation, only start (with
the limit {LIMITS["start"]:g}, since the model claims 1) and outside are known.

## How the limits were chosen

On validation only (`python -m benchmarks.studies.trust_limits`), of
{", ".join(CHOSEN_ON)}.
Half of the windows of an observed record, and of a kept run five trajectories of thirty, its
validation and fresh ones of another seed than those below, say what is usual; the others are
forecast (`benchmarks/results/trust_limits.csv`). The limits of `start`, `outside` and `spread` are
the smallest round numbers that no forecast as it is exceeds which errs by at most three times the
usual error. `drift` is zero in all of these; its limit is the largest round number
at which at least 90 % of forecasts with spoilt drifts that err more are doubted, cases weighing
alike. Changed initial fields chose nothing.

The numbers come from validation alone, but the first rule does not: it let 1 % of forecasts as they
are exceed each limit, which gave 1.5, 1.25 and 2.5, and was made stricter after a1b's test windows
had been seen. In a warming climate the initial fields of the last years misfit by more than 1.5
times the largest of validation, though they are forecast no worse. What a1b shows below is
therefore no independent test. (A first rule for `drift`, the least sum of false alarms and misses,
gave 6; it was left before any test was seen.)

## What they do

False alarms are forecasts that are flagged though they err by at most three times the mean error
of validation, as a share of all such; detected are those flagged among the ones that err more. "As
they are" are test trajectories and fresh ones; "initial fields" have another amplitude (times 1.5,
2, 3, −1), another wavenumber, waves or noise on top; "drifts" are multiplied by 1.1, 1.5, 0.5 and
−1, have weights that are off by 10 or 30 %, or the other sign of their linear terms.
`benchmarks/results/trusting.csv` has a row for each. No forecast of this table enters the choice
of numbers, and of "others" no validation does either.
"""
KINDS = {"usual": "as they are", "start": "initial fields", "drift": "drifts"}

Row = dict[str, str]


def counted(rows: Sequence[Row]) -> tuple[int, int, int, int]:
    """Forecasts, false alarms, those far off, and those detected among them."""
    names = ("forecasts", "false_alarms", "far_off", "detected")
    all_of_them, false, far, detected = (sum(int(r[n]) for r in rows) for n in names)
    return all_of_them, false, far, detected


def lines(rows: Sequence[Row]) -> list[str]:
    """The table: a line for each case and kind, and for all cases of a kind."""
    out = [
        "| case | | forecasts | false alarms | far off | detected |",
        "|---|---|---|---|---|---|",
    ]
    cases = list(dict.fromkeys(r["case"] for r in rows))
    parts = [(case, [r for r in rows if r["case"] == case]) for case in cases]
    others = [r for r in rows if r["case"] not in CHOSEN_ON]
    parts += [("all", list(rows)), ("others", others)]
    groups = [(case, k, [r for r in own if r["kind"] == k]) for case, own in parts for k in KINDS]
    for case, kind, own in groups:
        if own:
            total, false, far, detected = counted(own)
            share = f"{detected} ({detected / far:.0%})" if far else ""
            usual = total - far
            alarms = f"{false} ({false / usual:.0%})" if usual else ""
            out.append(f"| {case} | {KINDS[kind]} | {total} | {alarms} | {far} | {share} |")
    return out


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=trusting.RESULTS)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    rows = table.read(args.results, trusting.COLUMNS)
    args.out.write_text("\n".join([HEAD, *lines(rows)]).rstrip() + "\n")


if __name__ == "__main__":
    main()
