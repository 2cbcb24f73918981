"""Coarse and fine grids, neighbours on the coarse one, operators between the two."""

from __future__ import annotations

from pyro_msde.grid.axis_waves import AxisWaves, waves_of
from pyro_msde.grid.boundaries import BOUNDARIES, BoundaryWords, ends_by_channel, ends_of
from pyro_msde.grid.coordinates import check_on_grid
from pyro_msde.grid.default_coarse import default_coarse
from pyro_msde.grid.graphs import SensorGraph
from pyro_msde.grid.grids import Grid, sizes_of
from pyro_msde.grid.kernels import gaussian_kernel, lanczos_kernel
from pyro_msde.grid.neighbour_sums import NeighbourSums
from pyro_msde.grid.neighbours import Stencil, adjacency_table, neighbour_table
from pyro_msde.grid.operators import ScaleOperators
from pyro_msde.grid.ordered_neighbours import GraphOperators
from pyro_msde.grid.padding import positions_at
from pyro_msde.grid.weighted_edges import ClusterOperators

__all__ = [
    "BOUNDARIES",
    "AxisWaves",
    "BoundaryWords",
    "ClusterOperators",
    "GraphOperators",
    "Grid",
    "NeighbourSums",
    "ScaleOperators",
    "SensorGraph",
    "Stencil",
    "adjacency_table",
    "check_on_grid",
    "default_coarse",
    "ends_by_channel",
    "ends_of",
    "gaussian_kernel",
    "lanczos_kernel",
    "neighbour_table",
    "positions_at",
    "sizes_of",
    "waves_of",
]
