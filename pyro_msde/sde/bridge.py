"""The bridge: how far a path strays between times at which its marginals are given.

Between neighbouring times t_i < t < t_{i+1}, a distance Δ apart, a path with diffusion C that is
pinned at both has, to first order in Δ, the variance

    C (t − t_i)(t_{i+1} − t)/Δ = C Δ τ (1 − τ),     with the rate C (1 − 2τ),     τ = (t − t_i)/Δ.

Variances that are interpolated between the times have none of it. Then a guide cannot hold the
posterior of a noisy path, and the drift residual has nothing in it by which noise is recognised;
with it, the residual of a pinned interval contains ½ log(CΔ/s), s the variance at its ends, so that
the ELBO is largest where C is the variance of what the drift does not explain (`docs/method.md`).
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["bridge"]


def bridge(nodes: Tensor, at: Tensor, diffusion: Tensor) -> tuple[Tensor, Tensor]:
    """Variance between nodes and its rate, each (..., q, latent) of the diffusion's dtype.

    At the nodes both are zero: the rate jumps there from −C to C. Beyond them likewise.

    Args:
        nodes: (..., m) float64, increasing.
        at: (..., q) float64, times.
        diffusion: (latent,) diagonal of C.
    """
    right = torch.searchsorted(nodes, at.contiguous(), right=True).clamp(1, nodes.shape[-1] - 1)
    start, end = nodes.gather(-1, right - 1), nodes.gather(-1, right)
    share = ((at - start) / (end - start)).clamp(0, 1)
    spread = (end - start) * share * (1 - share)
    rate = torch.where(spread > 0, 1 - 2 * share, 0.0)
    both = (x.to(diffusion.dtype)[..., None] * diffusion for x in (spread, rate))
    return tuple(both)  # type: ignore[return-value]
