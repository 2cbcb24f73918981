"""What README says of reliability is what the benchmark found."""

from __future__ import annotations

import csv
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_readme_quotes_the_table():
    with (ROOT / "benchmarks/results/trust.csv").open() as file:
        rows = {row["what"]: row for row in csv.DictReader(file)}
    assert all(row["faults"] == "0" for row in rows.values())
    damaged = rows["damaged, all"]
    assert int(damaged["count"]) >= 3000
    assert int(damaged["refused"]) + int(damaged["forecasts"]) == int(damaged["count"])
    kills = sum(int(row["count"]) for what, row in rows.items() if what.startswith("kills"))
    assert kills >= 20
    text = " ".join((ROOT / "README.md").read_text().split())
    assert f"of {damaged['count']} damaged copies of saved runs" in text
    assert f"`load` refused {damaged['refused']} by name" in text
    assert f"the other {damaged['forecasts']} forecast finite numbers" in text
    assert f"After {kills} kills, at random moments and inside writes" in text
