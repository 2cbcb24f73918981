"""Gaps of fields filled by what the coarse grid resolves of the rest.

With M the projection on what was observed and T_p the prolongation with a Lanczos kernel,

    ζ = argmin ‖M (y − T_p ζ)‖² + λ σ^d ‖ζ‖²,        ŷ = M y + (1 − M) T_p ζ,

by conjugate gradients. Normalised convolution S(m y)/S(m) would divide by numbers near zero inside
gaps: this kernel has negative parts. λ keeps states that nothing was seen of near zero, which is
the reference in scaled units.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyro_msde.grid.kernels import lanczos_kernel
from pyro_msde.grid.operators import ScaleOperators

if TYPE_CHECKING:
    from pyro_msde.grid.grids import Grid

__all__ = ["filled", "filled_on_graph"]

_RIDGE = 1e-2  # λ
_RADIUS = 4  # of the kernel, in coarse spacings
_ITERATIONS, _TOLERANCE = 60, 1e-4


@torch.no_grad()
def filled(grid: Grid, fields: Tensor, observed: Tensor) -> Tensor:
    """ŷ, shaped as the fields.

    Args:
        grid: Fine and coarse grid.
        fields: (..., channel, *space) scaled anomalies.
        observed: Where they are given, shaped alike.
    """
    operators = _operators(grid, fields.dtype, fields.device)

    def normal(zeta: Tensor) -> Tensor:
        """T_pᵀ M T_p ζ / σ^d + λ ζ, where T_pᵀ = σ^d T_r."""
        return operators.restrict(operators.prolong(zeta) * observed) + _RIDGE * zeta

    zeta = _conjugate_gradients(normal, operators.restrict(fields * observed), grid.ndim + 1)
    return torch.where(observed, fields, operators.prolong(zeta))


@torch.no_grad()
def filled_on_graph(edges: Tensor, weights: Tensor, fields: Tensor, observed: Tensor) -> Tensor:
    """Fields on a graph with the gaps filled as smoothly as its edges allow.

    What is observed stays, and the rest is argmin Σ_edges w_ij (x_i − x_j)² + λ Σ_nodes x_i².

    Args:
        edges: (2, edge) nodes that are joined, each pair once.
        weights: (edge,) w, of size one.
        fields: (..., channel, node) scaled anomalies.
        observed: Where they are given, shaped alike.
    """
    i, j = edges.to(fields.device)
    weights = weights.to(fields)
    gaps = ~observed

    def normal(x: Tensor) -> Tensor:
        pull = weights * (x[..., i] - x[..., j])
        return (_RIDGE * x).index_add(-1, i, pull).index_add(-1, j, -pull)

    known = torch.where(observed, fields, 0)
    x = _conjugate_gradients(lambda x: normal(x * gaps) * gaps, -normal(known) * gaps, 2)
    return torch.where(observed, fields, x)


@lru_cache(maxsize=8)
def _operators(grid: Grid, dtype: torch.dtype, device: torch.device) -> ScaleOperators:
    return ScaleOperators(lanczos_kernel(grid, _RADIUS, dtype).to(device), grid)


def _conjugate_gradients(normal: Callable[[Tensor], Tensor], right: Tensor, axes: int) -> Tensor:
    """Solution of a positive definite system, each row (..., *last axes) by itself."""

    def product(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(tuple(range(-axes, 0)), keepdim=True)

    tiny = torch.finfo(right.dtype).tiny
    x = torch.zeros_like(right)
    residual = direction = right
    size = first = product(residual, residual)
    for _ in range(_ITERATIONS):
        if bool((size <= _TOLERANCE**2 * first).all()):
            break
        moved = normal(direction)
        step = size / product(direction, moved).clamp(min=tiny)
        x = x + step * direction
        residual = residual - step * moved
        before, size = size, product(residual, residual)
        direction = residual + size / before.clamp(min=tiny) * direction
    return x
