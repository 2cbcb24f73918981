"""The examples run: a few steps each, from an empty folder."""

from __future__ import annotations

import csv
import importlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"

RUNS = {
    "kdv_demo.py": ("forecast.png", "metrics.json", "run.json", "test.nc"),
    "burgers.py": ("forecast.png", "run.json", "weights-*.safetensors"),
    "gle.py": ("innovations.json", "innovations.png"),
    "ks.py": ("run.json", "statistics.png"),
    "swap_guides.py": ("run.json",),
}


@pytest.mark.slow
@pytest.mark.parametrize("script", list(RUNS))
def test_example_runs(script, monkeypatch, tmp_path):
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / script), "--out", "here", "--steps", "4"],
        cwd=tmp_path, capture_output=True, text=True, timeout=1800,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()
    for name in RUNS[script]:
        assert list((tmp_path / "here").rglob(name)), name
    if script == "swap_guides.py":
        with (tmp_path / "benchmarks" / "results" / "swap.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        monkeypatch.syspath_prepend(str(EXAMPLES))
        assert len(rows) == len(importlib.import_module("swap_guides").SWAPS)
        assert all(value for row in rows for value in row.values())
        assert {r["path_guide"] for r in rows} >= {"diagonal", "block", "full", "unamortized"}


@pytest.mark.parametrize(("row", "steps"), [({}, 16_000), ({"steps": 4}, 4)])
def test_a_row_of_kdv_trains_for_its_own_steps_or_the_full_run(row, steps, monkeypatch, tmp_path):
    """What `make demo` calls; the examples themselves run in the slow tests."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    kdv, asked = importlib.import_module("kdv"), []

    def fit(*_, **options):
        asked.append(options["steps"])
        found = SimpleNamespace(save=lambda _: None)
        found.calibrated = lambda _: found
        return found

    monkeypatch.setattr(kdv.pyro_msde, "fit", fit)
    data = SimpleNamespace(train=None, validation=None)
    kdv.train(kdv.Row("any", "published", {"n_eta": 0}, row), data, tmp_path, seed=0)
    assert asked == [steps]
