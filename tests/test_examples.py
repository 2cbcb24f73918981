"""The examples run: a few steps each, from an empty folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"

RUNS = {
    "kdv_demo.py": ("forecast.png", "metrics.json", "run.json", "test.nc"),
    "burgers.py": ("forecast.png", "run.json", "weights.safetensors"),
    "gle.py": ("innovations.json", "innovations.png"),
    "ks.py": ("run.json", "statistics.png"),
}


@pytest.mark.slow
@pytest.mark.parametrize("script", list(RUNS))
def test_example_runs(script, tmp_path):
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / script), "--out", "here", "--steps", "4"],
        cwd=tmp_path, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()
    for name in RUNS[script]:
        assert list((tmp_path / "here").rglob(name)), name
