"""What a drift sees of coarse points that have any number of neighbours each, in no order.

One network for all points needs as many inputs at each. Sums over neighbours, weighted by how
strongly these act, are as many everywhere, and the same however neighbours are numbered.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["NeighbourSums"]

_EQUAL = 1e-9  # relative spread of what coarse points have to their neighbours, if all are alike


class NeighbourSums(nn.Module):
    """Each coarse point beside sums over its neighbours: the input of the macroscale drift network.

    Of ζ come ζ_j itself; (A ζ)_j, (A² ζ)_j, … so many times as there are hops; and d_j ζ_j with
    d_j = Σ_k A_jk, unless all are alike: of the sums it makes differences, Σ_k A_jk (ζ_k − ζ_j).
    A is scaled so that d is one on average, over points that have neighbours.

    Attributes:
        num_coarse: Number of points.
        num_neighbours: Numbers for each point and channel.
        centre: Where among them each point finds itself.
    """

    centre = 0
    action: Tensor
    strength: Tensor | None

    def __init__(self, action: Tensor, hops: int) -> None:
        """Hold how strongly points act on each other.

        Args:
            action: A, (num_coarse, num_coarse) float64, without its scale.
            hops: How many times to sum over neighbours; 0: the points alone.
        """
        super().__init__()
        self.num_coarse, self.hops = len(action), hops
        d = action.sum(1)
        if bool(d.any()):
            mean = d[d > 0].mean()
            action, d = action / mean, d / mean
        alike = not hops or bool((d - d[0]).abs().max() <= _EQUAL)
        self.num_neighbours = 1 + hops + (not alike)
        # Rebuilt from the graph, hence not part of a saved state.
        self.register_buffer("action", action, persistent=False)
        self.register_buffer("strength", None if alike else d, persistent=False)

    def forward(self, zeta: Tensor) -> Tensor:
        """(..., num_coarse, channel·num_neighbours) from zeta (..., channel, num_coarse).

        Raises:
            ValueError: The last axis is not num_coarse long.
        """
        if zeta.shape[-1] != self.num_coarse:
            raise ValueError(
                f"zeta: last axis has {zeta.shape[-1]} points, the graph {self.num_coarse}"
            )
        seen = [zeta]
        for _ in range(self.hops):
            seen.append(seen[-1] @ self.action.to(zeta.dtype).mT)
        if self.strength is not None:
            seen.append(zeta * self.strength.to(zeta.dtype))
        return torch.stack(seen, -1).movedim(-3, -2).flatten(-2)
