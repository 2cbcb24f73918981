"""Smoothing, restriction and prolongation with one kernel κ (Ilersich & Nair 2025, App. G.4, I).

    (S y)_i = Σ_j κ_j y_{i+j},    T_r y = (S y) at the coarse points,    T_p = σ^d T_rᵀ,

so σ^d ⟨T_r y, ζ⟩ = ⟨y, T_p ζ⟩: adjoint under grid-weighted inner products, σ^d = ∏ strides. At the
kernels' lengths (2rσ+1 points an axis) the FFT beats direct convolution; restriction is a slice of
the smoothed field; prolongation inserts its zeros in the spectrum, where they are a tiling of the
coarse field's spectrum, so only one transform of full length is made.

Where the coarse points are few, T_p is held as a matrix, whose rows are the kernel moved from one
coarse point to the next: multiplying by it, or by its transpose for T_r, beats the FFT in turn. It
is held in blocks (`pyro_msde.grid.row_blocks`) where they are more, but few of them reach any one.

Near an end that mirrors or goes on, coarse points and their images are not σ apart, unless σ is odd
and the end a mirror: T_p of a constant is up to twice that constant at the last points, or half of
it. Where the grid asks for it (`Grid.unit_gain`), T_p = D σ^d T_rᵀ, D diagonal, so that it is what
it is in the middle (`pyro_msde.grid.end_gains`), and the adjoint is one but for D.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyro_msde.grid.end_gains import end_gains
from pyro_msde.grid.ring_correlation import ring_correlation
from pyro_msde.grid.rings import ring_of
from pyro_msde.grid.row_blocks import RowBlocks, reach_of

if TYPE_CHECKING:
    from pyro_msde.grid.grids import Grid

__all__ = ["ScaleOperators"]

_MOST_ENTRIES = 2**23  # of T_p as a matrix: above, transforms are cheaper
_MOST_FOLDED = 2**20  # where its rows are folded back at bounded ends, at each step of training
_MOST_REACHING = 2**8  # coarse points that a block is made of: above, transforms are cheaper


class ScaleOperators:
    """The three operators of one kernel; make a new one whenever the kernel changes.

    Differentiable in the kernel and in the fields, on the kernel's device, in its dtype.

    Attributes:
        grid: Fine and coarse grid.
        kernel_shape: Points of the kernel per axis.
        gain: D, (..., channel, *space); None: it is one.
    """

    def __init__(self, kernel: Tensor, grid: Grid) -> None:
        """Compute the kernel's spectrum.

        Args:
            kernel: κ, (channel, *kernel_shape), an odd number of points per axis. Axes further to
                the left are broadcast against those of the fields.
            grid: Fine and coarse grid.

        Raises:
            ValueError: A kernel of another rank or number of channels, an even number of points,
                or a dtype other than float32 and float64.
        """
        _check_kernel(kernel, grid)
        self.grid = grid
        self.kernel_shape = tuple(kernel.shape[-grid.ndim :])
        self._dtype = kernel.dtype
        self._dims = tuple(range(-grid.ndim, 0))
        padding = (size // 2 for size in self.kernel_shape)
        axes = zip(zip(*grid.ends, strict=True), grid.shape, grid.stride, padding, strict=True)
        self._rings = tuple(ring_of(*axis) for axis in axes)
        self._ring = tuple(ring.length for ring in self._rings)
        pairs = zip(self._ring, grid.stride, strict=True)
        self._coarse_ring = tuple(length // stride for length, stride in pairs)
        self._kernel_on_ring = self._on_ring(kernel)
        self.gain = end_gains(kernel, grid) if grid.unit_gain else None
        self._matrix: Tensor | None = None
        self._blocks: RowBlocks | None = None
        most = _MOST_ENTRIES if all(ring.plain for ring in self._rings) else _MOST_FOLDED
        size = self.kernel_shape[0]
        reach = reach_of(size, grid.offset[0], grid.stride[0], self._coarse_ring[0])[1]
        if grid.num_coarse * grid.num_points <= most:
            self._matrix = self._prolongation_matrix()
        elif reach * math.prod(grid.coarse[1:]) <= _MOST_REACHING:
            self._blocks = RowBlocks(self._kernel_on_ring, size, grid, self._rings)

    @cached_property
    def _spectrum(self) -> Tensor:
        """The kernel's, (..., channel, *half of the ring)."""
        spectrum: Tensor = torch.fft.rfftn(self._kernel_on_ring, dim=self._dims)
        return spectrum

    @cached_property
    def _prolong_spectrum(self) -> Tensor:
        return self._shift_to_coarse_points(self._spectrum) * math.prod(self.grid.stride)

    def smooth(self, y: Tensor) -> Tensor:
        """S y, (..., channel, *space), from y (..., channel, *space): correlation with κ.

        Raises:
            ValueError: Last axes that are not (channel, *space), or another dtype than κ's.
        """
        self._check("y", y, self.grid.field_shape)
        grid = self.grid
        channel = -grid.ndim - 1
        for dim, ring in zip(self._dims, self._rings, strict=True):
            y = ring.extend(y, dim, channel)
        if not y.requires_grad and self._kernel_on_ring.ndim == grid.ndim + 1 < y.ndim:
            return ring_correlation(y, self._kernel_on_ring, grid.shape)
        spectrum = torch.fft.rfftn(y, s=self._ring, dim=self._dims) * self._spectrum.conj()
        smoothed: Tensor = torch.fft.irfftn(spectrum, s=self._ring, dim=self._dims)
        for dim, n in zip(self._dims, grid.shape, strict=True):
            smoothed = smoothed.narrow(dim, 0, n)
        return smoothed

    def sample(self, smoothed: Tensor) -> Tensor:
        """T_r y, (..., channel, *coarse), from S y (..., channel, *space): a slice, no copy.

        Raises:
            ValueError: Last axes that are not (channel, *space).
        """
        self._check("smoothed", smoothed, self.grid.field_shape)
        pairs = zip(self.grid.offset, self.grid.stride, strict=True)
        index: tuple[Any, ...] = (..., *(slice(first, None, step) for first, step in pairs))
        return smoothed[index]

    def restrict(self, y: Tensor) -> Tensor:
        """T_r y, (..., channel, *coarse), from y (..., channel, *space).

        A caller who needs S y too takes `smooth` and then `sample`.
        """
        grid = self.grid
        self._check("y", y, grid.field_shape)
        if self._blocks is not None:
            return self._blocks.restrict(y)
        if self._matrix is None:
            return self.sample(self.smooth(y))
        flat = y.flatten(-grid.ndim) / math.prod(grid.stride)
        zeta = torch.einsum("...cy,...cky->...ck", flat, self._matrix)
        return zeta.unflatten(-1, grid.coarse)

    def prolong(self, zeta_field: Tensor) -> Tensor:
        """T_p ζ, (..., channel, *space), from ζ as a field (..., channel, *coarse).

        Raises:
            ValueError: Last axes that are not (channel, *coarse), or another dtype than κ's.
        """
        grid = self.grid
        self._check("zeta_field", zeta_field, (grid.channels, *grid.coarse))
        prolonged = self._adjoint(zeta_field)
        return prolonged if self.gain is None else prolonged * self.gain

    def _adjoint(self, zeta_field: Tensor) -> Tensor:
        """σ^d T_rᵀ ζ."""
        grid = self.grid
        if self._blocks is not None:
            return self._blocks.prolong(zeta_field)
        if self._matrix is not None:
            flat = zeta_field.flatten(-grid.ndim)
            return torch.einsum("...ck,...cky->...cy", flat, self._matrix).unflatten(-1, grid.shape)
        spectrum = torch.fft.fftn(zeta_field, s=self._coarse_ring, dim=self._dims)
        half = self._ring[-1] // 2 + 1  # a real field's spectrum along the last axis
        tiles = (*grid.stride[:-1], -(-half // self._coarse_ring[-1]))
        spectrum = spectrum.repeat((1,) * (spectrum.ndim - grid.ndim) + tiles)[..., :half]
        spectrum = spectrum * self._prolong_spectrum
        prolonged: Tensor = torch.fft.irfftn(spectrum, s=self._ring, dim=self._dims)
        for dim, ring in zip(self._dims, self._rings, strict=True):
            prolonged = ring.fold(prolonged, dim, -grid.ndim - 1)
        return prolonged

    def _prolongation_matrix(self) -> Tensor:
        """T_p, (..., channel, num_coarse, num_points)."""
        grid = self.grid
        windows = self._kernel_on_ring * math.prod(grid.stride)
        for axis, dim in enumerate(self._dims):
            n_c, stride, ring = grid.coarse[axis], grid.stride[axis], self._rings[axis]
            # ghosts that are images need the whole ring, to be folded back
            reach = ring.n if ring.plain else ring.length
            last = grid.offset[axis] + (n_c - 1) * stride
            index = torch.arange((n_c - 1) * stride + reach, device=windows.device) - last
            windows = windows.index_select(dim, index % ring.length)
        for axis, dim in enumerate(self._dims):
            length = windows.shape[dim - axis] - (grid.coarse[axis] - 1) * grid.stride[axis]
            windows = windows.unfold(dim - axis, length, grid.stride[axis])
        # windows begin at the last coarse point
        matrix = windows.flip([dim - grid.ndim for dim in self._dims])
        for dim, ring in zip(self._dims, self._rings, strict=True):
            matrix = ring.fold(matrix, dim, -2 * grid.ndim - 1)
        return matrix.flatten(-grid.ndim).flatten(-grid.ndim - 1, -2)

    def _on_ring(self, kernel: Tensor) -> Tensor:
        """Kernel with its centre at ring position 0, wrapped and added up where it is longer."""
        for dim, size, length in zip(self._dims, self.kernel_shape, self._ring, strict=True):
            turns = -(-size // length)
            missing = list(kernel.shape)
            missing[dim] = turns * length - size
            kernel = torch.cat([kernel, kernel.new_zeros(missing)], dim)
            kernel = torch.stack(kernel.split(length, dim)).sum(0)
            kernel = kernel.roll(-(size // 2), dim)
        return kernel

    def _shift_to_coarse_points(self, spectrum: Tensor) -> Tensor:
        """Times exp(−2πi k·offset/length): the first coarse point need not be at 0."""
        for dim, length, offset in zip(self._dims, self._ring, self.grid.offset, strict=True):
            if offset:
                k = torch.arange(spectrum.shape[dim], device=spectrum.device)
                # Whole turns are taken off as integers: float32 angles stay exact to rounding.
                angle = (k * offset % length).to(self._dtype) * (-2 * math.pi / length)
                phase = torch.polar(torch.ones_like(angle), angle)
                spectrum = spectrum * phase.reshape(-1, *(1,) * (-1 - dim))
        return spectrum

    def _check(self, name: str, field: Tensor, expected: tuple[int, ...]) -> None:
        if tuple(field.shape[-len(expected) :]) != expected:
            raise ValueError(f"{name}: shape {tuple(field.shape)} does not end in {expected}")
        if field.dtype != self._dtype:
            raise ValueError(f"{name}: {field.dtype}, but the kernel is {self._dtype}; cast one")

    def __repr__(self) -> str:
        """Grid and kernel size."""
        return f"ScaleOperators(kernel_shape={self.kernel_shape}, grid={self.grid})"


def _check_kernel(kernel: Tensor, grid: Grid) -> None:
    if kernel.ndim <= grid.ndim or kernel.shape[-grid.ndim - 1] != grid.channels:
        raise ValueError(
            f"kernel: shape {tuple(kernel.shape)} does not end in (channel, *kernel_shape) with "
            f"{grid.channels} channels and {grid.ndim} axes"
        )
    if any(size % 2 == 0 for size in kernel.shape[-grid.ndim :]):
        raise ValueError(
            f"kernel: shape {tuple(kernel.shape)} has an axis with an even number of points; "
            "without a centre it would shift the field: make it odd"
        )
    if kernel.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"kernel: {kernel.dtype}; use float32 or float64")
