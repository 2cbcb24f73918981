"""Korteweg–de Vries case: 1000 grid points → 20 coarse points + n_η microscale states."""

from __future__ import annotations

from typing import Any

from pyro_msde.checks import check_whole
from pyro_msde.grid import Grid
from pyro_msde.models.builder import multiscale
from pyro_msde.models.general import Multiscale
from pyro_msde.runs import register

__all__ = ["kdv"]


@register("kdv")
def kdv(n_eta: int = 5, *, n_coarse: int = 20, **options: Any) -> Multiscale:
    """Model of u_t = −u u_x − ν u_xxx on [0, 10), periodic, 1000 points.

    Args:
        n_eta: Microscale states.
        n_coarse: Coarse points; divides 1000.
        **options: Of `multiscale`: architecture="published" for the paper's networks, and others.

    Raises:
        ValueError: As `multiscale`.
    """
    check_whole("n_coarse", n_coarse, 1)
    grid = Grid(1000, n_coarse, boundary="periodic", lower=0.0, upper=10.0)
    return multiscale(grid, n_eta=n_eta, **options)
