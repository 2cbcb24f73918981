"""T_p in blocks: all of a grid's rows of σ points are made of nearby coarse rows in the same way.

A block is σ fine points along the first axis and all points along the others; a coarse row is one
coarse point along the first. Block a of T_p ζ is a matrix times the coarse rows a + e at the few
e that the kernel reaches, and T_r is the transpose. The matrix is small, since it says nothing of
where along the first axis a block is: ghosts of that axis are on its ring, and those of others are
folded back in the matrix.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from pyro_msde.grid.rings import Ring

if TYPE_CHECKING:
    from pyro_msde.grid.grids import Grid

__all__ = ["RowBlocks", "reach_of"]


def reach_of(size: int, offset: int, stride: int, blocks: int) -> tuple[int, int]:
    """First e, and how many: a kernel of `size` points reaches from coarse row a + e to block a.

    No more than there are blocks on the ring, as rows further on are the same again.
    """
    half = size // 2
    first = -((offset + half) // stride)
    last = (stride - 1 - offset + half) // stride
    return first, min(last - first + 1, blocks)


class RowBlocks:
    """Restriction and prolongation of one kernel by the matrix of a block.

    Args:
        kernel: κ with its centre at ring position 0, (..., channel, *ring).
        size: Points of κ along the first axis.
        grid: Fine and coarse grid.
        rings: Of each axis.
    """

    def __init__(self, kernel: Tensor, size: int, grid: Grid, rings: Sequence[Ring]) -> None:
        self._grid, self._ring = grid, rings[0]
        self._blocks = rings[0].length // grid.stride[0]
        first, count = reach_of(size, grid.offset[0], grid.stride[0], self._blocks)
        self._reach = torch.arange(first, first + count, device=kernel.device)
        self._matrix = self._matrix_of(kernel, rings)

    def restrict(self, y: Tensor) -> Tensor:
        """T_r y, (..., channel, *coarse), from y (..., channel, *space)."""
        grid, dim = self._grid, -self._grid.ndim
        # channels first: einsum then copies nothing
        fields = y.movedim(dim - 1, 0)
        extended = self._ring.extend(fields, dim, -fields.ndim)
        extended = extended.movedim(0, dim - 1)
        if extended.shape[dim] < self._ring.length:  # zeros alone
            missing = self._ring.length - extended.shape[dim]
            extended = F.pad(extended, [0, 0] * (grid.ndim - 1) + [0, missing])
        blocks = extended.flatten(dim).unflatten(-1, (self._blocks, -1))
        shares = torch.einsum("...cbn,...ckn->...cbk", blocks, self._matrix)
        shares = shares.unflatten(-1, (len(self._reach), -1)).flatten(-3, -2)
        rows = torch.arange(grid.coarse[0], device=y.device)[:, None]
        places = torch.arange(len(self._reach), device=y.device)
        index = (rows - self._reach) % self._blocks * len(self._reach) + places
        zeta = shares.index_select(-2, index.flatten()).unflatten(-2, tuple(index.shape)).sum(-2)
        return zeta.reshape(*zeta.shape[:-2], *grid.coarse) / math.prod(grid.stride)

    def prolong(self, zeta_field: Tensor) -> Tensor:
        """T_p ζ, (..., channel, *space), from ζ as a field (..., channel, *coarse)."""
        grid, dim = self._grid, -self._grid.ndim
        n = grid.coarse[0]
        rows = F.pad(zeta_field.flatten(dim).unflatten(-1, (n, -1)), [0, 0, 0, 1])
        index = torch.arange(self._blocks, device=rows.device)[:, None] + self._reach
        index = (index % self._blocks).clamp(max=n)  # coarse rows beyond the end are zero
        near = rows.index_select(-2, index.flatten()).unflatten(-2, tuple(index.shape)).flatten(-2)
        blocks = torch.einsum("...cbk,...ckn->...cbn", near, self._matrix)
        ring = blocks.flatten(-2).unflatten(-1, (self._ring.length, *grid.shape[1:]))
        return self._ring.fold(ring, dim, dim - 1)

    def _matrix_of(self, kernel: Tensor, rings: Sequence[Ring]) -> Tensor:
        """(..., channel, reach × coarse points of a row, points of a block)."""
        grid, device = self._grid, kernel.device
        d = grid.ndim
        within = torch.arange(grid.stride[0], device=device) - grid.offset[0]
        index = [within - grid.stride[0] * self._reach[:, None]]
        for n, offset, stride, ring in zip(
            grid.coarse[1:], grid.offset[1:], grid.stride[1:], rings[1:], strict=True
        ):
            positions = torch.arange(ring.length, device=device)
            index.append(positions - (offset + stride * torch.arange(n, device=device))[:, None])
        matrix = kernel * math.prod(grid.stride)
        for axis, (places, ring) in enumerate(zip(index, rings, strict=True)):
            dim = axis - d  # those before have become two axes, which leaves negative numbers alone
            chosen = matrix.index_select(dim, (places % ring.length).flatten())
            matrix = chosen.unflatten(dim, tuple(places.shape))
        pairs = range(-2 * d, 0, 2)
        matrix = matrix.movedim(list(pairs), list(range(-2 * d, -d)))
        for dim, ring in zip(range(1 - d, 0), rings[1:], strict=True):
            matrix = ring.fold(matrix, dim, -2 * d - 1)
        return matrix.flatten(-d).flatten(-d - 1, -2)
