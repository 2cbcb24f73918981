"""What run.json may say: fields, types and ranges, checked before anything is made of them.

A field that comes later has a default, which stands for runs that were saved without it.
"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from pyro_msde.runs.history import History
from pyro_msde.runs.recipes import Recipe

__all__ = ["Description", "checked", "converted", "read_history"]

T = TypeVar("T")

_LARGEST = 1e150  # whose square is finite too
_Scale = Annotated[float, Meta(ge=1 / _LARGEST, le=_LARGEST)]
_Count = Annotated[int, Meta(ge=0, le=2**53)]
_Name = Annotated[str, Meta(max_length=1000)]
_Config = dict[_Name, Any]


class _Link(Struct, forbid_unknown_fields=True):
    offsets: tuple[Annotated[float, Meta(ge=0, le=_LARGEST)] | None, ...]
    channels: tuple[_Scale, ...]


class _Scaling(Struct, forbid_unknown_fields=True):
    channels: Annotated[tuple[_Scale, ...], Meta(min_length=1)]
    time: _Scale
    covariates: tuple[_Scale, ...] = ()
    controls: tuple[tuple[float, _Scale], ...] = ()  # mean and standard deviation of each
    period: _Scale | None = None  # of the reference, whose coefficients are a tensor
    link: _Link | None = None


class _History(Struct, forbid_unknown_fields=True):
    steps: list[_Count]
    terms: dict[_Name, list[float]]
    validation_steps: list[_Count]
    validation: list[float]  # which may be infinite, of forecasts that blow up
    variance_gaps: dict[_Name, float] = {}
    kept: Annotated[int, Meta(ge=0)] | None = None


class _Identity(Struct, forbid_unknown_fields=True):
    """Of a run that can be resumed; digests of what is long (`pyro_msde.interface.resuming`)."""

    seed: Annotated[int, Meta(ge=0)]
    steps: _Count
    validate_every: _Count
    recipe: _Config
    options: _Config
    model: _Name
    data: _Name
    validation: _Name | None


class Description(Struct, forbid_unknown_fields=True):
    """What is kept of a `Fit` beside its tensors; see there."""

    model: _Config | None
    guide: _Config | None
    random_parts: bool
    scaling: _Scaling
    steps: _Count
    seconds: Annotated[float, Meta(ge=0, le=_LARGEST)]
    interrupted: bool
    has_channel: bool
    adjustments: list[dict[_Name, Any]]  # each is checked by its own `from_dict`
    dtype: Literal["float32", "float64"]
    history: _History
    segment: tuple[Annotated[int, Meta(ge=2, le=2**53)], _Scale] | None = None
    recipe: Recipe | None = None
    metadata: dict[_Name, Any] | None = None  # checked by `Metadata.from_json`
    identity: _Identity | None = None
    priors: dict[_Name, str] | None = None
    structure: dict[_Name, _Name] | None = None  # class names of the networks, by owner and name


def converted(value: Any, kind: type[T], name: str = "") -> T:
    """What was read from JSON as an object of a class, with every field checked.

    Args:
        value: Plain lists, objects and numbers.
        kind: The class.
        name: By which messages call the value.

    Raises:
        ValueError: A field that is missing, not known, of another type or out of its range.
    """
    try:
        return msgspec.convert(value, kind, strict=True)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at `$")
        raise ValueError(f"{(name + place).strip('.`') or 'it'}: {what}") from None


def read_history(saved: Any) -> History:
    """A history that was saved.

    Raises:
        ValueError: It is none.
    """
    history = converted(saved, _History, "history")
    _check_history(history)
    return History(**msgspec.structs.asdict(history))


def _check_history(history: _History) -> None:
    lengths = {len(history.steps), *map(len, history.terms.values())}
    if len(lengths) > 1 or len(history.validation_steps) != len(history.validation):
        raise ValueError("history: lists of different lengths")
    if history.kept is not None and history.kept >= len(history.validation):
        raise ValueError(f"history.kept: {history.kept} of {len(history.validation)} validations")


def checked(run: dict[str, Any]) -> Description:
    """The description of a saved run, with every field checked.

    Raises:
        ValueError: A field that is missing, not known, of another type or out of its range.
    """
    description = converted(run, Description)
    names = {field.name for field in fields(Recipe)}
    if unknown := sorted(set(run.get("recipe") or ()) - names):
        raise ValueError(f"recipe: it has no field {unknown[0]!r}")
    _check_history(description.history)
    if not all(isinstance(saved.get("name"), str) for saved in description.adjustments):
        raise ValueError("adjustments: one without a name")
    for name in ("model", "guide"):
        _check_config(name, getattr(description, name))
    return description


def _check_config(place: str, value: Any) -> None:
    """Numbers of a kind that factories can be called with."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for name, inner in pairs:
            _check_config(f"{place}.{name}", inner)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{place}: {value} is not finite")
    elif isinstance(value, int) and abs(value) >= 2**64:
        raise ValueError(f"{place}: a whole number of more than 64 bits")
