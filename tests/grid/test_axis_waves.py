"""Waves along axes against fields whose derivatives are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from pyro_msde.grid import Grid, waves_of

PI = np.pi
# kind of boundary, its length, a field of few waves, and its first and third derivative
FIELDS: dict[str, tuple[float, Callable[..., Any], Callable[..., Any], Callable[..., Any]]] = {
    "periodic": (
        10.0,
        lambda x: np.sin(0.2 * PI * x) + 0.5 * np.cos(0.6 * PI * x) + 0.3,
        lambda x: 0.2 * PI * np.cos(0.2 * PI * x) - 0.3 * PI * np.sin(0.6 * PI * x),
        lambda x: (
            -((0.2 * PI) ** 3) * np.cos(0.2 * PI * x) + 0.5 * (0.6 * PI) ** 3 * np.sin(0.6 * PI * x)
        ),
    ),
    "dirichlet": (
        1.0,
        lambda x: np.sin(PI * x) + 0.5 * np.sin(3 * PI * x),
        lambda x: PI * np.cos(PI * x) + 1.5 * PI * np.cos(3 * PI * x),
        lambda x: -(PI**3) * np.cos(PI * x) - 13.5 * PI**3 * np.cos(3 * PI * x),
    ),
    "antisymmetric": (
        1.0,
        lambda x: np.sin(2 * PI * x),
        lambda x: 2 * PI * np.cos(2 * PI * x),
        lambda x: -((2 * PI) ** 3) * np.cos(2 * PI * x),
    ),
    "neumann": (
        1.0,
        lambda x: np.cos(PI * x) + 0.5 * np.cos(3 * PI * x) + 0.2,
        lambda x: -PI * np.sin(PI * x) - 1.5 * PI * np.sin(3 * PI * x),
        lambda x: PI**3 * np.sin(PI * x) + 13.5 * PI**3 * np.sin(3 * PI * x),
    ),
}


@pytest.mark.parametrize("boundary", FIELDS)
@pytest.mark.parametrize(("points", "coarse"), [(96, 24), (75, 15)])
def test_products_and_derivatives_are_those_of_the_smoothed_field(
    boundary: str, points: int, coarse: int
) -> None:
    """T_r of u, u u_x and u_xxx from T_r u alone, with all that κ does near the walls."""
    length, u, u_x, u_xxx = FIELDS[boundary]
    grid = Grid(points, coarse, boundary=boundary, upper=length)
    kernel = grid.kernel("lanczos", 5).double()
    restrict = grid.operators(kernel).restrict
    line = kernel[0].numpy()
    (along,) = waves_of(grid, 2) or ()
    x = grid.coordinates[0]

    def coarse_of(values: Any) -> Any:
        return restrict(torch.as_tensor(values)[None])[0].numpy()

    zeta = coarse_of(u(x))
    between = along.refined(line) @ zeta
    for order, even, product, expected in (
        (0, False, between, u(x)),
        (1, False, between, u_x(x)),
        (3, False, between, u_xxx(x)),
        (1, True, 0.5 * between**2, u(x) * u_x(x)),
    ):
        mirrored = even or boundary == "neumann"
        found = along.derivative(order, line, mirrored) @ product
        wanted = coarse_of(expected)
        assert found == pytest.approx(wanted, abs=1e-9 * np.abs(wanted).max())


def test_amplitudes_come_back() -> None:
    """Analysis undoes synthesis, on an axis of an even and of an odd number of points."""
    for coarse in (8, 9):
        (along,) = waves_of(Grid(72, coarse, boundary="dirichlet"), 2) or ()
        line = np.ones(1)
        both = along.analysis(line) @ along.synthesis(line)
        assert both == pytest.approx(np.eye(coarse), abs=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {"boundary": "replicate"},
        {"boundary": [("dirichlet", "neumann")]},
        {"boundary": {0: "dirichlet", 1: "neumann"}, "channels": 2},
        {"mask": np.arange(32) > 3},
        {"boundary": "neumann", "shape": 31},  # padded
    ],
)
def test_other_grids_have_no_waves(options: Any) -> None:
    """None says so."""
    shape = options.pop("shape", 32)
    assert waves_of(Grid(shape, 8, **options), 2) is None
