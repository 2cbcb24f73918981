"""Coarse and fine grids, neighbours on the coarse one, operators between the two."""

from __future__ import annotations

from pyro_msde.grid.boundaries import BOUNDARIES
from pyro_msde.grid.coordinates import check_on_grid
from pyro_msde.grid.graphs import (
    GraphOperators,
    SensorGraph,
    graph_kernel,
    operators_between,
)
from pyro_msde.grid.grids import Grid, sizes_of
from pyro_msde.grid.neighbours import Stencil, adjacency_table, neighbour_table
from pyro_msde.grid.operators import ScaleOperators, gaussian_kernel, lanczos_kernel

__all__ = [
    "BOUNDARIES",
    "GraphOperators",
    "Grid",
    "ScaleOperators",
    "SensorGraph",
    "Stencil",
    "adjacency_table",
    "check_on_grid",
    "gaussian_kernel",
    "graph_kernel",
    "lanczos_kernel",
    "neighbour_table",
    "operators_between",
    "sizes_of",
]
