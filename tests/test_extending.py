"""Examples of parts of one's own: as they stand, but for fewer steps of training."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

import pyro_msde
from pyro_msde.inference import weak_form_start

FOLDER = Path(__file__).parent.parent / "examples" / "extending"
MOST_LINES = 40  # under so many that are not empty


@pytest.mark.parametrize("script", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_runs_and_is_short(script, monkeypatch, capsys):
    fit = pyro_msde.fit

    def short(*args, **options):
        return fit(*args, **{**options, "steps": 3})

    monkeypatch.setattr(pyro_msde, "fit", short)
    monkeypatch.setattr(weak_form_start, "_CHECKED", 2)  # a drift's start looks at fewer, too
    runpy.run_path(str(script))
    assert len(capsys.readouterr().out.strip().splitlines()) == 1
    lines = script.read_text(encoding="utf-8").splitlines()
    assert sum(bool(line) for line in lines) < MOST_LINES
