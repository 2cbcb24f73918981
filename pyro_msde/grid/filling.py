"""Gaps of fields filled by what the coarse grid resolves of the rest, and what is left smoothly.

With M the projection on what was observed and T_p the prolongation with a Lanczos kernel,

    ζ = argmin ‖M (y − T_p ζ)‖² + λ σ^d ‖ζ‖²,
    r = argmin ‖r‖² + σ² Σ_neighbours (r_i − r_j)²  where M r = M (y − T_p ζ),    ŷ = T_p ζ + r,

both by conjugate gradients, or with factorised matrices where many fields have the same few gaps,
such as a solid body. Normalised convolution S(m y)/S(m) would divide by numbers near zero
inside gaps: this kernel has negative parts. λ keeps states that nothing was seen of near zero,
which is the reference in scaled units. r is of scales that the coarse grid does not resolve:
without it, steep fronts are filled ten times worse where single points are missing.

How deep within a gap a point lies, w = 0 where it was observed and near 1 far from all that was, is
the solution of w − σ² Δw = 1: in narrow gaps it grows as the square of their width, as does the
error of what is filled in.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyro_msde.grid.kernels import lanczos_kernel
from pyro_msde.grid.operators import ScaleOperators

if TYPE_CHECKING:
    from pyro_msde.grid.grids import Grid

__all__ = ["depth", "depth_on_graph", "filled", "filled_on_graph"]

# λ, and the kernel's radius in coarse spacings: `benchmarks.studies.filling` compares others
_RIDGE = 1e-2
_RADIUS = 4
_ITERATIONS, _TOLERANCE = 60, 1e-4
_MOST_UNKNOWNS = 2048  # of which a matrix is factorised
_USUAL_ITERATIONS = 10  # as many, or more, would be taken without one


@torch.no_grad()
def filled(grid: Grid, fields: Tensor, observed: Tensor) -> Tensor:
    """ŷ, shaped as the fields.

    Args:
        grid: Fine and coarse grid.
        fields: (..., channel, *space) scaled anomalies.
        observed: Where they are given, shaped alike.
    """
    operators = _operators(grid, fields.dtype, fields.device)
    seen = _in_common(observed, grid.ndim + 1)

    def normal(zeta: Tensor) -> Tensor:
        """T_pᵀ M T_p ζ / σ^d + λ ζ, where T_pᵀ = σ^d T_r."""
        return operators.restrict(operators.prolong(zeta) * seen) + _RIDGE * zeta

    right = operators.restrict(fields * observed)
    every = _in_common(torch.ones_like(right, dtype=torch.bool), grid.ndim + 1)
    if seen.ndim > grid.ndim + 1:  # an operator for each field
        every = every.expand_as(right)
    zeta = _solution(normal, right, every, grid.ndim + 1)
    resolved = operators.prolong(zeta)
    known = torch.where(observed, fields - resolved, 0)
    rest = _extended(partial(_screened, grid), known, observed, 0.0, grid.ndim + 1)
    return torch.where(observed, fields, resolved + rest)


@torch.no_grad()
def depth(grid: Grid, observed: Tensor, dtype: torch.dtype) -> Tensor:
    """Depth w in [0, 1], shaped as `observed` (..., channel, *space), of a dtype."""
    known = torch.zeros_like(observed, dtype=dtype)
    return _extended(partial(_screened, grid), known, observed, 1.0, grid.ndim + 1).clamp(0, 1)


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
    known = torch.where(observed, fields, 0)
    return _extended(_screened_on_graph(edges, weights, known), known, observed, 0.0, 2)


@torch.no_grad()
def depth_on_graph(edges: Tensor, weights: Tensor, observed: Tensor, dtype: torch.dtype) -> Tensor:
    """As `depth`, of nodes (..., channel, node); a gap is deep beyond 1/√λ edges."""
    known = torch.zeros_like(observed, dtype=dtype)
    operator = _screened_on_graph(edges, weights, known)
    return _extended(operator, known, observed, _RIDGE, 2).clamp(0, 1)


def _extended(
    operator: Callable[[Tensor], Tensor], known: Tensor, observed: Tensor, source: float, axes: int
) -> Tensor:
    """Solution of A x = source in the gaps; elsewhere x is as known, which is zero in gaps."""
    gaps = ~_in_common(observed, axes)
    right = (source - operator(known)) * gaps
    x = _solution(lambda x: operator(x * gaps) * gaps, right, gaps, axes)
    return torch.where(observed, known, x)


def _screened(grid: Grid, x: Tensor) -> Tensor:
    """Values x − σ² Δx, where nothing flows through the ends of axes that are no rings."""
    total = x
    axes = zip(range(-grid.ndim, 0), grid.periodic, grid.stride, strict=True)
    for dim, periodic, stride in axes:
        flow = stride**2 * (x.roll(-1, dim) - x)
        if not periodic:
            flow.narrow(dim, -1, 1).zero_()
        total = total - flow + flow.roll(1, dim)
    return total


def _screened_on_graph(edges: Tensor, weights: Tensor, like: Tensor) -> Callable[[Tensor], Tensor]:
    """The function from x to λ x and the weighted differences along edges."""
    i, j = edges.to(like.device)
    w = weights.to(like)

    def screened(x: Tensor) -> Tensor:
        pull = w * (x[..., i] - x[..., j])
        return (_RIDGE * x).index_add(-1, i, pull).index_add(-1, j, -pull)

    return screened


@lru_cache(maxsize=8)
def _operators(grid: Grid, dtype: torch.dtype, device: torch.device) -> ScaleOperators:
    return ScaleOperators(lanczos_kernel(grid, _RADIUS, dtype).to(device), grid)


def _in_common(observed: Tensor, axes: int) -> Tensor:
    """What was observed (*last axes) of all fields alike; as it is where they differ."""
    rows = observed.flatten(0, -axes - 1) if observed.ndim > axes else observed[None]
    return rows[0] if bool((rows == rows[0]).all()) else observed


def _solution(
    normal: Callable[[Tensor], Tensor], right: Tensor, unknown: Tensor, axes: int
) -> Tensor:
    """Solution of a positive definite system, each row (..., *last axes) by itself.

    Args:
        normal: The symmetric operator, rows to rows.
        right: Right-hand sides, zero where nothing is unknown.
        unknown: Where the unknowns are: (*last axes) if the operator is the same for all rows, else
            shaped as these.
        axes: Of a row.
    """
    if unknown.ndim > axes or right.ndim == axes:
        return _conjugate_gradients(normal, right, axes)
    rows = right.reshape(-1, unknown.numel())
    index = unknown.flatten().nonzero()[:, 0]
    if not 0 < len(index) <= min(_USUAL_ITERATIONS * len(rows), _MOST_UNKNOWNS):
        return _conjugate_gradients(normal, right, axes)
    units = rows.new_zeros(len(index), unknown.numel())
    units[torch.arange(len(index)), index] = 1
    matrix = normal(units.unflatten(-1, unknown.shape)).flatten(1)[:, index].double()
    found = torch.cholesky_solve(rows[:, index].mT.double(), torch.linalg.cholesky(matrix))
    return torch.zeros_like(rows).index_copy(1, index, found.mT.to(rows)).view_as(right)


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
