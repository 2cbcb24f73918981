"""Smoothing, restriction and prolongation with one kernel κ (Ilersich & Nair 2025, App. G.4, I).

    (S y)_i = Σ_j κ_j y_{i+j},    T_r y = (S y) at the coarse points,    T_p = σ^d T_rᵀ,

so σ^d ⟨T_r y, ζ⟩ = ⟨y, T_p ζ⟩: adjoint under grid-weighted inner products, σ^d = ∏ strides. At the
kernels' lengths (2rσ+1 points an axis) the FFT beats direct convolution; restriction is a slice of
the smoothed field; prolongation inserts its zeros in the spectrum, where they are a tiling of the
coarse field's spectrum, so only one transform of full length is made.

Where the coarse points are few, T_p is held as a matrix, whose rows are the kernel moved from one
coarse point to the next: multiplying by it, or by its transpose for T_r, beats the FFT in turn.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from pyro_msde.checks import check_choice, check_whole
from pyro_msde.grid.boundaries import extend, fold, ring_length
from pyro_msde.grid.grids import Grid

__all__ = ["ScaleOperators", "gaussian_kernel", "lanczos_kernel"]

_PUBLISHED_SUM = {1: 6.0, 2: 16.0}
_MOST_KERNEL = 2**26  # points of a kernel
_MOST_ENTRIES = 2**23  # of T_p as a matrix: above, transforms are cheaper


def gaussian_kernel(
    grid: Grid,
    radius: int = 3,
    gain: Literal["unit", "published"] = "unit",
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Gaussian of standard deviation σ per axis (in fine points), cut off at ±radius·σ.

    Args:
        grid: Gives the strides σ and the number of channels.
        radius: Cut-off in strides, r: 3 for KdV and Burgers, 2 for cylinder flow.
        gain: "unit": the kernel sums to 1, so ζ is in the units of y. "published": it sums to 6 in
            one dimension and 16 in two, since ‖S y‖ ≈ 6‖y‖ and 16‖y‖ is what the paper's start
            gives on fields that are smooth at scale σ.
        dtype: Of the kernel; torch's default unless given.

    Returns:
        (channel, 2rσ₁+1, …), the same for every channel.

    Raises:
        ValueError: radius below 1 or too large for memory, unknown gain, or published gain in three
            dimensions.
    """
    check_choice("gain", gain, ("unit", "published"))
    if gain == "published" and grid.ndim not in _PUBLISHED_SUM:
        raise ValueError(f'gain: none is published in {grid.ndim} dimensions; use gain="unit"')
    total = _PUBLISHED_SUM[grid.ndim] if gain == "published" else 1.0
    return _separable(grid, radius, lambda x: torch.exp(-0.5 * x**2), total, dtype)


def lanczos_kernel(grid: Grid, radius: int = 5, dtype: torch.dtype | None = None) -> Tensor:
    """Windowed sinc per axis, sinc(x) sinc(x/radius) for |x| ≤ radius strides, of sum 1.

    Close to the ideal low-pass at the coarse grid's Nyquist frequency: T_p T_r leaves what the
    coarse grid resolves nearly as it is, where a Gaussian one stride wide damps it.

    Args:
        grid: Gives the strides and the number of channels.
        radius: Cut-off in strides, the number of lobes.
        dtype: Of the kernel; torch's default unless given.

    Returns:
        (channel, 2·radius·σ₁+1, …), the same for every channel.

    Raises:
        ValueError: radius below 1 or too large for memory.
    """

    def windowed_sinc(x: Tensor) -> Tensor:
        return torch.sinc(x) * torch.sinc(x / radius)

    return _separable(grid, radius, windowed_sinc, 1.0, dtype)


