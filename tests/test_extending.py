"""The short examples of parts of one's own run, and are short."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples" / "extending").glob("*.py"))


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs(script, capsys):
    assert len(script.read_text().splitlines()) < 40
    runpy.run_path(str(script))
    assert capsys.readouterr().out.strip()
