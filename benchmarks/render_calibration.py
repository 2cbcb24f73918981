"""docs/calibration.md from the tables of `benchmarks.calibration` and of two of its studies.

python -m benchmarks.render_calibration
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import calibration, table
from benchmarks.render import NAMES

STUDIES = Path(__file__).parent / "studies" / "results"
OUTSIDE = (
    "case",
    "split",
    "method",
    "where",
    "error",
    "spread",
    "spread_skill",
    "coverage_90",
    "coverage_lowest",
    "crps",
)
OUT = Path(__file__).parent.parent / "docs" / "calibration.md"
HEAD = """# Calibration

Made by `python -m benchmarks.render_calibration`. Forecasts from one noisy snapshot, 64 samples, of
unseen trajectories that were simulated for this alone; `docs/method.md` explains the scores.

| method | |
|---|---|
| `msde` | what is shipped: the kept weights with the jackknife of their drift and a scale of √C |
| `alt-unscaled` | the same without the scale, where it is not 1 |
| `alt-point` | the kept weights without either |
| `alt-loose` | the kept weights with a jackknife at λ = 0.01 instead of 1, without a scale |
| `alt-ensemble` | the kept weights pooled with two more seeds, without either |
| `alt-both` | the same three, each with its jackknife, without a scale |
| `alt-bayesian` | a mean-field posterior over all weights of the drift |
| `alt-cold` | the same with a prior of weight 1 beside the tempered likelihood |
"""
SCALE = """## How the scale of √C is chosen

`fit.calibrated(validation)` forecasts validation trajectories with multiples s of √C. It takes ŝ,
whose coverage by lead time is nearest to the level, if that of s = 1 falls short; or the smallest
that still covers (1 + level)/2 if that of 1 is more. Initial times do not count.

Few trajectories tell little, and those that were calm by chance once chose √C × 0.2, which covered
73 %. What they tell is log ŝ with a standard error τ, so with the prior log s ~ N(0, σ²) the
posterior mean is

    log s = σ²/(σ² + τ²) log ŝ,    τ = (standard error of the coverage c) / (dc/d log s).

σ is 1 above and 0.5 below zero: the ELBO makes C too small rather than too large. The slope is that
between the scales tried on either side of ŝ, or that from 1 to ŝ if it is steeper, since coverage
saturates at one. Of n trajectories with coverages c_k the squared standard error is

    (v₀ + Σ_k (c_k − c̄)²) / n²,    v₀ = level (1 − level)/m,

where v₀ stands for one more trajectory of which only the binomial variance is known, with m
independent values. m is the mean of (Σ σ_i²)²/Σ σ_i⁴ over the singular values of each trajectory's
normal scores, lead times × places: 1 if they are one number, and at most the smaller of the two.
Windows that overlap count by the share of their snapshots that no other has
(`pyro_msde/scores/diffusion_scale.py`, `window_scores.py`).

Before all that, forecasts in which both √C and the spread of the start are multiplied by .5, .25,
.1 and 0 are tried, each as long as it lowers the CRPS of the one before by a tenth, in the
geometric mean over windows. Intervals 1.8 times as wide as they should be lose as much. More
often it is the mean that noise spoils: paths that it carries apart in phase average to nothing,
and beside a state that is unstable it grows. A β above 1 makes Σ of the start too wide as well.
No window is asked for its own variance here, and nothing is moved towards 1. If one of them is
kept, that is the scale.

Where intervals cover too little by more than the standard error of their coverage, with that noise
or with all of it, the jackknife's changes of the drift's weights are multiplied by 1.4, 2, 2.8 and
4, until they cover enough on average or the CRPS is above that at 1. The multiple whose coverage by
lead time is nearest to the level is kept: a jackknife does not see what all parts of the training
data have in common (`pyro_msde/scores/parameter_scale.py`). Wider s are tried after that only if
intervals still cover too little by more than that error.

For a linear SDE, whose forecasts are exact but for √C, coverage of the 90 % interval averaged over
12 sets of windows lies in these bounds, for one latent state at three leads and six at twenty
(`tests/scores/test_window_scores.py`):

