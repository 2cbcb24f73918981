"""Length scale and noise of a deep kernel by leaving encoded snapshots out, one at a time.

The ELBO prefers smooth paths while the drift is not learned yet: a kernel trained by it may smooth
what the snapshots say, and rates of change are then wrong by several percent. A Gaussian process
predicts its i-th value from the others with the error [K⁻¹ y]_i / [K⁻¹]_ii (Rasmussen & Williams
2006, eq. 5.12), so that the kernel can be chosen by what interpolates best.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pyro_msde.guides.interpolation import DeepKernel, Interpolant

__all__ = ["choose_kernel", "leave_one_out_error"]

_LENGTHS = (0.18, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)  # multiples of the length scale as it is
_NOISES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-8)  # beside the noise as it is


def leave_one_out_error(
    kernel: DeepKernel, times: Tensor, values: Tensor, *, rough: bool = False
) -> float:
    """Sum of the squared errors of values (time, state) predicted from the other times' (time,)."""
    inverse = torch.cholesky_inverse(Interpolant(kernel, times, rough=rough).chol)
    errors = (inverse @ values.double()) / inverse.diagonal()[:, None]
    return float(errors.square().sum())


@torch.no_grad()
def choose_kernel(
    kernel: DeepKernel, segments: Sequence[tuple[Tensor, Tensor]], *, rough: bool = False
) -> None:
    """Set length scale and noise, in place, to the best of a grid around what they are.

    Args:
        kernel: Whose warp of time is left alone.
        segments: Times (time,) float64 and encoded snapshots (time, state) of each.
        rough: Of paths that are noisy between snapshots, as of an `Interpolant`.
    """
    length, noise = float(kernel.log_lengthscale), float(kernel.log_noise)
    lengths = [length + math.log(factor) for factor in _LENGTHS]
    noises = [noise, *map(math.log, _NOISES)]

    def error(pair: tuple[float, float]) -> float:
        kernel.log_lengthscale.fill_(pair[0])
        kernel.log_noise.fill_(pair[1])
        return sum(leave_one_out_error(kernel, *segment, rough=rough) for segment in segments)

    best = min([(length, noise), *itertools.product(lengths, noises)], key=error)
    kernel.log_lengthscale.fill_(best[0])
    kernel.log_noise.fill_(best[1])