def _separable(
    grid: Grid,
    radius: int,
    profile: Callable[[Tensor], Tensor],
    total: float,
    dtype: torch.dtype | None,
) -> Tensor:
    """Product over the axes of a profile of the distance in strides, scaled to a sum."""
    if not isinstance(grid, Grid):
        raise ValueError(f"grid: got {type(grid).__name__}. Pass a pyro_msde.Grid.")
    if dtype is not None and not isinstance(dtype, torch.dtype):
        raise ValueError(f"dtype={dtype!r}: give a torch.dtype, or leave it out.")
    radius = check_whole("radius", radius, 1)
    length = [2 * radius * stride + 1 for stride in grid.stride]
    if math.prod(length) > _MOST_KERNEL:
        raise ValueError(
            f"radius: {radius} coarse spacings are a kernel of {length} points, more than "
            f"{_MOST_KERNEL:.3g}; take a smaller radius or more coarse points"
        )
    kernel = torch.full((), total, dtype=torch.float64)
    for stride in grid.stride:
        steps = torch.arange(-radius * stride, radius * stride + 1, dtype=torch.float64) / stride
        axis = profile(steps)
        kernel = kernel[..., None] * (axis / axis.sum())
    kernel = kernel.to(torch.get_default_dtype() if dtype is None else dtype)
    return kernel.expand(grid.channels, *kernel.shape).clone()


class ScaleOperators:
    """The three operators of one kernel; make a new one whenever the kernel changes.

    Differentiable in the kernel and in the fields, on the kernel's device, in its dtype.

    Attributes:
        grid: Fine and coarse grid.
        kernel_shape: Points of the kernel per axis.
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
        self._padding = tuple(size // 2 for size in self.kernel_shape)
        axes = zip(grid.shape, grid.stride, self._padding, grid.boundary, strict=True)
        self._ring = tuple(ring_length(*axis) for axis in axes)
        pairs = zip(self._ring, grid.stride, strict=True)
        self._coarse_ring = tuple(length // stride for length, stride in pairs)
        self._kernel_on_ring = self._on_ring(kernel)
        self._matrix: Tensor | None = None
        if grid.num_coarse * grid.num_points <= _MOST_ENTRIES:
            self._matrix = self._prolongation_matrix()

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
        ring = y
        for axis in zip(self._dims, self._ring, self._padding, grid.boundary, strict=True):
            ring = extend(ring, *axis)
        spectrum = torch.fft.rfftn(ring, s=self._ring, dim=self._dims) * self._spectrum.conj()
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
        if self._matrix is None:
            return self.sample(self.smooth(y))
        grid = self.grid
        self._check("y", y, grid.field_shape)
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
        if self._matrix is not None:
            flat = zeta_field.flatten(-grid.ndim)
            return torch.einsum("...ck,...cky->...cy", flat, self._matrix).unflatten(-1, grid.shape)
        spectrum = torch.fft.fftn(zeta_field, s=self._coarse_ring, dim=self._dims)
        half = self._ring[-1] // 2 + 1  # a real field's spectrum along the last axis
        tiles = (*grid.stride[:-1], -(-half // self._coarse_ring[-1]))
        spectrum = spectrum.repeat((1,) * (spectrum.ndim - grid.ndim) + tiles)[..., :half]
        spectrum = spectrum * self._prolong_spectrum
        ring: Tensor = torch.fft.irfftn(spectrum, s=self._ring, dim=self._dims)
        for axis in zip(self._dims, grid.shape, self._padding, grid.boundary, strict=True):
            ring = fold(ring, *axis)
        return ring

    def _prolongation_matrix(self) -> Tensor:
        """T_p, (..., channel, num_coarse, num_points)."""
        grid = self.grid
        windows = self._kernel_on_ring * math.prod(grid.stride)
        for axis, dim in enumerate(self._dims):
            n_c, stride, ring = grid.coarse[axis], grid.stride[axis], self._ring[axis]
            # ghosts that are images need the whole ring, to be folded back
            reach = ring if grid.boundary[axis] in ("neumann", "replicate") else grid.shape[axis]
            last = grid.offset[axis] + (n_c - 1) * stride
            index = torch.arange((n_c - 1) * stride + reach, device=windows.device) - last
            windows = windows.index_select(dim, index % ring)
        for axis, dim in enumerate(self._dims):
            length = windows.shape[dim - axis] - (grid.coarse[axis] - 1) * grid.stride[axis]
            windows = windows.unfold(dim - axis, length, grid.stride[axis])
        # windows begin at the last coarse point
        matrix = windows.flip([dim - grid.ndim for dim in self._dims])
        for ends in zip(self._dims, grid.shape, self._padding, grid.boundary, strict=True):
            matrix = fold(matrix, *ends)
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
