"""A variance of fields that follows the state: larger, or smaller, where the macroscale is steep.

    Σ_y(x; z) = Σ_y(x) Π_k (1 + |∇m_k(x)|²/s_k²)^(b_k),        m = T_p ζ,

|∇m| the change over one coarse spacing. A front that is a little off its place errs by |∇m| times
that, so that the variance has its square added, b = 1. b starts at zero: at the constant variance.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pyro_msde.protocols import Places

__all__ = ["FrontVariance"]


class FrontVariance(nn.Module):
    """The factor by which the state changes the variance of both experts, hence Σ_y.

    The share of the experts stays what it is: S_ζ and S_η are not separately identified.

    Args:
        places: Grid of the fields.

    Attributes:
        power: (channel, channel) b, of the variance of the first in the gradient of the second.
        log_size: (channel,) log s, in scaled units.

    Raises:
        ValueError: Sensors on a graph, which have no gradients.
    """

    def __init__(self, places: Places) -> None:
        super().__init__()
        if not places.regular:
            raise ValueError("expert_variance='front': a graph has no gradients. Choose 'point'.")
        self.stride, self.periodic = places.stride, places.periodic
        self.power = nn.Parameter(torch.zeros(places.channels, places.channels))
        self.log_size = nn.Parameter(torch.zeros(places.channels))

    def forward(self, macro: Tensor) -> Tensor:
        """The factor at T_p ζ (..., channel, *space), shaped alike."""
        ndim = len(self.stride)
        squares = self.squared_gradient(macro)
        size = self.log_size.exp().reshape(-1, *(1,) * ndim)
        steep = (squares / size.square()).log1p()
        powers = self.power @ steep.flatten(-ndim)
        return powers.exp().unflatten(-1, macro.shape[-ndim:])

    def squared_gradient(self, macro: Tensor) -> Tensor:
        """|∇m|² by central differences, one-sided at ends, shaped as m."""
        ndim = len(self.stride)
        total = torch.zeros_like(macro)
        for axis, (stride, ring) in enumerate(zip(self.stride, self.periodic, strict=True), -ndim):
            n = macro.shape[axis]
            if n == 1:
                continue
            place = torch.arange(n, device=macro.device)
            after, before = (place + 1, place - 1)
            if ring:
                after, before, apart = after % n, before % n, torch.full_like(place, 2)
            else:
                after, before = after.clamp(max=n - 1), before.clamp(min=0)
                apart = after - before
            change = macro.index_select(axis, after) - macro.index_select(axis, before)
            spacings = (apart / stride).to(macro).reshape(-1, *(1,) * (-axis - 1))
            total = total + (change / spacings).square()
        return total
