"""Burgers cases: 1000 points → 20 in one dimension, 128 × 128 → 8 × 8 in two."""

from __future__ import annotations

from typing import Any

from pyro_msde.checks import check_whole
from pyro_msde.grid import Grid
from pyro_msde.models.builder import multiscale
from pyro_msde.models.general import Multiscale
from pyro_msde.runs import register

__all__ = ["burgers1d", "burgers2d"]


@register("burgers1d")
def burgers1d(n_eta: int = 5, *, n_coarse: int = 20, **options: Any) -> Multiscale:
    """Model of u_t = −½ (u²)_x + ν u_xx on [0, 1), periodic, 1000 points.

    Args:
        n_eta: Microscale states.
        n_coarse: Coarse points; divides 1000.
        **options: Of `multiscale`: num_covariates=1 where ν differs between trajectories, and
            others.

    Raises:
        ValueError: As `multiscale`.
    """
    check_whole("n_coarse", n_coarse, 1)
    grid = Grid(1000, n_coarse, boundary="periodic")
    return multiscale(grid, n_eta=n_eta, **options)


@register("burgers2d")
def burgers2d(
    n_eta: int = 5, *, n_coarse: int = 8, boundary: str = "dirichlet", **options: Any
) -> Multiscale:
    """Model of u_t = −u (u_x₁ + u_x₂) + ν ∇²u on the unit square, zero on its walls.

    Args:
        n_eta: Microscale states.
        n_coarse: Coarse points per axis; divides 128.
        boundary: "dirichlet", the true one; "periodic" pads circularly, as the authors do.
        **options: Of `multiscale`.

    Raises:
        ValueError: As `multiscale`.
    """
    check_whole("n_coarse", n_coarse, 1)
    grid = Grid((128, 128), (n_coarse, n_coarse), boundary=boundary)
    return multiscale(grid, n_eta=n_eta, **options)
