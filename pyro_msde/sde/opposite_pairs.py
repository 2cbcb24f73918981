"""Draws of a symmetric law in opposite pairs, whose mean errs less than that of independent ones.

What is linear in them has its mean exactly (antithetic variates, Hammersley & Morton 1956).
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["in_opposite_pairs", "opposites"]


def in_opposite_pairs(half: Tensor, count: int) -> Tensor:
    """(count, ...) of draws (⌈count/2⌉, ...) each followed by its opposite, the last maybe not."""
    return torch.stack([half, -half], 1).flatten(0, 1)[:count]


def opposites(count: int, block: int = 1) -> Tensor:
    """(count,) which sample is the opposite of each, itself if none is.

    Args:
        count: Samples, in blocks of which each second one is the opposite of that before.
        block: Samples of a block.
    """
    index = torch.arange(count)
    other = (index // block ^ 1) * block + index % block
    return torch.where(other < count, other, index)
