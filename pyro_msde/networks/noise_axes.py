"""Axes of the path noise, which `fit` may choose for a model: C = Q diag(c) Qᵀ."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["NoiseAxes"]


class NoiseAxes(nn.Module):
    """Q of the macroscale states, whose noise may go together; others are axes themselves.

    Noise of a few large patterns is not that of so many points: spread evenly over these, it hardly
    moves the patterns. There are no axes until `start`.

    Args:
        num_zeta: Macroscale states.
    """

    axes: Tensor

    def __init__(self, num_zeta: int) -> None:
        super().__init__()
        self.register_buffer("axes", torch.zeros(num_zeta, num_zeta))

    @property
    def started(self) -> bool:
        """Whether there are any."""
        return bool(self.axes.any())

    @torch.no_grad()
    def start(self, axes: Tensor) -> None:
        """Let the axes be the columns of this orthogonal matrix (n_ζ, n_ζ)."""
        self.axes.copy_(axes)

    def forward(self, num_latent: int) -> Tensor | None:
        """Q (latent, latent); None: there are none."""
        if not self.started:
            return None
        return torch.block_diag(self.axes, torch.eye(num_latent - len(self.axes)).to(self.axes))
