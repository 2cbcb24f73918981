"""A linear drift among a few modes of the macroscale state, as a linear inverse model has it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["ModalPath"]


class ModalPath(nn.Module):
    """Vᵀ A V (ζ − m), and decay of what the modes V lack, of each state at a rate of its own.

        γ(ζ, u) = Vᵀ [A V (ζ − m) + B u] − ρ (1 − Vᵀ V) (ζ − m),      ρ = diag(ρ_1, …)

    u are controls, if there are any.
    It holds what a stencil cannot see, such as what the tropics do to the rest. Zero until `start`.

    Args:
        num_zeta: Macroscale states.
        rank: Modes, at most.
        num_controls: Length of u.
    """

    modes: Tensor
    mean: Tensor
    rates: Tensor

    def __init__(self, num_zeta: int, rank: int, num_controls: int = 0) -> None:
        super().__init__()
        self.register_buffer("modes", torch.zeros(rank, num_zeta))
        self.register_buffer("mean", torch.zeros(num_zeta))
        self.register_buffer("rates", torch.zeros(num_zeta))
        self.linear = nn.Parameter(torch.zeros(rank, rank))
        self.forced = nn.Parameter(torch.zeros(rank, num_controls)) if num_controls else None

    @property
    def started(self) -> bool:
        """Whether anything decays."""
        return bool(self.rates.any())

    @torch.no_grad()
    def start(
        self,
        modes: Tensor,
        mean: Tensor,
        linear: Tensor,
        rates: Tensor,
        forced: Tensor | None = None,
    ) -> None:
        """Let it have k modes (k, n_ζ), orthonormal, k at most its rank, with A (k, k).

        Args:
            modes: (k, n_ζ); there may be none.
            mean: (n_ζ,).
            linear: (k, k).
            rates: (n_ζ,) positive.
            forced: B (k, c), if it takes controls.
        """
        count = len(modes)
        self.modes.zero_()[:count] = modes
        self.mean.copy_(mean)
        self.rates.copy_(rates)
        self.linear.zero_()[:count, :count] = linear
        if self.forced is not None and forced is not None:
            self.forced.zero_()[:count] = forced

    def forward(self, zeta: Tensor, controls: Tensor | None = None) -> Tensor:
        """Drift, shaped as ζ (..., n_ζ), under controls (..., c) if it takes any."""
        away = zeta - self.mean
        along = away @ self.modes.mT
        rest = away - along @ self.modes
        among: Tensor = along @ self.linear.mT
        if self.forced is not None and controls is not None:
            among = among + controls @ self.forced.mT
        return among @ self.modes - self.rates * rest
