"""Strided transposed convolution as an ordinary one: a channel for each phase of the stride s.

Output position s m + p is Σ_j w_{s j + p} x_{m − j}: for each phase p a short convolution of x, all
of which are one convolution to s^d times as many channels. Torch's own makes and adds up a column
of the whole kernel for each input point instead, which takes several times as long.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

__all__ = ["transposed_convolution"]

# by the number of axes
_CONVOLUTIONS: list[Any] = [F.conv1d, F.conv2d, F.conv3d]


def transposed_convolution(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """(row, out, *fine), all that the kernels reach: stride (n − 1) + kernel points per axis.

    Args:
        x: (row, in, *coarse), n points on an axis.
        weight: (in, out, *kernel).
        stride: Fine points a coarse point.
    """
    ndim = x.ndim - 2
    fine = [(n - 1) * stride + k for n, k in zip(x.shape[2:], weight.shape[2:], strict=True)]
    taps = [-(-k // stride) for k in weight.shape[2:]]
    missing = [(0, t * stride - k) for t, k in zip(taps, weight.shape[2:], strict=True)]
    phases = F.pad(weight, [n for pair in reversed(missing) for n in pair])
    for axis, t in enumerate(taps):  # (in, out, tap, phase, tap, phase, …)
        phases = phases.unflatten(2 + 2 * axis, (t, stride))
    tap_axes = [2 + 2 * axis for axis in range(ndim)]
    phases = phases.flip(tap_axes).permute(1, *(a + 1 for a in tap_axes), 0, *tap_axes)
    out = _CONVOLUTIONS[ndim - 1](x, phases.flatten(0, ndim), padding=[t - 1 for t in taps])
    out = out.unflatten(1, (weight.shape[1], *(stride,) * ndim))
    places = [a for axis in range(ndim) for a in (2 + ndim + axis, 2 + axis)]
    out = out.permute(0, 1, *places)
    for axis in range(2, 2 + ndim):
        out = out.flatten(axis, axis + 1)
    for axis, n in enumerate(fine, start=2):
        out = out.narrow(axis, 0, n)
    return out
