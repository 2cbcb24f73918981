"""Which axes are latitudes or longitudes, by CF 1.11, §4: units, standard names, or names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["EAST", "NORTH", "in_degrees", "is_latitude", "is_longitude"]

EAST, NORTH = (
    {f"degree{s}{end}" for s in ("", "s") for end in ends}
    for ends in (("_east", "_e", "east", "e"), ("_north", "_n", "north", "n"))
)  # in small letters
_RADIANS = {"radian", "radians", "rad"}
_ANGLES = {"", "1", "°", "deg", "degree", "degrees", *_RADIANS}
_LATITUDES = {"lat", "lats", "latitude", "latitudes"}
_LONGITUDES = {"lon", "lons", "long", "longitude", "longitudes"}


def is_latitude(name: str, units: str | None, attrs: Mapping[str, Any] | None) -> bool:
    """Whether an axis with this name, these units and CF's attributes is of latitudes."""
    return _is(name, units, attrs, NORTH, "latitude", _LATITUDES)


def is_longitude(name: str, units: str | None, attrs: Mapping[str, Any] | None) -> bool:
    """Whether an axis with this name, these units and CF's attributes is of longitudes."""
    return _is(name, units, attrs, EAST, "longitude", _LONGITUDES)


def in_degrees(x: ArrayLike, units: str | None) -> NDArray[np.float64]:
    """Latitudes or longitudes in degrees, from radians if their units say so."""
    values = np.asarray(x, dtype=np.float64)
    return np.rad2deg(values) if _small(units) in _RADIANS else values


def _is(
    name: str,
    units: str | None,
    attrs: Mapping[str, Any] | None,
    of_axis: set[str],
    standard_name: str,
    names: set[str],
) -> bool:
    known = _small(units)
    if known in of_axis or (attrs or {}).get("standard_name") == standard_name:
        return True
    # of others, as an axis "lat" in km, the name says nothing
    return known in _ANGLES and not names.isdisjoint(re.split("[^a-z]+", name.lower()))


def _small(units: str | None) -> str:
    return "" if units is None else units.strip().lower()
