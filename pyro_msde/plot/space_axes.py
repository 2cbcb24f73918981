"""Axes of space on a page: which one is horizontal, which way it points, how long its units are.

Names, units and attributes are those of CF 1.11, §4: longitudes and x run across, latitudes and y
up, heights, pressures and depths up or down.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyro_msde.data import EAST, NORTH, in_degrees, is_latitude, is_longitude
from pyro_msde.plot.style import label

__all__ = ["Axis", "aspect", "lies_across"]

Array = NDArray[Any]

_PRESSURE = {"Pa", "hPa", "kPa", "mb", "mbar", "millibar", "millibars", "bar", "dbar"}
_SIGNS = dict.fromkeys(EAST, "°E") | dict.fromkeys(NORTH, "°N")
_SIGNS |= dict.fromkeys(("degree", "degrees"), "°")
_NAMES = (
    {"x", "lon", "longitude", "easting", "rlon"},
    {"y", "lat", "latitude", "northing", "rlat"},
    {"z", "height", "altitude", "depth", "level", "lev", "plev", "pressure"},
)
_ELONGATED = 24.0  # times as long as wide, beyond which a map as wide as a page would be a line


class Axis(NamedTuple):
    """An axis of space, or of time.

    `attrs` are CF's attributes; `dated` says that x are dates, in days since 1970.
    """

    name: str
    x: Array
    units: str | None
    attrs: Mapping[str, str] = MappingProxyType({})
    dated: bool = False

    @property
    def label(self) -> str:
        """Name and units; nothing for dates, which speak for themselves."""
        return "" if self.dated else label(self.name, self.short_units)

    @property
    def short_units(self) -> str | None:
        """Units, with degrees as signs."""
        return None if self.units is None else _SIGNS.get(self.units.lower(), self.units)

    @property
    def rank(self) -> int | None:
        """0 for longitude and x, 1 for latitude and y, 2 for what is vertical; None: not known."""
        if self.attrs.get("axis") in ("X", "Y", "Z"):
            return "XYZ".index(self.attrs["axis"])
        if self.is_longitude:
            return 0
        if self.is_latitude:
            return 1
        if self.units in _PRESSURE or "positive" in self.attrs:
            return 2
        known = {self.name.lower(), self.attrs.get("standard_name", "")}
        return next((rank for rank, names in enumerate(_NAMES) if known & names), None)

    @property
    def points_down(self) -> bool:
        """Whether larger values are lower: depths and pressures."""
        if "positive" in self.attrs:
            return self.attrs["positive"] == "down"
        return self.units in _PRESSURE or self.name.lower() == "depth"

    @property
    def sides(self) -> str:
        """Letters of degrees above and below zero, "EW" or "NS"; none on other axes."""
        if self.units not in {None, "", *_SIGNS}:
            return ""
        return "EW" if self.is_longitude else "NS" if self.is_latitude else ""

    @property
    def is_longitude(self) -> bool:
        """By its units or names."""
        return is_longitude(self.name, self.units, self.attrs)

    @property
    def is_latitude(self) -> bool:
        """By its units or names."""
        return is_latitude(self.name, self.units, self.attrs)


def lies_across(first: Axis, second: Axis) -> bool:
    """Whether the first of two axes is the horizontal one; it is where neither is known."""
    ranks = [0.5 if axis.rank is None else axis.rank for axis in (first, second)]
    return ranks[0] <= ranks[1]


def aspect(across: Axis, up: Axis) -> float | None:
    """Length on the page of a unit up, over that of one across.

    1/cos of the middle latitude on maps, 1 for equal units. None: any will do, as of axes of other
    quantities, or where one is so much longer that the picture would be a line.
    """
    ratio = 1.0
    if across.is_longitude and up.is_latitude:
        latitude = in_degrees(up.x, up.units)
        middle = 0.5 * (float(latitude.min()) + float(latitude.max()))
        ratio = 1.0 / max(float(np.cos(np.deg2rad(middle))), 0.1)
    elif across.short_units != up.short_units:
        return None
    length, height = float(np.ptp(across.x)), ratio * float(np.ptp(up.x))
    fits = height < _ELONGATED * length and length < _ELONGATED * height
    return ratio if fits else None
