"""Neighbours on the coarse grid: a static graph (Ilersich & Nair 2025, eq. 10).

The macroscale drift applies one small network to every coarse point's neighbourhood. All have the
same number of points and none changes, so gathering them is one look-up in a table built once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from pyro_msde.checks import check_whole
from pyro_msde.data import as_array
from pyro_msde.grid.boundaries import BoundaryWords, ends_of

__all__ = ["Stencil", "adjacency_table", "neighbour_table", "neighbour_weights"]

_MOST_ENTRIES = 2**27  # of a table: a gigabyte


def neighbour_table(shape: int | Sequence[int], half_width: int, boundary: BoundaryWords) -> Tensor:
    """Indices of the (2q+1)^d neighbours of each point, itself included.

    Points and offsets are both numbered row-major (last axis fastest); offsets run from −q to q.
    Beyond the ends stand the boundary's ghosts; one whose value is zero has the index num_coarse.
    What others are times, such as the −1 of "antisymmetric", only `Grid.stencil` knows.

    Args:
        shape: Coarse points per axis.
        half_width: q ≥ 0.
        boundary: As `Grid` takes it, for one channel.

    Returns:
        int64, (num_coarse, (2q+1)^d).

    Raises:
        ValueError: A size below 1, a negative half-width or an unknown boundary.
    """
    return neighbour_weights(shape, half_width, boundary)[0]


def neighbour_weights(
    shape: int | Sequence[int], half_width: int, boundary: BoundaryWords
) -> tuple[Tensor, Tensor]:
    """`neighbour_table`, and the number (num_coarse, (2q+1)^d) that each neighbour is times.

    Arguments and errors as there.
    """
    several = isinstance(shape, Sequence) and not isinstance(shape, str)
    sizes: tuple[int, ...] = tuple(shape) if several else (shape,)  # type: ignore[assignment,arg-type]
    check_whole("shape: number of axes", len(sizes), 1)
    for axis, size in enumerate(sizes):
        check_whole(f"shape[{axis}]", size, 1)
    half_width = check_whole("half_width", half_width, 0)  # 0 means the point alone
    ndim = len(sizes)
    if math.prod(sizes) * (2 * half_width + 1) ** ndim > _MOST_ENTRIES:
        raise ValueError(
            f"half_width: {half_width} on {sizes} points is a table of more than "
            f"{_MOST_ENTRIES:.3g} neighbours; take a smaller one"
        )
    offsets = np.arange(-half_width, half_width + 1)
    index = np.zeros((1,) * (2 * ndim), dtype=np.int64)
    weight = np.ones((1,) * (2 * ndim))
    for axis, (n, ends) in enumerate(zip(sizes, ends_of(boundary, ndim), strict=True)):
        source, factor = ends.sources(np.arange(n)[:, None] + offsets, n)
        layout = [1] * (2 * ndim)  # points of every axis, then offsets of every axis
        layout[axis], layout[ndim + axis] = source.shape
        index = index * n + source.reshape(layout)
        weight = weight * factor.reshape(layout)
    num_coarse = math.prod(sizes)
    table = np.where(weight == 0, num_coarse, index).reshape(num_coarse, -1)
    return torch.from_numpy(table), torch.from_numpy(weight.reshape(num_coarse, -1))


def adjacency_table(adjacency: ArrayLike | Tensor) -> Tensor:
    """Neighbour table of a graph in which every node has the same number of neighbours.

    Args:
        adjacency: Either an index table (n, k) of integers, the k neighbours of each node in the
            drift network's order, returned as it is; or a boolean or 0/1 matrix (n, n), row j
            marking the neighbours of node j (set the diagonal to include the node itself). A
            square table that holds only zeros and ones is read as a matrix.

    Returns:
        int64, (n, k). From a matrix, neighbours are in ascending order.

    Raises:
        ValueError: Not two-dimensional, indices outside 0 … n−1, or counts that differ.
    """
    array = as_array(adjacency, "adjacency")
    if array.dtype.kind not in "fiub":
        raise ValueError(f"adjacency: {array.dtype} entries are neither indices nor a 0/1 matrix")
    if array.ndim != 2 or array.size == 0:
        raise ValueError(
            f"adjacency: shape {array.shape}; expected (n, k) indices or an (n, n) matrix"
        )
    n = array.shape[0]
    if array.shape == (n, n) and np.isin(array, (0, 1)).all():
        return torch.from_numpy(_indices_of_ones(array != 0))
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"adjacency: {array.dtype} entries are neither indices nor a 0/1 matrix")
    bad = np.argwhere((array < 0) | (array >= n))
    if bad.size:
        node, place = bad[0]
        raise ValueError(
            f"adjacency: neighbour {place} of node {node} is {array[node, place]}; "
            f"indices run from 0 to {n - 1}"
        )
    return torch.from_numpy(array.astype(np.int64))


def _indices_of_ones(matrix: NDArray[np.bool_]) -> NDArray[np.int64]:
    counts = matrix.sum(axis=1)
    differs = np.flatnonzero(counts != counts[0])
    if differs.size:
        node = differs[0]
        raise ValueError(
            f"adjacency: node {node} has {counts[node]} neighbours, node 0 has {counts[0]}; "
            "every node needs the same number: repeat some in an index table (n, k)"
        )
    if counts[0] == 0:
        raise ValueError("adjacency: no node has neighbours; set the diagonal at least")
    return np.nonzero(matrix)[1].reshape(len(matrix), -1).astype(np.int64)


class Stencil(nn.Module):
    """Gathers each coarse point's neighbourhood: the input of the macroscale drift network.

    Attributes:
        num_coarse: Number of points.
        num_neighbours: Neighbours per point, K.
    """

    table: Tensor
    weight: Tensor | None

    def __init__(self, table: Tensor, weight: Tensor | None = None) -> None:
        """Hold a table from `neighbour_table` or `adjacency_table`.

        Args:
            table: int64, (num_coarse, K); the index num_coarse means a zero ghost. Or one table a
                channel, (channel, num_coarse, K).
            weight: Numbers shaped as the table that the neighbours' values are times; None: ones.

        Raises:
            ValueError: Not such an int64 table, or indices outside 0 … num_coarse.
        """
        super().__init__()
        if table.ndim not in (2, 3) or table.dtype != torch.int64 or table.numel() == 0:
            raise ValueError(f"table: {table.dtype} {tuple(table.shape)}; expected int64 (n, K)")
        self.num_coarse, self.num_neighbours = table.shape[-2:]
        if int(table.min()) < 0 or int(table.max()) > self.num_coarse:
            raise ValueError(f"table: indices outside 0 … {self.num_coarse}")
        self._has_ghost = int(table.max()) == self.num_coarse
        # Rebuilt from the grid, hence not part of a saved state.
        self.register_buffer("table", table.clone(), persistent=False)
        self.register_buffer("weight", weight, persistent=False)

    @property
    def centre(self) -> int:
        """Where in its neighbourhood each point finds itself."""
        points = torch.arange(self.num_coarse, device=self.table.device)[:, None]
        itself = (self.table == points).flatten(0, -2).all(0)
        return int(itself.int().argmax())

    def forward(self, zeta: Tensor) -> Tensor:
        """(..., num_coarse, channel·K) from zeta (..., channel, num_coarse), channel-major.

        Raises:
            ValueError: The last axis is not num_coarse long.
        """
        if zeta.shape[-1] != self.num_coarse:
            raise ValueError(
                f"zeta: last axis has {zeta.shape[-1]} points, the table {self.num_coarse}"
            )
        # Points first: gathering and its backward then move whole rows.
        nodes = zeta.movedim(-1, 0)
        if self._has_ghost:
            nodes = torch.cat([nodes, nodes.new_zeros((1, *nodes.shape[1:]))])
        if self.table.ndim == 2:
            return self._gather(nodes, self.table, self.weight).flatten(-2)
        weights = [None] * len(self.table) if self.weight is None else self.weight
        parts = zip(nodes.split(1, -1), self.table, weights, strict=True)
        return torch.cat([self._gather(*part) for part in parts], -2).flatten(-2)

    @staticmethod
    def _gather(nodes: Tensor, table: Tensor, weight: Tensor | None) -> Tensor:
        """(..., num_coarse, channel, K) from (node, ..., channel)."""
        rows = nodes.index_select(0, table.flatten())
        rows = rows.reshape(*table.shape, *nodes.shape[1:])  # (num_coarse, K, ..., channel)
        rows = rows.movedim((0, 1), (-3, -1))
        return rows if weight is None else rows * weight[:, None, :].to(rows.dtype)
