"""A linear drift among a few modes of the macroscale state, as a linear inverse model has it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ModalPath"]


class ModalPath(nn.Module):
    """Vᵀ A V (ζ − m), and decay of what the modes V lack, of each state at a rate of its own.

        γ(ζ) = Vᵀ A V (ζ − m) − ρ (1 − Vᵀ V) (ζ − m),      ρ = diag(ρ_1, …)

    It holds what a stencil cannot see, such as what the tropics do to the rest. Zero until `start`.

    Args:
        num_zeta: Macroscale states.
        rank: Modes, at most.
    """

    modes: Tensor
    mean: Tensor
    rates: Tensor

    def __init__(self, num_zeta: int, rank: int) -> None:
        super().__init__()
        self.register_buffer("modes", torch.zeros(rank, num_zeta))
        self.register_buffer("mean", torch.zeros(num_zeta))
        self.register_buffer("rates", torch.zeros(num_zeta))
        self.linear = nn.Parameter(torch.zeros(rank, rank))

    @property
    def started(self) -> bool:
        """Whether anything decays."""
        return bool(self.rates.any())

    @torch.no_grad()
    def start(self, modes: Tensor, mean: Tensor, linear: Tensor, rates: Tensor) -> None:
        """Let it have k modes (k, n_ζ), orthonormal, k at most its rank, with A (k, k).

        Args:
            modes: (k, n_ζ); there may be none.
            mean: (n_ζ,).
            linear: (k, k).
            rates: (n_ζ,) positive.
        """
        count = len(modes)
        self.modes.zero_()[:count] = modes
        self.mean.copy_(mean)
        self.rates.copy_(rates)
        self.linear.zero_()[:count, :count] = linear

    def forward(self, zeta: Tensor) -> Tensor:
        """Drift, shaped as ζ (..., n_ζ)."""
        away = zeta - self.mean
        along = away @ self.modes.mT
        rest = away - along @ self.modes
        among: Tensor = along @ self.linear.mT
        return among @ self.modes - self.rates * rest
