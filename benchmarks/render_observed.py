"""docs/observed.md from benchmarks/results/observed.csv.

python -m benchmarks.render_observed
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Sequence
from pathlib import Path

from benchmarks import observed, table

OUT = Path(__file__).parent.parent / "docs" / "observed.md"
HEAD = """# Observed fields

Made by `python -m benchmarks.render_observed` from `benchmarks/results/observed.csv`, which
`python -m benchmarks.observed` fills. The sets are those of `pyro_msde.datasets.observed`; each is
cut in time, and the last part is tested on, forecast from each of its snapshots. Errors are root
mean squares over observed points, weighted by area; the coverage of the 90 % interval is counted on
observed points, too. Skill is against climatology, learned from the training part. Where there is a
season, climatology and the other simple forecasts know it. In bold: the least error at each lead
time. `docs/your-own-file.md` explains the code.
"""
NAMES = {
    "sst": "Sea-surface temperature of winters",
    "hgt": "Geopotential height of winters",
    "ostia": "Sea-surface temperature of months, along the equator",
    "scenarios": "Air temperature of years: A1B to learn from, E1 to forecast",
}

Row = dict[str, str]


def section(name: str, rows: Sequence[Row]) -> list[str]:
    """Heading, preparation and table of a set."""
    case = observed.CASES[name]
    code = inspect.cleandoc(inspect.getsource(case.prepare).split('"""')[-1])
    first = rows[0]
    leads = list(dict.fromkeys(r["lead"] for r in rows))
    heads = "".join(f" {float(lead):g} |" for lead in leads)
    out = [
        f"## {NAMES[name]}",
        "",
        f"{first['lines']} lines of code from file to table, among them these:",
        "",
        "```python",
        code,
        "```",
        "",
        f"RMSE{_in(first['units'])} by lead time{_in(first['lead_units'])}, then skill, coverage "
        "and CRPS by lead time.",
        "",
        f"| forecast |{heads} skill | coverage | CRPS | training s | compare s |",
        "|---|" + "---|" * (len(leads) + 5),
    ]
    least = {lead: min(float(r["rmse"]) for r in rows if r["lead"] == lead) for lead in leads}
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        # baselines are the same beside each fit
        fit = row["forecaster"] in ("fit", "calibrated")
        label = row["forecaster"]
        if fit:
            kind = ", calibrated" if label == "calibrated" else ""
            label = f"this library, n_η = {row['n_eta']}, reference {row['reference']}{kind}"
        group = groups.setdefault((not fit, label), [])
        if row["lead"] not in {r["lead"] for r in group}:
            group.append(row)
    for (simple, label), group in sorted(groups.items(), key=lambda item: item[0][0]):
        errors = "".join(f" {_bold(r['rmse'], least[r['lead']])} |" for r in group)
        seconds = ["", ""] if simple else [group[0][f"{k}_seconds"] for k in ("train", "compare")]
        scores = "".join(
            " " + ", ".join(f"{float(r[s]):{form}}" for r in group) + " |"
            for s, form in (("skill", ".2f"), ("coverage", ".2f"), ("crps", ".3g"))
        )
        out.append(f"| {label} |{errors}{scores} {' | '.join(seconds)} |")
    steps = ", ".join(dict.fromkeys(r["steps"] for r in rows))
    return [
        *out,
        "",
        f"{steps} steps; {first['device']}, one thread. Commit {first['commit']}.",
        "",
    ]


def _in(units: str) -> str:
    return f" in {units}" if units else ""


def _bold(value: str, least: float) -> str:
    text = f"{float(value):.3g}"
    return f"**{text}**" if float(value) == least else text


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=observed.RESULTS)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    rows = table.read(args.results, observed.COLUMNS)
    lines = [HEAD]
    for name in dict.fromkeys(row["set"] for row in rows):
        lines += section(name, [row for row in rows if row["set"] == name])
    args.out.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
