"""How an expert's errors at its points go together: networks from its variances to its precision.

Both are about the correlation alone, S⁻¹ = √v R √v: variances v have their own network, and their
optimum in closed form. They start without any correlation to speak of.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from pyro_msde.likelihoods.precisions import Dense, LowRank

__all__ = ["DenseCorrelation", "PatternCorrelation"]

_START = 0.3  # length of a pattern; none at all would be a saddle point


class PatternCorrelation(nn.Module):
    """R = I + V Vᵀ: some patterns of the whole field vary beyond what points do alone.

    v is then the variance without the patterns.

    Args:
        count: Number of values of a field.
        rank: Patterns.
    """

    def __init__(self, count: int, rank: int) -> None:
        super().__init__()
        self.patterns = nn.Parameter(torch.randn(count, rank) * (_START / math.sqrt(count)))

    def forward(self, variance: Tensor) -> LowRank:
        """S from v (channel, *space)."""
        return LowRank.of_patterns(variance.flatten(), self.patterns)


class DenseCorrelation(nn.Module):
    """R⁻¹ = L Lᵀ, L lower triangular with ones on its diagonal.

    Args:
        count: Number of values of a field; there are its square of parameters.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.lower = nn.Parameter(torch.zeros(count, count))

    def forward(self, variance: Tensor) -> Dense:
        """S from v (channel, *space)."""
        one = torch.eye(len(self.lower), dtype=torch.float64, device=variance.device)
        root = (self.lower.tril(-1) + one) * variance.flatten().double().rsqrt()[:, None]
        return Dense(root @ root.mT)
