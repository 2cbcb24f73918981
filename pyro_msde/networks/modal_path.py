"""A linear drift among a few modes of the macroscale state, as a linear inverse model has it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ModalPath"]


class ModalPath(nn.Module):
    """Vᵀ A V (ζ − m), and decay at a rate ρ of what the modes V lack.

        γ(ζ) = Vᵀ (A + ρ) V (ζ − m) − ρ (ζ − m)

    It holds what a stencil cannot see, such as what the tropics do to the rest. Zero until `start`.

    Args:
        num_zeta: Macroscale states.
        rank: Modes, at most.
    """

    modes: Tensor
    mean: Tensor
    rate: Tensor

    def __init__(self, num_zeta: int, rank: int) -> None:
        super().__init__()
        self.register_buffer("modes", torch.zeros(rank, num_zeta))
        self.register_buffer("mean", torch.zeros(num_zeta))
        self.register_buffer("rate", torch.zeros(()))
        self.linear = nn.Parameter(torch.zeros(rank, rank))

    @property
    def started(self) -> bool:
        """Whether it has modes."""
        return bool(self.modes.any())

    @torch.no_grad()
    def start(self, modes: Tensor, mean: Tensor, linear: Tensor, rate: float) -> None:
        """Let it have the modes (k, n_ζ), orthonormal, with A (k, k), k at most its rank."""
        count = len(modes)
        self.modes.zero_()[:count] = modes
        self.mean.copy_(mean)
        self.rate.fill_(rate)
        self.linear.zero_()[:count, :count] = linear

    def forward(self, zeta: Tensor) -> Tensor:
        """Drift, shaped as ζ (..., n_ζ)."""
        away = zeta - self.mean
        along = away @ self.modes.mT
        among: Tensor = along @ self.linear.mT + self.rate * along
        return among @ self.modes - self.rate * away
