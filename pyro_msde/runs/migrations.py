"""Descriptions of runs that earlier versions saved, step by step into today's form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["FORMAT", "MIGRATIONS", "migrated"]

FORMAT = 4


def _to_3(run: dict[str, Any]) -> dict[str, Any]:
    """One file of weights, of which nothing was written down; fields that came later are absent."""
    files = {"weights": {"name": "weights.safetensors", "size": None, "sha256": None}}
    return {**run, "format": 3, "files": files}


def _to_4(run: dict[str, Any]) -> dict[str, Any]:
    """The diffusion is learned by the ELBO only."""
    for owner in (run, run.get("identity")):
        if isinstance(owner, dict) and isinstance(owner.get("recipe"), dict):
            owner["recipe"].pop("score_every", None)
    return {**run, "format": 4}


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {  # from: how
    2: _to_3,
    3: _to_4,
}


def migrated(run: dict[str, Any]) -> dict[str, Any]:
    """A description of today's format, from one of any format that is known.

    Raises:
        ValueError: No format, or one that is not known.
    """
    number = run.get("format")
    if type(number) is not int:
        raise ValueError(f"format: {number!r} is no whole number")
    if number > FORMAT:
        raise ValueError(
            f"format {number} is newer than {FORMAT}, the newest known here: update pyro_msde"
        )
    while number != FORMAT:
        if number not in MIGRATIONS:
            raise ValueError(f"format {number} is too old: known are {sorted(MIGRATIONS)}")
        run = MIGRATIONS[number](run)
        number = run["format"]
    return run
