"""The smoothing kernel κ at the start (Ilersich & Nair 2025, App. G.4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from pyro_msde.checks import check_choice, check_whole

if TYPE_CHECKING:
    from pyro_msde.grid.grids import Grid

__all__ = ["gaussian_kernel", "lanczos_kernel"]

_PUBLISHED_SUM = {1: 6.0, 2: 16.0}
_MOST_KERNEL = 2**26  # points of a kernel


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
    if not getattr(grid, "regular", False):
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
