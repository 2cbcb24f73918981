"""JSON that says all of a number, and says so when it is not what was written.

Python writes infinity and NaN as words that are no JSON, reads a key twice without a word, and
takes 1e999 for infinity. Here a number that is not finite is {"float": "inf"}, and the rest is
refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np

__all__ = ["digest_of", "from_json", "json_text", "packed"]

_WORDS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
_TAG = "float"


def json_text(value: Any) -> str:
    """ASCII, one item a line; `value` is `packed`."""
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def from_json(data: bytes, *, unpack: bool = True) -> Any:
    """What `json_text` wrote.

    Args:
        data: The file's bytes.
        unpack: Give numbers that are not finite as such; otherwise packed, as they were written.

    Raises:
        ValueError: Not JSON in UTF-8, a key twice, a word for a number that is none, or nested too
            deeply.
    """
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_unpacked if unpack else _once)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def digest_of(value: Any) -> str:
    """SHA-256 of the canonical text of packed JSON.

    Raises:
        ValueError: It holds a number that is not finite.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256(text.encode("ascii")).hexdigest()


def packed(value: Any, place: str) -> Any:
    """Plain lists, objects, strings and finite numbers.

    Args:
        value: Of these, tuples, and numpy's scalars; floats may be infinite or NaN.
        place: How to call it in the message.

    Raises:
        TypeError: Anything else, by its place.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {_TAG: str(value)}
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        wrong = next((k for k in value if not isinstance(k, str)), None)
        if wrong is not None or set(value) == {_TAG}:
            wrong = _TAG if wrong is None else wrong
            raise TypeError(f"{place}: the key {wrong!r} cannot be kept.")
        return {k: packed(v, f"{place}.{k}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [packed(v, f"{place}[{i}]") for i, v in enumerate(value)]
    raise TypeError(f"{place}: holds a {type(value).__name__}, which JSON does not.")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return value


def _unpacked(pairs: list[tuple[str, Any]]) -> Any:
    value = _once(pairs)
    if set(value) != {_TAG}:
        return value
    word = value[_TAG]
    if not isinstance(word, str) or word not in _WORDS:
        raise ValueError(f"{word!r} is no number")
    return _WORDS[word]
