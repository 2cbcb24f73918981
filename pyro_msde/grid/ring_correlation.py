"""Correlation of data with a kernel on a ring, by FFT, for a derivative in the kernel alone.

    out_i = Σ_j κ_j y_{i+j},    ∂/∂κ_j of Σ_i g_i out_i is Σ_i g_i y_{i+j}.

Autograd would transform an array of complex numbers on the whole ring for each of the fields, keep
the product of the spectra and scale halves of others; here y's spectrum serves both directions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["ring_correlation"]


def ring_correlation(y: Tensor, kernel: Tensor, shape: tuple[int, ...]) -> Tensor:
    """(..., channel, *shape) of the correlation, as often differentiable in κ as one may ask.

    Args:
        y: (..., channel, *axes) data, without a gradient; zeros are put where it is shorter than
            the ring.
        kernel: κ with its centre at position 0, (channel, *ring).
        shape: How many points from position 0 on are wanted, per axis.
    """
    function: Any = _RingCorrelation
    correlated: Tensor = function.apply(y, kernel, shape)
    return correlated


class _RingCorrelation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, kernel: Tensor, shape: tuple[int, ...]) -> Tensor:
        ring = tuple(kernel.shape[1:])
        dims = tuple(range(-len(ring), 0))
        spectrum = torch.fft.rfftn(y, s=ring, dim=dims)
        ctx.save_for_backward(spectrum)
        ctx.ring, ctx.dims = ring, dims
        product = spectrum * torch.fft.rfftn(kernel, dim=dims).conj()
        out: Tensor = torch.fft.irfftn(product, s=ring, dim=dims)
        for dim, n in zip(dims, shape, strict=True):
            out = out.narrow(dim, 0, n)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, None]:
        (spectrum,) = ctx.saved_tensors
        other = torch.fft.rfftn(grad, s=ctx.ring, dim=ctx.dims)
        product = (other.conj() * spectrum).flatten(0, -len(ctx.ring) - 2).sum(0)
        return None, torch.fft.irfftn(product, s=ctx.ring, dim=ctx.dims), None
