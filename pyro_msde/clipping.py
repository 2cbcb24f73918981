"""Gradients kept to a multiple of their usual length.

After one outlier Adam would move every parameter, variances above all.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

__all__ = ["GradientClipping"]

_MEMORY = 0.02  # share of the latest gradient in the running average of their lengths


class GradientClipping:
    """Shortens gradients to at most `factor` times a running average of their lengths.

    Args:
        factor: Multiple of the usual length.

    Attributes:
        usual: The running average; None before the first gradient, which is left as it is.
    """

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self.usual: Tensor | None = None

    @torch.no_grad()
    def __call__(self, parameters: Iterable[nn.Parameter]) -> None:
        """Scale the gradients in place, all alike; no number leaves the device."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        length = torch.stack([g.norm() for g in gradients]).norm()
        usual = length if self.usual is None else self.usual.to(length.device)
        kept = torch.minimum(length, self.factor * usual)
        for g in gradients:
            g.mul_(kept / length.clamp(min=torch.finfo(length.dtype).tiny))
        self.usual = usual + _MEMORY * (kept - usual)
