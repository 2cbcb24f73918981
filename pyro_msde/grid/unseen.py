"""What share of the variance of fields and states is left where little was observed.

A point that lies w deep within a gap (`pyro_msde.grid.filling`) keeps the share
u = (1 + a) w²/(w² + a) of its variance: what is filled in errs by a few w while gaps are narrow,
and far within them by as much as the field varies. A macroscale state keeps the mean of u around
its coarse point, with the weights κ² of a Lanczos kernel, which are positive. Points where there is
no field do not count; a state that hardly sees any others keeps all of its variance. Microscale
states are functions of the small part of the field that the coarse grid leaves over: they keep
(1 + f) m/(m + f), with m the mean of u over all points.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyro_msde.data import padded
from pyro_msde.grid.kernels import lanczos_kernel
from pyro_msde.grid.operators import ScaleOperators

if TYPE_CHECKING:
    from pyro_msde.grid.graphs import SensorGraph
    from pyro_msde.grid.grids import Grid

__all__ = ["averaging", "share_left", "share_left_of_states"]

_HALF = 0.1  # a; `benchmarks.studies.filling` compares errors with what this expects
_FINE = 0.03  # f, likewise
_RADIUS = 2  # of the kernel, in coarse spacings
_LEAST = 0.05  # of its weight that has to lie on points where there is a field


def share_left(depth: Tensor) -> Tensor:
    """Share u in [0, 1] from w in [0, 1], shaped alike; 1 where w is."""
    square = depth.square()
    return square / (square + _HALF) * (1 + _HALF)


def share_left_of_states(
    places: Grid | SensorGraph, share: Tensor, mean: Callable[[Tensor], Tensor]
) -> Tensor:
    """Share of each macroscale state and, last, of microscale states, (..., num_zeta + 1).

    Args:
        places: Grid or graph.
        share: u of each point, (..., channel, *space).
        mean: Weighted means (..., channel, *coarse) of points around each coarse point.
    """
    exists = torch.ones(places.channels, *places.data_shape, dtype=torch.bool)
    if places.mask is not None:
        exists = torch.tensor(places.mask)
    exists = padded(exists, places.padding).to(share)
    weight = mean(exists)
    there = weight > _LEAST
    states = mean(share * exists) / weight.where(there, 1)
    states = states.where(there, 1).clamp(0, 1)
    whole = (share * exists).flatten(-places.ndim - 1).sum(-1, keepdim=True) / exists.sum()
    return torch.cat([places.flatten(states), whole / (whole + _FINE) * (1 + _FINE)], -1)


def averaging(grid: Grid, like: Tensor) -> Callable[[Tensor], Tensor]:
    """Means of points around each coarse point, with weights that are not negative."""
    # no ghosts with a sign, as fields may have them
    ends = ["periodic" if ring else "neumann" for ring in grid.periodic]
    plain = type(grid)(grid.shape, grid.coarse, channels=grid.channels, boundary=ends)
    kernel = lanczos_kernel(plain, _RADIUS, like.dtype).square().to(like.device)
    kernel = kernel / kernel.sum(tuple(range(1, kernel.ndim)), keepdim=True)
    return ScaleOperators(kernel, plain).restrict
