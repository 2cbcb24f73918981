"""Kuramoto–Sivashinsky case: 512 grid points → 32 coarse points + n_η microscale states."""

from __future__ import annotations

from typing import Any

from pyro_msde.checks import check_whole
from pyro_msde.grid import Grid
from pyro_msde.models.builder import multiscale
from pyro_msde.models.general import Multiscale
from pyro_msde.runs import register

__all__ = ["ks"]


@register("ks")
def ks(n_eta: int = 0, *, n_coarse: int = 32, **options: Any) -> Multiscale:
    """Model of u_t = −u u_x − u_xx − u_xxxx on [0, 22), periodic, 512 points.

    Args:
        n_eta: Microscale states.
        n_coarse: Coarse points; divides 512.
        **options: Of `multiscale`.

    Raises:
        ValueError: As `multiscale`.
    """
    check_whole("n_coarse", n_coarse, 1)
    grid = Grid(512, n_coarse, boundary="periodic", lower=0.0, upper=22.0)
    return multiscale(grid, n_eta=n_eta, **options)
