"""docs/results.md from benchmarks/results/accuracy.csv, and its summary in README.md.

python -m benchmarks.render
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import table

OUT = Path(__file__).parent.parent / "docs" / "results.md"
README = Path(__file__).parent.parent / "README.md"
MARKS = ("<!-- made by python -m benchmarks.render -->\n", "\n<!-- end -->")

NAMES = {
    "kdv": "Korteweg–de Vries",
    "burgers1d": "Burgers, one dimension",
    "burgers2d": "Burgers, two dimensions",
    "cylinder": "Flow past a cylinder",
    "ks": "Kuramoto–Sivashinsky",
}
# NRMSE in percent of the authors' stored runs, one test trajectory each, n_η = 0 … 5 (quoted)
AUTHORS = {
    "kdv": ("31.7", "13.9", "5.7", "6.4", "13.2", "5.8"),
    "burgers1d": ("10.5", "2.4", "2.1", "2.8", "2.8", "1.1"),
    "burgers2d": ("12.7", "4.4", "diverged", "1.1", "2.2", "1.3"),
    "cylinder": ("12.4", "7.3", "6.3", "5.4", "5.2", "4.9"),
}
# of this library's own: not among the published cases
OWN = ("ks",)
LOOK_UPS = ("persistence", "mean", "nearest", "period", "analogue", "pc-regression")
HEAD = """# Results

Made by `python -m benchmarks.render` from `benchmarks/results/accuracy.csv`, which
`python -m benchmarks.accuracy` fills. NRMSE in percent, mean ± standard deviation over the test
trajectories, both averaged over seeds where there are several, with the seeds' range of means in
brackets; forecasts start from one noisy snapshot.
Coverage is that of the central 90 % interval, in brackets its lowest and highest tenth of the
horizon. `msde` is this library, n_η = 0 its implicit-scale closure.

