"""By how much prolongation has to be multiplied near ends, so that a constant stays one there.

Of the adjoint T_p of an axis, (T_p 1)(x) is in the middle what the kernel gives of a lattice of
coarse points that goes on for ever, (T 1)(x). Near an end that mirrors or goes on, the images of
coarse points do not continue the lattice, and D = T 1 / T_p 1. At walls where fields are zero no
constant is to be kept: there D is one. Of several axes D is the product.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pyro_msde.grid.boundaries import Ends

if TYPE_CHECKING:
    from pyro_msde.grid.grids import Grid

__all__ = ["end_gains"]

_MOST = 4.0  # of D and its inverse, whatever κ becomes


def end_gains(kernel: Tensor, grid: Grid) -> Tensor | None:
    """D, (..., channel, *space); None: it is one everywhere.

    Args:
        kernel: κ, (..., channel, *kernel). Along an axis it counts by its sum over the others.
        grid: Of which axes have ends.
    """
    if not any(any(ends.open) for channel in grid.ends for ends in channel):
        return None
    dims = range(-grid.ndim, 0)
    gain = None
    for axis, dim in enumerate(dims):
        others = [d for d in dims if d != dim]
        line = kernel.sum(others) if others else kernel
        line = line / line.sum(-1, keepdim=True)
        each = [
            _gain(line[..., c if len(grid.ends) > 1 else slice(None), :], channel[axis], axis, grid)
            for c, channel in enumerate(grid.ends)
        ]
        along = torch.stack(each, -2) if len(grid.ends) > 1 else each[0]
        shape = (*along.shape[:-1], *(-1 if d == dim else 1 for d in dims))
        along = along.reshape(shape)
        gain = along if gain is None else gain * along
    return gain


def _gain(line: Tensor, ends: Ends, axis: int, grid: Grid) -> Tensor:
    """D of an axis, (..., n)."""
    n, coarse, stride = grid.shape[axis], grid.coarse[axis], grid.stride[axis]
    if not any(ends.open) or stride == 1:
        return torch.ones_like(line[..., :1]).expand(*line.shape[:-1], n)
    places, offsets, weights = _sources(ends, n, coarse, stride, line.shape[-1])
    size = line.shape[-1]
    here = line[..., offsets.to(line.device)] * weights.to(line)
    total = line.new_zeros(*line.shape[:-1], n).index_add(-1, places.to(line.device), here)
    half = size // 2
    phase = (torch.arange(-half, half + 1, device=line.device) + ends.offset(stride)) % stride
    lattice = line.new_zeros(*line.shape[:-1], stride).index_add(-1, phase, line)
    wanted = lattice[..., torch.arange(n, device=line.device) % stride]
    ratio = (wanted / total).clamp(1 / _MOST, _MOST)
    at = torch.arange(n, device=line.device)
    lower, upper = ends.open
    near = ((at < n / 2) & lower) | ((at >= n / 2) & upper)
    return torch.where(near & total.ne(0), ratio, torch.ones_like(ratio))


@lru_cache(maxsize=64)
def _sources(
    ends: Ends, n: int, coarse: int, stride: int, size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Which point, by which of the kernel's and times which number, each coarse point looks at."""
    half = size // 2
    positions = (ends.offset(stride) + stride * np.arange(coarse))[:, None]
    around = positions + np.arange(-half, half + 1)
    source, weight = ends.sources(around.ravel(), n)
    offsets = np.tile(np.arange(size), coarse)
    return torch.as_tensor(source), torch.as_tensor(offsets), torch.as_tensor(weight)
