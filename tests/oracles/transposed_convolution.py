"""Strided transposed convolution of centred kernels, one number at a time."""

from __future__ import annotations

import itertools

import numpy as np


def transposed_convolution(
    x: np.ndarray, weight: np.ndarray, stride: int, shape: tuple[int, ...], wrap: tuple[bool, ...]
) -> np.ndarray:
    """(out, *shape) from x (in, *coarse): each x spreads the kernel around stride × its place.

    Args:
        x: (in, *coarse).
        weight: (in, out, *kernel), odd lengths, centred.
        stride: Fine points a coarse point.
        shape: Fine points per axis.
        wrap: Per axis, whether what falls beyond an end comes in at the other; else it is lost.
    """
    fine = np.zeros((weight.shape[1], *shape))
    kernel = weight.shape[2:]
    for place in itertools.product(*(range(n) for n in x.shape[1:])):
        for tap in itertools.product(*(range(k) for k in kernel)):
            target = [stride * p + t - k // 2 for p, t, k in zip(place, tap, kernel, strict=True)]
            inside = [w or 0 <= i < n for i, n, w in zip(target, shape, wrap, strict=True)]
            if all(inside):
                at = tuple(i % n for i, n in zip(target, shape, strict=True))
                fine[(slice(None), *at)] += x[(slice(None), *place)] @ weight[(..., *tap)]
    return fine