| √C is | without | 1 window | 3 | 10 | 100 |
|---|---|---|---|---|---|
| right | 0.90 | 0.89–0.94 | 0.89–0.95 | 0.89–0.94 | 0.895–0.92 |
| 0.4 of it | 0.51 | 0.75–0.92 | 0.85–0.94 | 0.84–0.94 | 0.87–0.92 |
| 2.5 of it | 1.00 | 0.95–1.00 | 0.95–1.00 | 0.94–0.99 | 0.93–0.98 |

Of the kept runs, published ones are left as they are by one trajectory or five; on hard Burgers in
one dimension the scale moves towards 1, from the .65 that was kept to .82, and covers .96 of the
test data instead of .94 (`python -m benchmarks.studies.few_windows`, in
`benchmarks/studies/results/few_windows.csv`).

`fit.calibration` has the coverage by lead time `before` and `after`, at the lead times `leads`, and
spread over skill of all scales tried.
"""
LEVEL = "0.9"

Row = dict[str, str]


def groups(rows: Sequence[Row], *names: str) -> dict[tuple[str, ...], list[Row]]:
    """Rows by some of their columns, in order."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[n] for n in names), []).append(row)
    return found


def by_lead(rows: Sequence[Row]) -> list[str]:
    """A table for each case and split, a line for each method."""
    out = [
        "## By lead time",
        "",
        "Lowest and highest of the ten tenths of the horizon, and the last; CRPS and energy score",
        "are means over them, in the data's units. Other levels and standard errors are in",
        "`benchmarks/results/calibration.csv` (`python -m benchmarks.calibration`) and in",
        "`benchmarks/studies/results/remedies.csv` (`python -m benchmarks.studies.remedies`).",
        "",
    ]
    kept = [r for r in rows if r["level"] == LEVEL]
    for (case, split), own in groups(kept, "case", "split").items():
        count = own[0]["trajectories"]
        out += [
            f"### {NAMES.get(case, case)}, {split} split, {count} trajectories",
            "",
            "| method | coverage of the 90 % interval | spread / skill | CRPS | energy score |",
            "|---|---|---|---|---|",
        ]
        for (method,), tenths in groups(own, "method").items():
            tenths = sorted(tenths, key=lambda r: float(r["lead"]))
            means = (np.mean([float(r[n]) for r in tenths]) for n in ("crps", "energy"))
            crps, energy = (f"{m:.5f}" for m in means)
            covered, ratio = (_range(tenths, n) for n in ("coverage", "spread_skill"))
            out.append(f"| {method} | {covered} | {ratio} | {crps} | {energy} |")
        out.append("")
    return out


def beyond(rows: Sequence[Row]) -> list[str]:
    """Inside and outside side by side."""
    out = [
        "## Outside the training data",
        "",
        "Ten trajectories whose initial field has a larger peak than any of training's, and ten",
        "others, inside. Error and spread are root mean squares. `python -m",
        "benchmarks.studies.outside` fills `benchmarks/studies/results/outside.csv`.",
        "",
        "| case | method | where | error | spread | spread / skill | coverage | lowest | CRPS |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda r: (r["case"], r["split"])):
        case = f"{NAMES.get(row['case'], row['case'])}, {row['split']}"
        numbers = " | ".join(
            f"{float(row[n]):{form}}"
            for n, form in (
                ("error", ".4f"),
                ("spread", ".4f"),
                ("spread_skill", ".2f"),
                ("coverage_90", ".2f"),
                ("coverage_lowest", ".2f"),
                ("crps", ".5f"),
            )
        )
        out.append(f"| {case} | {row['method']} | {row['where']} | {numbers} |")
    return [*out, ""]


def _range(tenths: Sequence[Row], name: str) -> str:
    values = [float(r[name]) for r in tenths]
    return f"{min(values):.2f}–{max(values):.2f}, last {values[-1]:.2f}"


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calibration", type=Path, default=calibration.RESULTS)
    parser.add_argument("--remedies", type=Path, default=STUDIES / "remedies.csv")
    parser.add_argument("--outside", type=Path, default=STUDIES / "outside.csv")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    shipped, others = (
        table.read(path, calibration.COLUMNS) for path in (args.calibration, args.remedies)
    )
    parts = [HEAD, *by_lead(shipped + others), *beyond(table.read(args.outside, OUTSIDE)), SCALE]
    args.out.write_text("\n".join(parts).rstrip() + "\n")


if __name__ == "__main__":
    main()
