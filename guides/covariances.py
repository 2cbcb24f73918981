"""Shapes of the encoder's covariance Σ_e: which states vary together, and whether it depends on y.

    Σ_e = Q diag(λ) Qᵀ,    log Σ(t) = Q diag(W(t) log λ) Qᵀ

Q is the same at all times, so that Σ(t) and its logarithm commute and Σ̇ is as simple. Without Q
states are independent.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

__all__ = ["COVARIANCES", "Rotation", "VarianceNetwork"]

# which states vary together, by sizes of the macroscale and the microscale state
COVARIANCES: dict[str, Callable[[int, int], list[int]]] = {
    "diagonal": lambda macro, micro: [],
    "block": lambda macro, micro: [size for size in (macro, micro) if size],
    "full": lambda macro, micro: [macro + micro],
}


class Rotation(nn.Module):
    """Orthogonal matrix Q = exp(A − Aᵀ), of independent blocks; the identity at the start.

    Args:
        blocks: Sizes of the blocks.
    """

    def __init__(self, blocks: list[int]) -> None:
        super().__init__()
        self.generators = nn.ParameterList(torch.zeros(size, size) for size in blocks)

    def forward(self) -> Tensor:
        """(n, n) float64: covariances are assembled in double precision."""
        lower = [A.double().tril(-1) for A in self.generators]
        return torch.block_diag(*(torch.linalg.matrix_exp(A - A.mT) for A in lower))


class VarianceNetwork(nn.Module):
    """log λ's deviation from its constant part, from the encoder's mean; zero at the start.

    Args:
        num_latent: n_ζ + n_η.
        width: Of the hidden layer.
    """

    def __init__(self, num_latent: int, width: int = 64) -> None:
        super().__init__()
        last = nn.Linear(width, num_latent)
        self.network = nn.Sequential(nn.Linear(num_latent, width), nn.SiLU(), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, mean: Tensor) -> Tensor:
        """Shaped as the mean (..., latent)."""
        deviation: Tensor = self.network(mean)
        return deviation
