"""Waves along one axis of a coarse grid: fields between its points, and their derivatives.

On a ring the waves are Fourier's, between walls where fields are zero sines, between mirrors
cosines. The coarse field has as many waves as points; what each gives there, smoothed by κ and with
what κ sees beyond the walls, is computed on the fine grid and undone. Products of fields are taken
at more points, so that none of their waves is mistaken for a longer one: products of two sines are
sums of cosines, whose derivatives are sines again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pyro_msde.grid.grids import Grid

__all__ = ["AxisWaves", "waves_of"]

Array = NDArray[Any]

_LEAST = 0.05  # of the largest gain, below which what κ has taken away is not restored in full
_KINDS = {"periodic": "ring", "dirichlet": "odd", "antisymmetric": "odd", "neumann": "even"}


@dataclass(frozen=True)
class AxisWaves:
    """Waves along an axis.

    Attributes:
        kind: "ring", "odd" (sines) or "even" (cosines).
        length: Around the ring or between walls, in the user's units.
        wall: Of the lower wall from the first point, in spacings.
        dense: How many points products are taken at.
        grid: The axis by itself.
        direction: 1, or −1 where coordinates fall from point to point.
    """

    kind: str
    length: float
    wall: float
    dense: int
    grid: Grid
    direction: int = 1

    @property
    def wavenumbers(self) -> Array:
        """(wave,) angular; on a ring of both signs."""
        return self._wavenumbers(self.kind)

    def synthesis(self, line: Array) -> Array:
        """(point, wave): coarse values of waves, smoothed by κ's values along the axis (size,)."""
        return self._restricted(line, self._waves(self._fine, 0, self.kind))

    def analysis(self, line: Array) -> Array:
        """(wave, point): amplitudes of coarse values, the inverse; complex on a ring."""
        left, size, right = np.linalg.svd(self.synthesis(line), full_matrices=False)
        least = _LEAST * size[0]
        inverse = size / np.maximum(size, least) ** 2
        return np.asarray(right.conj().T * inverse @ left.conj().T)

    def refined(self, line: Array, order: int = 0) -> Array:
        """(dense, point): values between, or their derivatives, from coarse values."""
        return np.real(self._waves(self._between, order, self.kind) @ self.analysis(line))

    def derivative(self, order: int, line: Array, even: bool) -> Array:
        """(point, dense): coarse values of a product's derivative, from its values between.

        Args:
            order: Of the derivative; zero is the product itself.
            line: Of κ along the axis.
            even: Whether the product is the same on both sides of walls.
        """
        kind = self.kind if self.kind == "ring" else "even" if even else "odd"
        between = self._waves(self._between, 0, kind)
        if kind == "ring":
            found = between.conj().T / self.dense
        else:
            constant = self._wavenumbers(kind) == 0
            found = between.T * np.where(constant, 1.0, 2.0)[:, None] / self.dense
        return np.real(self._restricted(line, self._waves(self._fine, order, kind)) @ found)

    @property
    def _fine(self) -> Array:
        n = self.grid.shape[0]
        around = n if self.kind == "ring" else n - 1 + 2 * self.wall
        return (np.arange(n) + self.wall) * self.length / around

    @property
    def _between(self) -> Array:
        shift = 0.0 if self.kind == "ring" else 0.5
        return (np.arange(self.dense) + shift) * self.length / self.dense

    def _wavenumbers(self, kind: str) -> Array:
        n = self.grid.coarse[0]
        if kind == "ring":
            most = (n - 1) // 2  # of an even number of points the shortest wave has no sign
            return 2 * np.pi / self.length * np.arange(-most, most + 1)
        return np.pi / self.length * (np.arange(n) + (kind == "odd"))

    def _waves(self, x: Array, order: int, kind: str) -> Array:
        """(point, wave) derivatives of waves."""
        k = self._wavenumbers(kind)
        if kind == "ring":
            return np.asarray((1j * k) ** order * np.exp(1j * x[:, None] * k))
        turn = x[:, None] * k + order * np.pi / 2  # each derivative turns by a quarter
        return np.asarray(k**order * (np.sin(turn) if kind == "odd" else np.cos(turn)))

    def _restricted(self, line: Array, fine: Array) -> Array:
        """T_r along the axis of fields in columns."""
        operators = self.grid.operators(torch.as_tensor(line)[None])

        def restrict(values: Array) -> Array:
            columns = torch.as_tensor(np.ascontiguousarray(values.T))[:, None]
            return operators.restrict(columns)[:, 0].numpy().T

        if np.iscomplexobj(fine):
            return np.asarray(restrict(fine.real) + 1j * restrict(fine.imag))
        return restrict(fine)


def waves_of(grid: Any, degree: int) -> tuple[AxisWaves, ...] | None:
    """Waves along each axis of a `Grid`, for products of so many fields.

    None: it is no such grid, a part of it has no field, its channels have different ends, or one
    has ends other than a ring, "dirichlet", "antisymmetric" or "neumann" at both, or an axis has
    padding, so that its wall is not where the grid ends.
    """
    if not isinstance(grid, Grid) or grid.mask is not None or len(grid.ends) > 1:
        return None
    if any(points for pair in grid.padding for points in pair):
        return None
    found = []
    for axis, ends in enumerate(grid.ends[0]):
        kind = _KINDS.get(ends.word) if isinstance(ends.word, str) else None
        if kind is None:
            return None
        n, x = grid.shape[axis], grid.coordinates[axis]
        width = grid.upper[axis] - grid.lower[axis]
        spacing = (x[-1] - x[0]) / (len(x) - 1) if len(x) > 1 else width
        wall = 0.0 if kind == "ring" else float(ends.lower.wall)
        length = abs(spacing) * (n if kind == "ring" else n - 1 + 2 * wall)
        alone = Grid(n, grid.coarse[axis], boundary=[ends])
        dense = math.ceil((degree + 1) / 2 * grid.coarse[axis]) + 1
        direction = -1 if spacing < 0 else 1
        found.append(AxisWaves(kind, float(length), wall, dense, alone, direction))
    return tuple(found)