Points within the cylinder are left out of its flow's errors. To count them, with the velocity zero
that the truth has there, changes none of these numbers: all methods know where the cylinder is, and
forecast zero there or nothing. The published split of this flow is one trajectory cut in time, its
test the last second: errors have no standard deviation.
"""

Row = dict[str, str]


def percent(value: str) -> str:
    """A fraction as it stands in the file, in percent."""
    return f"{100 * float(value):.2f}"


def line(rows: Sequence[Row], authors: str = "") -> str:
    """One line of a table, of all seeds of a method."""
    first = rows[0]
    name = first["method"] + (f", n_η = {first['n_eta']}" if first["n_eta"] != "" else "")
    failed = [r["status"] for r in rows if r["status"] != "ok"]
    good = [r for r in rows if r["status"] == "ok"]
    if not good:
        return (
            f"| {name} | {first['n_coarse']} | {first['steps']} | {failed[0]} | | | | {authors} |"
        )
    return (
        f"| {name} | {first['n_coarse']} | {first['steps']} | {_error(rows)} | {_covered(good)} | "
        f"{_mean(good, 'crps', '.5f')} | {_mean(good, 'train_seconds', '.0f')} | {authors} |"
    )


def _error(rows: Sequence[Row]) -> str:
    """Over all seeds, with what went wrong."""
    failed = [r["status"] for r in rows if r["status"] != "ok"]
    good = [r for r in rows if r["status"] == "ok"]
    if not good:
        return failed[0]
    means = [100 * float(r["nrmse_mean"]) for r in good]
    spread = [100 * float(r["nrmse_sd"]) for r in good if r["nrmse_sd"]]
    error = f"{np.mean(means):.2f}" + (f" ± {np.mean(spread):.2f}" if spread else "")
    if len(good) > 1:
        error += f" ({len(good)} seeds: {min(means):.2f} to {max(means):.2f})"
    return f"{error}; {len(failed)} of {len(rows)}: {failed[0]}" if failed else error


def _covered(rows: Sequence[Row]) -> str:
    overall = _mean(rows, "coverage_90", ".2f")
    low = [float(r["coverage_low"]) for r in rows if r["coverage_low"]]
    high = [float(r["coverage_high"]) for r in rows if r["coverage_high"]]
    return f"{overall} ({min(low):.2f}–{max(high):.2f})" if low else overall


def _mean(rows: Sequence[Row], column: str, form: str) -> str:
    values = [float(r[column]) for r in rows if r[column]]
    return format(np.mean(values), form) if values else ""


def section(case: str, split: str, rows: Sequence[Row]) -> list[str]:
    """Heading and table of a case's split."""
    out = [
        f"## {NAMES.get(case, case)}, {_split(case, split)}",
        "",
        "| method | coarse | steps | NRMSE % | coverage | CRPS | training s | authors % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["n_eta"], row["steps"]), []).append(row)
    for (method, n_eta, _), group in sorted(groups.items(), key=_order):
        quoted = AUTHORS.get(case, ()) if split == "published" and method == "msde" else ()
        out.append(line(group, quoted[int(n_eta)] if quoted else ""))
    devices = sorted({row["device"] for row in rows})
    return [*out, "", f"Device: {', '.join(devices)}.", ""]


def _split(case: str, split: str) -> str:
    return "not in the paper" if case in OWN else f"{split} split"


def _order(item: tuple[tuple[str, str, str], list[Row]]) -> tuple[bool, str, int]:
    method, n_eta, _ = item[0]
    return (not method.startswith("msde"), method, int(n_eta or 0))


def summary(rows: Sequence[Row]) -> str:
    """Our models of fewest and of most microscale states, beside the best of the alternatives."""
    out = [
        "| NRMSE % | n_η | coarse | this library | coverage | authors | best look-up | "
        "coarse simulation | noise alone |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    ours: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row["method"] == "msde" and row["case"] in NAMES:
            ours.setdefault((row["case"], row["split"], row["n_eta"]), []).append(row)
    order = {case: k for k, case in enumerate(NAMES)}
    states: dict[tuple[str, str], list[int]] = {}
    for case, split, n_eta in ours:
        states.setdefault((case, split), []).append(int(n_eta))
    for case, split, n_eta in sorted(ours, key=lambda k: (order[k[0]], k[1] == "hard", int(k[2]))):
        if int(n_eta) not in (min(states[case, split]), max(states[case, split])):
            continue
        group = ours[case, split, n_eta]
        others = [r for r in rows if (r["case"], r["split"], r["status"]) == (case, split, "ok")]

        def best(*methods: str, others: Sequence[Row] = others) -> str:
            errors = [100 * float(r["nrmse_mean"]) for r in others if r["method"] in methods]
            return f"{min(errors):.1f}" if errors else ""

        good = [r for r in group if r["status"] == "ok"]
        quoted = AUTHORS.get(case, ()) if split == "published" else ()
        name = f"{NAMES[case]}, {_split(case, split).removesuffix(' split')}"
        out.append(
            f"| {name} | {n_eta} | {group[0]['n_coarse']} | {_error(group)} | "
            f"{_covered(good) if good else ''} | {quoted[int(n_eta)] if quoted else ''} | "
            f"{best(*LOOK_UPS)} | {best('dns-coarse')} | {best('noise-floor')} |"
        )
    return "\n".join(out)


def with_summary(text: str, table: str) -> str:
    """A page with the table between its two marks.

    Raises:
        ValueError: The marks are not there.
    """
    if not all(mark in text for mark in MARKS):
        raise ValueError(f"README.md: put {MARKS[0].strip()} and {MARKS[1].strip()} back.")
    before, rest = text.split(MARKS[0], 1)
    return before + MARKS[0] + table + MARKS[1] + rest.split(MARKS[1], 1)[1]


def render(rows: Sequence[Row]) -> str:
    """The page."""
    parts = [HEAD]
    for case in NAMES:
        for split in ("published", "hard"):
            own = [r for r in rows if r["case"] == case and r["split"] == split]
            if own:
                parts.append("\n".join(section(case, split, own)))
    return "\n".join(parts).rstrip() + "\n"


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=table.RESULTS)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--readme", type=Path, default=README)
    args = parser.parse_args()
    rows = table.read(args.results)
    readme = with_summary(args.readme.read_text(), summary(rows))
    args.out.write_text(render(rows))
    args.readme.write_text(readme)


if __name__ == "__main__":
    main()
