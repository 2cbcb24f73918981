"""Random segments for a model, and the exception that all checks raise."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from pyro_msde.data import SegmentBatch, Segments, num_controls_of, num_covariates_of
from pyro_msde.isolation import place_of
from pyro_msde.protocols import Model

__all__ = ["random_batch", "require"]

_SEGMENTS, _TIMES = 3, 7


def random_batch(model: Model, seed: int = 0) -> SegmentBatch:
    """Segments of random fields in scaled units, of a model's size, dtype and number of parameters.

    Args:
        model: The generative model.
        seed: Of the fields.
    """
    dtype, device = place_of(model)
    generator = torch.Generator().manual_seed(seed)
    shape = (_TIMES, *model.grid.field_shape)
    fields = [torch.randn(shape, generator=generator).to(dtype) for _ in range(_SEGMENTS)]
    count = num_covariates_of(model)
    covariates = torch.randn(_SEGMENTS, count, generator=generator).to(dtype) if count else None
    shape = (_TIMES, num_controls_of(model))
    controls = [torch.randn(shape, generator=generator).to(dtype) for _ in range(_SEGMENTS)]
    clock = torch.linspace(0, 0.3, _TIMES, dtype=torch.float64)
    segments = Segments(
        [clock] * _SEGMENTS,
        fields,
        covariates=covariates,
        controls=controls if shape[1] else None,
        length=_TIMES,
    )
    return segments.draw(_SEGMENTS, np.random.default_rng(seed)).to(device)


def require(holds: Any, message: str) -> None:
    """Raise an AssertionError, of optimised code too, unless a condition holds."""
    if not bool(holds):
        raise AssertionError(message)
