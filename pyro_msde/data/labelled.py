"""Labelled arrays beside data, brought into the order of the data's axes and positions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from pyro_msde.data.arrays import as_array
from pyro_msde.data.metadata import Metadata
from pyro_msde.data.positions import places_of

__all__ = ["in_order"]


def in_order(
    argument: str,
    given: Any,
    metadata: Metadata | None,
    shape: tuple[int, ...],
    *,
    lead: Mapping[str, Any] | None = None,
    same_units: bool = True,
) -> Any:
    """An xarray DataArray as an array in the order of fields; anything else as it is.

    Axes are found by name: they may lie in any order, and the array is constant along those that it
    lacks. Where both sides have positions along an axis, they are found by these, so that it may
    run the other way and hold more. Other axes of length one are dropped. An array without names,
    or beside data without, is taken by position.

    Args:
        argument: What errors call it.
        given: The array, or whatever was passed.
        metadata: Of the data; None: not known.
        shape: (*lead, *field) of what is returned.
        lead: Positions along axes before the field's, None where there are none.
        same_units: Whether its values are of the field, unlike weights or masks.

    Raises:
        ValueError: Units, axes or lengths other than the data's; positions of the data that the
            array lacks, or has twice.
    """
    if not isinstance(given, xr.DataArray) or metadata is None:
        return given
    own = Metadata.of_array(given, given.ndim)
    _check_units(argument, own, metadata, same_units)
    if metadata.dims is None or own.dims is None or not given.dims:
        return given
    array = given.rename({d: str(d) for d in given.dims})
    dims = (*(lead or {}), *metadata.dims)
    array = array.squeeze([d for d in array.dims if d not in dims and array.sizes[d] == 1])
    if not set(array.dims) <= set(dims):
        raise ValueError(
            f"{argument}: axes {array.dims}, but the data's are {metadata.dims}. Rename, select or "
            "average them; or pass an array without names, .values."
        )
    known = {**_positions(metadata), **(lead or {})}
    for d, size in zip(dims, shape, strict=True):
        if d not in array.dims:
            continue
        ours, theirs = known.get(d), own.coords.get(d)
        if ours is not None and theirs is not None:
            array = array.isel({d: places_of(argument, d, np.asarray(ours), np.asarray(theirs))})
        if array.sizes[d] not in (1, size):
            raise ValueError(
                f"{argument}: {array.sizes[d]} points along {d!r}, where the data have {size}. "
                "Select or interpolate those of the data."
            )
    array = array.transpose(*(d for d in dims if d in array.dims))
    values = as_array(array, argument).reshape([array.sizes.get(d, 1) for d in dims])
    return np.broadcast_to(values, shape)


def _check_units(argument: str, own: Metadata, metadata: Metadata, same: bool) -> None:
    """Of positions, and of values if these are the field's, where both sides give them."""
    pairs = [(d, d) for d in own.dims or ()]
    pairs += [("", name) for name in (metadata.name, *metadata.channels) if same]
    for theirs, ours in pairs:
        a, b = metadata.units.get(ours), own.units.get(theirs)
        if a and b and a.strip() != b.strip():
            raise ValueError(
                f"{argument}: {theirs or 'values'} in {b!r}, but the data have {ours} in {a!r}. "
                "Convert one of both."
            )


def _positions(metadata: Metadata) -> dict[str, Any]:
    """By name of axis; of an axis of channels their names."""
    known: dict[str, Any] = dict(metadata.coords)
    if metadata.channels and metadata.dims:
        known[metadata.dims[0]] = metadata.channels
    return known
