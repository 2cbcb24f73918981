"""Tables of results as CSV files: rows are appended, one a run, and never changed."""

from __future__ import annotations

import csv
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pyro_msde
from benchmarks.device import name_of

__all__ = [
    "COLUMNS",
    "KEY",
    "RESULTS",
    "append",
    "commit",
    "key_of",
    "provenance",
    "read",
    "say_there",
]

RESULTS = Path(__file__).parent / "results" / "accuracy.csv"
KEY = ("case", "split", "method", "n_eta", "seed")
COLUMNS = (
    *KEY,
    "n_coarse",
    "steps",
    "train_seconds",
    "predict_seconds",
    "device",
    "nrmse_mean",
    "nrmse_sd",
    "coverage_90",
    "crps",
    "coverage_low",
    "coverage_high",
    "diffusion_scale",
    "strayed",
    "status",
    "choice",
    "version",
    "commit",
)


def read(path: Path = RESULTS, columns: Sequence[str] = COLUMNS) -> list[dict[str, str]]:
    """The rows; none if there is no file.

    Raises:
        ValueError: Columns are missing.
    """
    if not path.exists():
        return []
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        missing = [c for c in columns if c not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(
                f"{path}: column(s) {', '.join(missing)} missing. Restore the file, or move it "
                "away to start a new one."
            )
        return list(reader)


def provenance() -> dict[str, str]:
    """Columns that say where, and by which code, a row of this CPU was measured."""
    return {"device": name_of("cpu"), "version": pyro_msde.__version__, "commit": commit()}


def key_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What tells one run from another."""
    return tuple(str(row[name]) for name in KEY)


def append(row: Mapping[str, Any], path: Path = RESULTS, columns: Sequence[str] = COLUMNS) -> None:
    """Add a row, and the head if the file is new.

    Raises:
        ValueError: Columns that the table does not know, or a file with missing ones.
    """
    unknown = set(row) - set(columns)
    if unknown:
        raise ValueError(f"row: the table has no column {', '.join(sorted(unknown))}.")
    read(path, columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        if new:
            writer.writeheader()
        writer.writerow(row)


@cache
def commit() -> str:
    """The commit that is checked out, with a plus where Python files differ from it.

    Raises:
        RuntimeError: This is no checkout, or git is missing.
    """
    asked = (("rev-parse", "--short=7", "HEAD"), ("status", "--porcelain", "--", "*.py"))
    root = Path(__file__).parent.parent
    try:
        head, changed = (
            subprocess.run(
                ["git", *words], cwd=root, capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in asked
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeError(f"{root}: git names no commit. Run benchmarks from a clone.") from error
    return head + "+" * bool(changed)


def say_there(path: Path, *key: Any) -> None:
    """Say why nothing is measured."""
    name = ", ".join(str(k) for k in key if k != "")
    print(f"{name}: is in {path}. Give --results another file to measure it again.", flush=True)
