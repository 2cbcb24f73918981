"""Fields that never change, such as orography: what drifts are told of them at coarse points.

A coarse point has the mean of a field around it, with a Gaussian's weights one coarse spacing wide,
of the points that there are. Of each field the mean over coarse points is subtracted, and it is
divided by its standard deviation.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_msde.data.arrays import to_numpy
from pyro_msde.data.padding import padded
from pyro_msde.protocols import Places

__all__ = ["packed_static", "static_at_coarse_points"]

_RADIUS = 2  # of the weights, in coarse spacings
_LEAST_SHARE = 1e-6  # of a coarse point's weights on points with a field
_NUMBER = np.dtype("<f4")


def static_at_coarse_points(given: Any, places: Places) -> Tensor:
    """(num_coarse, s) float32 of mean zero and size one, from static fields.

    Args:
        given: (s, *space), or the text that `packed_static` gave.
        places: Fine and coarse points.

    Raises:
        ValueError: Fields of another shape or not finite.
    """
    if isinstance(given, str):
        return _unpacked(given, places.num_coarse)
    fields = to_numpy(given, "static").astype(np.float64)
    if fields.ndim != places.ndim + 1 or fields.shape[1:] != places.data_shape or not len(fields):
        raise ValueError(
            f"static: shape {fields.shape}; the grid has {places.data_shape}. Pass (s, *space), "
            "one or more fields."
        )
    if bad := int((~np.isfinite(fields)).sum()):
        raise ValueError(
            f"static: hold NaN or infinite values, {bad} of {fields.size}. Give a number for each "
            "point, land among them."
        )
    operators = places.operators(places.kernel("gaussian", _RADIUS).double())
    fine = torch.as_tensor(fields)[:, None].expand(-1, places.channels, *places.data_shape)
    both = torch.cat([fine, torch.ones_like(fine[:1])])
    if places.mask is not None:  # on land there may be any number
        both = both.where(torch.tensor(places.mask), 0)
    coarse = places.flatten(operators.restrict(padded(both, places.padding)))[
        :, : places.num_coarse
    ]
    share = coarse[-1]
    known = share > _LEAST_SHARE * share.max()
    means = coarse[:-1] / share.where(known, 1.0)
    overall = (means * known).sum(1, keepdim=True) / known.sum()
    means = means.where(known, overall)
    away = means - means.mean(1, keepdim=True)
    size = away.square().mean(1, keepdim=True).sqrt()
    varies = size > 1e-9 * means.abs().amax(1, keepdim=True)  # else it is rounding
    return (away / size.where(varies, torch.inf)).mT.float()


def packed_static(values: Tensor) -> str:
    """What drifts are told (num_coarse, s), as text for a saved run."""
    return base64.b64encode(values.numpy().astype(_NUMBER).tobytes()).decode("ascii")


def _unpacked(text: str, num_coarse: int) -> Tensor:
    try:
        values = np.frombuffer(base64.b64decode(text, validate=True), _NUMBER)
        if not len(values) or len(values) % num_coarse:
            raise ValueError(f"{len(values)} numbers for {num_coarse} coarse points")
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"static: its text is none of this grid: {error}.") from error
    if not np.isfinite(values).all():
        raise ValueError("static: its text holds NaN or infinite values.")
    return torch.as_tensor(values.astype(np.float32).reshape(num_coarse, -1))
