"""How much each point of a field counts in means over it: the area that it stands for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.data import Metadata, in_degrees, in_order, is_latitude, to_numpy

__all__ = ["area_weights"]

Array = NDArray[np.float64]


def area_weights(
    weights: Any, field_shape: tuple[int, ...], ndim: int, metadata: Metadata | None
) -> Array:
    """(*field) weights from what a user passed.

    Args:
        weights: "coslat": the cosine of the latitude; or an array (*space) or (channel, *space); or
            an xarray DataArray along some of the field's axes, by their names and positions.
        field_shape: (*space) or (channel, *space).
        ndim: Axes of space.
        metadata: Names and positions of the field's axes; None: not known.

    Raises:
        ValueError: Something else, no axis of latitudes, or numbers that are negative, not finite,
            or zero everywhere.
    """
    if isinstance(weights, str):
        if weights != "coslat":
            raise ValueError(f"weights={weights!r}: choose 'coslat', an array, or None.")
        return _cosines(field_shape, metadata)
    values = to_numpy(
        in_order("weights", weights, metadata, field_shape, same_units=False), "weights"
    )
    if values.shape not in (field_shape, field_shape[len(field_shape) - ndim :]):
        raise ValueError(
            f"weights: shape {values.shape}; the forecast's fields are {field_shape}. Pass an "
            "array of this shape, or along the axes of space."
        )
    values = values.astype(np.float64)
    if not (np.isfinite(values).all() and (values >= 0).all() and values.any()):
        raise ValueError(
            "weights: some are negative or not finite, or all are zero. Pass areas, zero where "
            "nothing is to count."
        )
    return np.broadcast_to(values, field_shape)


def _cosines(field_shape: tuple[int, ...], metadata: Metadata | None) -> Array:
    """Of the axis of latitudes, broadcast to fields."""
    dims = () if metadata is None else metadata.dims or ()
    axis = next((i for i, d in enumerate(dims) if _is_latitude(d, metadata)), None)
    if metadata is None or axis is None or dims[axis] not in metadata.coords:
        raise ValueError(
            f"weights='coslat': no axis of latitudes is known among {tuple(dims)}. Name the data's "
            "axes, Trajectories(…, dims=('lat', 'lon'), coords={'lat': …}), or pass an array."
        )
    units = metadata.units.get(dims[axis])
    latitude = in_degrees(metadata.coords[dims[axis]], units)
    if len(latitude) != field_shape[axis] or np.abs(latitude).max() > 90:
        raise ValueError(
            f"weights='coslat': coords[{dims[axis]!r}] are {len(latitude)} numbers up to "
            f"{np.abs(latitude).max():g}; the axis has {field_shape[axis]} points, in degrees "
            "unless their units are radians."
        )
    shape = [-1 if i == axis else 1 for i in range(len(field_shape))]
    cosine = np.cos(np.deg2rad(latitude)).clip(min=0.0)
    return np.broadcast_to(cosine.reshape(shape), field_shape)


def _is_latitude(name: str, metadata: Metadata | None) -> bool:
    if metadata is None:
        return False
    return is_latitude(name, metadata.units.get(name), metadata.attrs.get(name))
