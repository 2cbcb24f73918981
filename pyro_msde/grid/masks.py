"""Masks of points without a field, such as land or a solid body, and their form in saved runs."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["mask_of", "packed_mask"]


def mask_of(given: Any, field_shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """(channel, *space) bool from what a user passed or `packed_mask` gave; None: no gaps.

    Raises:
        ValueError: It is of another shape or type, or leaves a channel without a point.
    """
    if given is None:
        return None
    if isinstance(given, str):
        mask = _unpacked(given, field_shape)
    else:
        mask = np.asarray(given)
        if mask.dtype != bool:
            raise ValueError(f"mask: dtype {mask.dtype}. Pass bool, True where there is a field.")
        if mask.shape not in (field_shape, field_shape[1:]):
            raise ValueError(
                f"mask: shape {mask.shape}. Pass (*space) = {field_shape[1:]} or "
                f"(channel, *space) = {field_shape}."
            )
        mask = np.array(np.broadcast_to(mask, field_shape))
    if not mask.reshape(len(mask), -1).any(1).all():
        raise ValueError("mask: a channel without a point. Pass True where there is a field.")
    mask.flags.writeable = False
    return None if mask.all() else mask


def packed_mask(mask: NDArray[np.bool_]) -> str:
    """A mask's bits as text, eight points a byte."""
    return base64.b64encode(np.packbits(mask).tobytes()).decode("ascii")


def _unpacked(text: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    try:
        bits = np.frombuffer(base64.b64decode(text, validate=True), np.uint8)
        size = int(np.prod(shape))
        if len(bits) != -(-size // 8):
            raise ValueError(f"{len(bits)} bytes for {size} points")
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"mask: its text is no mask of {shape}: {error}.") from error
    return np.unpackbits(bits, count=size).astype(bool).reshape(shape)
