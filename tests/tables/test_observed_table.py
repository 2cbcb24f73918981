"""The table of observed fields: what is learned from, what is tested on, and its page."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest

from benchmarks import observed, render_observed, table

MOST_LINES = 12  # from file to table, as promised


@pytest.mark.parametrize("name", observed.CASES)
def test_nothing_that_is_forecast_was_trained_or_chosen_on(name):
    """Windows of a part begin later than the part before ends by more than they are long."""
    parts = observed.CASES[name].prepare()
    assert len(parts.train) == 1
    for before, part in pairwise(parts):
        longest = max(t[-1] - t[0] for t in part.times)
        apart = min(t[0] for t in part.times) - max(t[-1] for t in before.times)
        # months and years differ in length by a tenth at most
        assert apart > 0.9 * longest
        assert len({v[0].tobytes() for v in part.values}) == len(part) > 1


@pytest.mark.parametrize("name", observed.CASES)
def test_a_dozen_lines_lead_from_file_to_table(name):
    assert 9 < observed.lines_of(observed.CASES[name].prepare) <= MOST_LINES


def row(forecaster, lead, rmse, reference="channel", **others):
    key = {"set": "sst", "reference": reference, "n_eta": 2, "seed": 0, "steps": 9}
    scores = dict.fromkeys(observed.SCORES, 0.25) | {"rmse": rmse}
    told = {"lead_units": "days", "units": "K", "lines": 11, "device": "one", "commit": "abc1234"}
    seconds = {"train_seconds": 8.5, "compare_seconds": 1.5}
    return {**key, "forecaster": forecaster, "lead": lead, **scores, **told, **seconds, **others}


def test_the_page_has_each_forecaster_once_and_the_least_errors_in_bold(tmp_path, monkeypatch):
    file, page = tmp_path / "observed.csv", tmp_path / "page.md"
    for reference, errors in (("channel", (0.5, 0.7)), ("point", (0.4, 0.8))):
        for lead, error in zip((365, 730), errors, strict=True):
            table.append(row("fit", lead, error, reference), file, observed.COLUMNS)
            table.append(row("persistence", lead, 0.6, reference), file, observed.COLUMNS)
    monkeypatch.setattr(sys, "argv", ["", "--results", str(file), "--out", str(page)])
    render_observed.main()
    lines = page.read_text().splitlines()
    assert "| forecast | 365 | 730 | skill | coverage | CRPS | training s | compare s |" in lines
    assert [line for line in lines if line.startswith(("| this", "| pers"))] == [
        "| this library, n_η = 2, reference channel | 0.5 | 0.7 | 0.25, 0.25 | 0.25, 0.25 | "
        "0.25, 0.25 | 8.5 | 1.5 |",
        "| this library, n_η = 2, reference point | **0.4** | 0.8 | 0.25, 0.25 | 0.25, 0.25 | "
        "0.25, 0.25 | 8.5 | 1.5 |",
        "| persistence | 0.6 | **0.6** | 0.25, 0.25 | 0.25, 0.25 | 0.25, 0.25 |  |  |",
    ]
    assert "11 lines of code from file to table, among them these:" in lines
