"""The examples of parts of one's own run, are short, and end with a line of result."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXTENDING = Path(__file__).parent.parent / "examples" / "extending"


@pytest.mark.parametrize("script", sorted(path.name for path in EXTENDING.glob("*.py")))
def test_example_of_a_part_of_your_own(script, capsys):
    path = EXTENDING / script
    assert len(path.read_text(encoding="utf-8").splitlines()) < 40
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out.strip()
