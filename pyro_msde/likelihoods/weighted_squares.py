"""Weighted sums over time of squared errors, which a step spends less memory traffic on than torch.

    q(x) = Σ_i w_i (y_i(x) − μ_i(x))²,    ∂q(x)/∂μ_i(x) = 2 w_i (μ_i(x) − y_i(x)).

One array of the size of all snapshots is kept, the errors, and one is made for the derivative.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["weighted_squares"]


def weighted_squares(
    mean: Tensor, value: Tensor, weight: Tensor, observed: Tensor | None = None
) -> Tensor:
    """q, (..., channel, *space), differentiable once, in means and values.

    Args:
        mean: (..., time, channel, *space).
        value: Shaped alike.
        weight: (..., time).
        observed: Broadcasts against the mean: where to count errors. None: everywhere.
    """
    function: Any = _WeightedSquares
    squares: Tensor = function.apply(mean, value, weight, observed)
    return squares


class _WeightedSquares(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, mean: Tensor, value: Tensor, weight: Tensor, observed: Tensor | None
    ) -> Tensor:
        error = mean - value
        if observed is not None:
            error.masked_fill_(~observed, 0)
        ctx.save_for_backward(error, weight)
        time = weight.ndim - 1
        squares = torch.einsum("...t,...tx->...x", weight, error.square().flatten(time + 1))
        return squares.unflatten(-1, error.shape[time + 1 :])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        error, weight = ctx.saved_tensors
        time = weight.ndim - 1
        by_mean = error * grad.unsqueeze(time)
        by_mean *= 2 * weight.reshape(*weight.shape, *(1,) * (error.ndim - weight.ndim))
        return by_mean, -by_mean if ctx.needs_input_grad[1] else None, None, None
