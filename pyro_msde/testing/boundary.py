"""Whether a boundary, or a pair of them, keeps what grids and operators build on."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import torch

from pyro_msde.grid import Grid, gaussian_kernel
from pyro_msde.protocols import Boundary

__all__ = ["check_boundary"]

_CASES = ((15, 5), (9, 3), (6, 3), (3, 1))  # fine and coarse points; kernels reach beyond two ends
_ROUNDING = 1e-12  # of float64 sums of some hundred terms of size 1


def check_boundary(boundary: Any) -> None:
    """Try the boundary of one axis: a name, an object, or a pair (lower, upper) of them.

    It is equal to its copies; points lie inside the domain; the wall is where ghosts mirror the
    field, and not beyond the first ghost; convolution sees the ghosts that `ghosts` gives; T_p is
    adjoint to T_r, σ⟨T_r y, ζ⟩ = ⟨y, T_p ζ⟩; stencils see the same ghosts; the coarse grid's wall
    is the fine grid's. In float64 on small grids, under a second.

    Raises:
        ValueError: It is no boundary (`pyro_msde.Grid` says why).
        AssertionError: It breaks one of these.
    """
    for n, n_c in _CASES:
        grid = Grid(n, n_c, boundary=[boundary], lower=2.0, upper=5.0)
        advice = "a copy is not equal to it. Make it a frozen dataclass"
        _require(deepcopy(grid) == grid, grid, advice)
        _check_coordinates(grid)
        _check_operators(grid)
        _check_stencil(grid)
        if n // n_c % 2:  # cells of odd width have a point in the middle
            _check_coarse_wall(grid)
        if not grid.periodic[0]:  # a ring has no wall
            for end in (grid.ends[0][0].lower, grid.ends[0][0].upper):
                _check_wall(grid, end)


def _check_coordinates(grid: Grid) -> None:
    x, (low,), (high,) = grid.coordinates[0], grid.lower, grid.upper
    outside = (x < low) | (x > high) if grid.periodic[0] else (x <= low) | (x >= high)
    _require(
        bool((np.diff(x) > 0).all()) and not outside.any(),
        grid,
        f"points {x} are not in order inside ({low}, {high}). Give a positive wall",
    )


def _check_wall(grid: Grid, end: Boundary) -> None:
    """Fields that are even or odd about the wall go on as their mirror image, and only they do."""
    n = grid.shape[0]
    distance = np.arange(1, n)
    source, weight = (np.broadcast_to(x, n - 1) for x in end.ghosts(distance, n))
    seen = weight != 0  # an odd field is zero on the wall itself
    apart = (distance - source)[seen]
    if len(apart) > 1 and np.ptp(apart) == 0 and set(weight[seen]) in ({1.0}, {-1.0}):
        _require(
            end.wall == apart[0] / 2,
            grid,
            f"wall is {end.wall}, but ghosts mirror the field about {apart[0] / 2}. Give that as "
            "the wall, half of distance − source",
        )
    _require(
        end.wall <= 1,
        grid,
        f"wall is {end.wall}, so that the ghost at distance 1 lies inside the domain. Give a wall "
        "of 1 at most: the grid has a point at every spacing up to the wall",
    )


def _check_operators(grid: Grid) -> None:
    """Smoothing is a plain sum over ghosts, prolongation the adjoint of restriction."""
    (n,), (n_c,) = grid.shape, grid.coarse
    generator = torch.Generator().manual_seed(n)
    kernel = gaussian_kernel(grid, 2, dtype=torch.float64)
    kernel = kernel * torch.rand(kernel.shape, generator=generator, dtype=torch.float64)
    y = torch.randn(1, n, generator=generator, dtype=torch.float64)
    zeta = torch.randn(1, n_c, generator=generator, dtype=torch.float64)
    operators, half = grid.operators(kernel), kernel.shape[-1] // 2
    padded = _extended(grid, y[0].numpy(), half)
    expected = np.correlate(padded, kernel[0].numpy(), mode="valid")
    error = np.abs(operators.smooth(y)[0].numpy() - expected).max()
    advice = "Let `ghosts` depend on nothing but its arguments"
    _require(error < _ROUNDING, grid, f"smoothing errs by {error:.1e}. {advice}")
    coarse = float((operators.restrict(y) * zeta).sum()) * grid.stride[0]
    fine = float((operators.prolong(zeta) * y).sum())
    wrong = f"σ⟨T_r y, ζ⟩ = {coarse:.6g}, but ⟨y, T_p ζ⟩ = {fine:.6g}. {advice}"
    _require(abs(coarse - fine) < n * _ROUNDING, grid, wrong)


def _check_stencil(grid: Grid) -> None:
    """The neighbours of coarse points are windows of the extended coarse field."""
    (n,), q = grid.coarse, 2
    zeta = np.random.default_rng(n).standard_normal(n)
    rows = grid.stencil(q)(torch.as_tensor(zeta)[None]).numpy()
    windows = np.lib.stride_tricks.sliding_window_view(_extended(grid, zeta, q), 2 * q + 1)
    _require(
        bool((rows == windows).all()),
        grid,
        "stencils see other ghosts than convolutions do. "
        "Let `ghosts` depend on nothing but its arguments",
    )


def _check_coarse_wall(grid: Grid) -> None:
    """A field that is constant in coarse cells has the same ghosts on both grids."""
    (n,), (n_c,), (stride,) = grid.shape, grid.coarse, grid.stride
    zeta = np.random.default_rng(n).standard_normal(n_c)
    cell = (np.arange(n) + stride // 2 - grid.offset[0]) // stride % n_c
    fine = _extended(grid, zeta[cell], 2 * stride)
    first = grid.offset[0] + 2 * stride
    beyond = [first - stride, first + n_c * stride]
    coarse = _extended(grid, zeta, 1)[[0, -1]]
    _require(
        bool(np.allclose(fine[beyond], coarse, rtol=1e-12, atol=1e-12)),
        grid,
        f"the coarse grid's ghosts are {coarse}, the fine grid's {fine[beyond]} in the same "
        "places: their walls differ. Mirror half a spacing beyond the end point: let the "
        "source be distance − 1",
    )


def _extended(grid: Grid, y: np.ndarray[Any, Any], count: int) -> np.ndarray[Any, Any]:
    """The values y with `count` ghosts on either side."""
    source, weight = grid.ends[0][0].sources(np.arange(-count, len(y) + count), len(y))
    extended: np.ndarray[Any, Any] = weight * y[source]
    return extended


def _require(holds: bool, grid: Grid, what: str) -> None:
    if not holds:
        raise AssertionError(f"boundary {grid.boundary[0]!r} with {grid.shape[0]} points: {what}.")
