"""What lies beyond the ends of an axis: periodic, dirichlet, neumann, replicate.

With n points 0 … n−1 on the axis, the value at position i outside of it is

* ``periodic``: the value at i mod n;
* ``dirichlet``: zero;
* ``neumann``: the half-sample mirror image, … y₁ y₀ | y₀ y₁ … (numpy's ``symmetric``, not torch's
  ``reflect``): the wall lies half a spacing beyond the end point, as for cell centres, so fine and
  coarse grids mirror at the same wall. Images repeat with period 2n, hence any padding is possible;
* ``replicate``: the value at the nearest end.

For convolution by FFT each axis is laid on a ring: `extend` puts the n points at ring positions
0 … n−1 and the ghosts in the rest, `fold` is its transpose.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import next_fast_len
from torch import Tensor

__all__ = ["BOUNDARIES", "extend", "fold", "per_axis", "ring_length", "source_index"]

BOUNDARIES = ("periodic", "dirichlet", "neumann", "replicate")


def per_axis(boundary: str | Sequence[str], ndim: int) -> tuple[str, ...]:
    """One boundary per axis, from one for all axes or from a sequence of `ndim`.

    Raises:
        ValueError: An unknown boundary, or a sequence of another length.
    """
    if not isinstance(boundary, str | Sequence):
        raise ValueError(f"boundary: {boundary!r}; give a name, or one per axis")
    names = (boundary,) * ndim if isinstance(boundary, str) else tuple(boundary)
    if len(names) != ndim:
        raise ValueError(f"boundary: {len(names)} given for {ndim} axes; give one, or one per axis")
    for axis, name in enumerate(names):
        if name not in BOUNDARIES:
            known = ", ".join(BOUNDARIES)
            raise ValueError(f"boundary: {name!r} on axis {axis} is unknown; choose one of {known}")
    return names


def source_index(positions: NDArray[np.int64], n: int, boundary: str) -> NDArray[np.int64]:
    """Points whose values stand at `positions` (any integers) of an axis of n points; −1: zero."""
    if boundary == "periodic":
        return positions % n
    if boundary == "dirichlet":
        return np.where((positions >= 0) & (positions < n), positions, -1)
    if boundary == "neumann":
        image = positions % (2 * n)
        return np.minimum(image, 2 * n - 1 - image)
    return np.clip(positions, 0, n - 1)


def ring_length(n: int, stride: int, padding: int, boundary: str) -> int:
    """Length of the ring for an axis of n points and a kernel reaching `padding` points each way.

    Always a multiple of the stride, so that zero-insertion is a tiling of the coarse spectrum.
    """
    if boundary == "periodic":
        return n
    # Zeros serve both ends of a dirichlet axis at once; images of two different ends cannot.
    needed = n + padding if boundary == "dirichlet" else n + 2 * padding
    length = stride * int(next_fast_len(-(-needed // stride), real=True))
    return min(length, 2 * n) if boundary == "neumann" else length  # 2n: the images' own period


def extend(y: Tensor, dim: int, length: int, padding: int, boundary: str) -> Tensor:
    """Axis `dim` of y with its ghosts, on a ring of `length`; zeros are left to the FFT."""
    if boundary == "neumann":
        n = y.shape[dim]
        n_before = min(padding, n)
        image = y.flip(dim)
        beyond = image.narrow(dim, 0, length - n - n_before)
        return torch.cat([y, beyond, image.narrow(dim, n - n_before, n_before)], dim)
    if boundary == "replicate":
        n = y.shape[dim]
        sizes = list(y.shape)
        sizes[dim] = length - n - padding
        beyond = y.narrow(dim, n - 1, 1).expand(sizes)
        sizes[dim] = padding
        before = y.narrow(dim, 0, 1).expand(sizes)
        return torch.cat([y, beyond, before], dim)
    return y


def fold(ring: Tensor, dim: int, n: int, padding: int, boundary: str) -> Tensor:
    """Transpose of `extend` (with the FFT's zeros): ring values added up on the n points."""
    points = ring.narrow(dim, 0, n)
    length = ring.shape[dim]
    if boundary == "neumann":
        n_before = min(padding, n)
        n_beyond = length - n - n_before
        sizes = list(ring.shape)
        sizes[dim] = n - n_before - n_beyond
        parts = [
            ring.narrow(dim, n, n_beyond),
            ring.new_zeros(sizes),
            ring.narrow(dim, length - n_before, n_before),
        ]
        return points + torch.cat(parts, dim).flip(dim)
    if boundary == "replicate":
        before = ring.narrow(dim, length - padding, padding).sum(dim, keepdim=True)
        beyond = ring.narrow(dim, n, length - padding - n).sum(dim, keepdim=True)
        if n == 1:
            return points + before + beyond
        inner = points.narrow(dim, 1, n - 2)
        first = points.narrow(dim, 0, 1) + before
        last = points.narrow(dim, n - 1, 1) + beyond
        return torch.cat([first, inner, last], dim)
    return points
