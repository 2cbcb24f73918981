"""Descriptions of runs that earlier versions saved, step by step into today's form."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = ["FORMAT", "MIGRATIONS", "migrated", "with_jackknife"]

FORMAT = 6


def _to_3(run: dict[str, Any]) -> dict[str, Any]:
    """One file of weights, of which nothing was written down; fields that came later are absent."""
    files = {"weights": {"name": "weights.safetensors", "size": None, "sha256": None}}
    return {**run, "format": 3, "files": files}


def _to_4(run: dict[str, Any]) -> dict[str, Any]:
    """What changes forecasts is a list; arguments and fields of the recipe have other names.

    The diffusion is learned by the ELBO only.
    """
    case = run["model"].get("case") if isinstance(run.get("model"), dict) else None
    names = {k: v for k, v in _NAMES_OF_4.items() if case in _CASES or k not in _OF_FACTORIES}
    scored = _score_every(run.get("identity"))
    run = _with_names_of_4(run, names)
    if "identity" in run:
        run["identity"] = _with_names_of_4(run["identity"], names)
        if scored is not None:  # with which no run goes on today
            run["identity"]["recipe"]["score_every"] = scored
    region, calibration = (run.pop(name, None) for name in ("region", "calibration"))
    scale = run.pop("diffusion_scale", 1.0)
    if calibration is not None or scale != 1:
        calibration = {**_object("calibration", calibration or {}), "scale": scale}
    known = {"region": region, "calibration": calibration}
    adjustments = [
        {"name": name, **_object(name, saved)} for name, saved in known.items() if saved is not None
    ]
    return {**run, "adjustments": adjustments, "format": 4}


def _to_5(run: dict[str, Any]) -> dict[str, Any]:
    """Nothing was subtracted from fields, and no values were missing: that is the default."""
    return {**run, "format": 5}


def _to_6(run: dict[str, Any]) -> dict[str, Any]:
    """No tensor was in half precision, which is for what is not trained: each is as it was."""
    return {**run, "format": 6}


_OF_MODELS: dict[str, str] = {"num_parameters": "num_covariates", "recipe": "architecture"}
_NAMES_OF_4: dict[str, Mapping[str, str | None]] = {
    "scaling": {"parameters": "covariates"},
    "metadata": {"parameters": "covariates"},
    "model": _OF_MODELS,
    "options": {f"model.{old}": f"model.{new}" for old, new in _OF_MODELS.items()},
    "recipe": {"windows": "segment_starts", "spread": "tube_width", "score_every": None},
}  # None: gone


_OF_FACTORIES = ("model", "options")
_CASES = ("multiscale", "kdv", "ks", "burgers1d", "burgers2d", "gle")  # those of the package


def _score_every(identity: Any) -> Any:
    recipe = identity.get("recipe") if isinstance(identity, dict) else None
    return recipe.get("score_every") if isinstance(recipe, dict) else None


def _with_names_of_4(saved: Any, names: Mapping[str, Mapping[str, str | None]]) -> Any:
    """A run or an identity whose parts have today's names of their fields."""
    if not isinstance(saved, dict):
        return saved
    return {part: _renamed(own, names.get(part, {})) for part, own in saved.items()}


def _renamed(saved: Any, names: Mapping[str, str | None]) -> Any:
    if not isinstance(saved, dict):
        return saved
    new = {key: names.get(key, key) for key in saved}
    return {new[key]: value for key, value in saved.items() if new[key] is not None}


def _object(name: str, saved: Any) -> dict[str, Any]:
    if not isinstance(saved, dict):
        raise ValueError(f"{name}: {saved!r} is no object")
    return {key: value for key, value in saved.items() if value is not None}


def with_jackknife(run: dict[str, Any], names: Iterable[str]) -> dict[str, str]:
    """Today's names of a run's tensors; till format 4 only these told of a jackknife.

    Args:
        run: Its description, to which the jackknife is added if there is one.
        names: Of its tensors.
    """
    new = {name: re.sub("^uncertainty", "adjustments.jackknife", name) for name in names}
    if any(old != name for old, name in new.items()):
        run["adjustments"] = [{"name": "jackknife"}, *run.get("adjustments", ())]
    return new


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {  # from: how
    2: _to_3,
    3: _to_4,
    4: _to_5,
    5: _to_6,
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
