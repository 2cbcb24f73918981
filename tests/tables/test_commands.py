"""Commands that the documents quote, and the commit that tables name."""

from __future__ import annotations

import re
import subprocess
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks import calibration, table
from benchmarks.studies import remedies

ROOT = Path(__file__).parents[2]
PAGES = [
    *ROOT.glob("docs/*.md"),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *ROOT.glob("benchmarks/**/*.md"),
]
MODULES = sorted(ROOT.glob("benchmarks/**/*.py"))
QUOTED = re.compile(r"python\s+-m\s+(benchmarks[\w.]*)|(benchmarks/[\w/]+\.\w+|examples/\w+\.\w+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_files_that_a_page_quotes_exist(page):
    for module, file in QUOTED.findall(page.read_text()):
        assert (find_spec(module) is not None) if module else (ROOT / file).exists(), module or file


@pytest.mark.parametrize("file", MODULES, ids=lambda file: file.stem)
def test_every_benchmark_finds_what_it_is_made_of(file):
    import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))


@pytest.mark.parametrize(
    ("path", "columns"),
    [
        (table.RESULTS, table.COLUMNS),
        (calibration.RESULTS, calibration.COLUMNS),
        (remedies.RESULTS, calibration.COLUMNS),
    ],
    ids=lambda value: value.stem if isinstance(value, Path) else "",
)
def test_every_row_names_a_commit(path, columns):
    commits = {row["commit"] for row in table.read(path, columns)}
    assert all(re.fullmatch(r"[0-9a-f]{7,}\+?", commit) for commit in commits)


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A clone of one commit, in the place of this one; a function that runs git in it."""

    def git(*words):
        name = ("-c", "user.name=n", "-c", "user.email=e")
        run = subprocess.run(
            ["git", *name, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return run.stdout.strip()

    git("init")
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "table.py").touch()
    git("add", ".")
    git("commit", "-m", "one")
    monkeypatch.setattr(table, "__file__", str(tmp_path / "benchmarks" / "table.py"))
    table.commit.cache_clear()
    yield git
    table.commit.cache_clear()


def test_the_commit_has_a_plus_where_code_differs_from_it(checkout, tmp_path):
    head = checkout("rev-parse", "--short=7", "HEAD")
    (tmp_path / "benchmarks" / "results.csv").write_text("a row more")
    assert table.commit() == head
    table.commit.cache_clear()
    (tmp_path / "benchmarks" / "table.py").write_text("changed")
    assert table.commit() == f"{head}+"


def test_without_git_no_row_is_written(checkout, tmp_path):
    (tmp_path / ".git").rename(tmp_path / "gone")
    with pytest.raises(RuntimeError, match="Run benchmarks from a clone"):
        table.commit()


FILES = re.compile(
    r"`((?:pyro_msde|models|guides|benchmarks|examples|tests|docs)/[\w./]*)`|`((?!utils)\w+\.py)`"
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_exist(page):
    """A name without a folder is of a file beside the one named before it."""
    folder = ROOT
    for path, beside in FILES.findall(page.read_text()):
        file = ROOT / path if path else folder / beside
        folder = file.parent
        assert file.exists(), path or beside
