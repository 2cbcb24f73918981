from __future__ import annotations

import numpy as np
import torch

from benchmarks.oracle import projections_on
from pyro_msde import Grid
from pyro_msde.grid import ScaleOperators, lanczos_kernel


def test_around_a_solid_what_coarse_points_say_is_kept():
    """Of channels with walls of their own, on the points that have a field."""
    mask = np.ones((16, 12), bool)
    mask[5:8, 4:6] = False
    grid = Grid((16, 12), (4, 3), channels=2, boundary={0: "neumann", 1: "dirichlet"}, mask=mask)
    rng = np.random.default_rng(0)
    zeta = torch.as_tensor(rng.standard_normal((5, grid.num_zeta)))
    operators = ScaleOperators(lanczos_kernel(grid, 5, torch.float64), grid)
    reference = np.array([1.0, 0.0])[:, None, None]
    y = operators.prolong(grid.unflatten(zeta)).numpy() + reference
    y[:, :, ~mask] = np.nan
    project = projections_on(grid, reference)["lanczos"]
    np.testing.assert_allclose(project(y), y, atol=1e-10)  # rounding
    rough = np.where(np.isnan(y), np.nan, rng.standard_normal(y.shape))
    rest = np.nan_to_num(rough - project(rough))
    kept = np.nan_to_num(project(rough) - reference)
    assert abs((rest * kept).sum()) < 1e-8 * (rest**2).sum()  # orthogonal
