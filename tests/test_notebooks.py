"""The notebook and its script are a pair, run when reduced, and are kept with what they show."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
PAIRS = [p.with_suffix("") for p in sorted(EXAMPLES.glob("*.ipynb"))]

pytestmark = pytest.mark.parametrize("pair", PAIRS, ids=lambda p: p.name)


def cells_of_script(text: str) -> list[tuple[str, str]]:
    """Kinds and sources of the cells of a script in jupytext's percent format."""
    cells = []
    for part in text.split("\n# %%")[1:]:
        head, _, source = part.partition("\n")
        if "[markdown]" in head:
            cells.append(
                ("markdown", source.strip().removeprefix('"""').removesuffix('"""').strip())
            )
        else:
            cells.append(("code", source.strip()))
    return cells


def notebook(pair: Path) -> dict:
    return json.loads(pair.with_suffix(".ipynb").read_text(encoding="utf-8"))


def test_notebook_and_script_hold_the_same_cells(pair):
    cells = [(c["cell_type"], "".join(c["source"]).strip()) for c in notebook(pair)["cells"]]
    assert cells == cells_of_script(pair.with_suffix(".py").read_text(encoding="utf-8"))


def test_the_notebook_was_run_from_top_to_bottom_and_is_small(pair):
    code = [c for c in notebook(pair)["cells"] if c["cell_type"] == "code"]
    assert [c["execution_count"] for c in code] == list(range(1, len(code) + 1))
    outputs = [o for c in code for o in c["outputs"]]
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= 5
    assert pair.with_suffix(".ipynb").stat().st_size < 2**20


@pytest.mark.slow
def test_the_script_runs_when_reduced(pair):
    run = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", str(pair.with_suffix(".py"))],
        cwd=EXAMPLES,
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "MSDE_QUICK": "1", "MPLBACKEND": "agg"},
    )
    assert run.returncode == 0, run.stderr
    assert "sensitivity" in run.stdout
