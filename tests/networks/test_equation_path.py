"""Equations on coarse grids against right sides that are known; units, references, linear parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from pyro_msde.equations import Names, parsed
from pyro_msde.grid import Grid, waves_of
from pyro_msde.networks import EquationPath

PI = np.pi


def path_of(
    grid: Grid, text: str, *, covariates: int = 0, scale: float = 1.0, time: float = 1.0
) -> tuple[EquationPath, Any]:
    """A path for an equation in the user's units, and the grid's operators."""
    names = Names.usual(grid.channels, grid.ndim, covariates)
    rows = parsed(text, names)
    terms = tuple(dict.fromkeys(term for row in rows for term in row))
    kernel = grid.kernel("lanczos", 4).double()
    waves = waves_of(grid, max(term.degree for term in terms)) or ()
    path = EquationPath(grid, waves, terms, kernel.shape[1:], covariates).double()
    path.see_through(kernel, None)
    path.given = torch.tensor(
        [[row.get(term, 0.0) for term in terms] for row in rows], dtype=torch.float64
    )
    path.measure_in([scale] * grid.channels, time, [1.0] * covariates)
    return path, grid.operators(kernel)


def coarse(grid: Grid, operators: Any, values: Any) -> torch.Tensor:
    """T_r of fields (channel, *space), flat."""
    return grid.flatten(operators.restrict(torch.as_tensor(np.stack(values))))


def error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Largest, relative to the largest."""
    return float((found - wanted).abs().max() / wanted.abs().max())


def burgers_between_walls(x: Any, y: Any) -> tuple[Any, Any]:
    """A field that is zero on the walls, and −u (u_x + u_y) + .1 ∇²u."""
    u = np.sin(PI * x) * np.sin(2 * PI * y) + 0.3 * np.sin(2 * PI * x) * np.sin(PI * y)
    u_x = PI * np.cos(PI * x) * np.sin(2 * PI * y) + 0.6 * PI * np.cos(2 * PI * x) * np.sin(PI * y)
    u_y = 2 * PI * np.sin(PI * x) * np.cos(2 * PI * y) + 0.3 * PI * np.sin(2 * PI * x) * np.cos(
        PI * y
    )
    return u, -u * (u_x + u_y) - 0.5 * PI**2 * u


def test_two_dimensions_between_walls() -> None:
    """Burgers' equation; κ smooths, and sees zeros beyond the walls."""
    grid = Grid((64, 60), (16, 12), boundary="dirichlet")
    path, operators = path_of(grid, "u_t = -u*u_x - u*u_y + 0.1*u_xx + 0.1*u_yy")
    u, right = burgers_between_walls(*np.meshgrid(*grid.coordinates, indexing="ij"))
    assert error(path(coarse(grid, operators, [u])), coarse(grid, operators, [right])) < 1e-9


def test_two_channels_and_a_mixture_of_axes() -> None:
    """A ring and mirrors, products of both channels."""
    grid = Grid((48, 40), (12, 10), channels=2, boundary=["periodic", "neumann"])
    path, operators = path_of(grid, "u_t = (u*v)_x + u_yy; v_t = u^2 - 0.5*v + v_xx")
    x, y = np.meshgrid(*grid.coordinates, indexing="ij")
    u, v = np.sin(2 * PI * x) + np.cos(PI * y), np.cos(2 * PI * x)
    right = [
        2 * PI * np.cos(2 * PI * x) * v - 2 * PI * u * np.sin(2 * PI * x) - PI**2 * np.cos(PI * y),
        u**2 - 0.5 * v - 4 * PI**2 * v,
    ]
    assert error(path(coarse(grid, operators, [u, v])), coarse(grid, operators, right)) < 1e-9


RING = Grid(96, 24, boundary="periodic", upper=10.0)


def wave(x: Any) -> tuple[Any, Any]:
    """U and −u u_x + .3 u_xx."""
    k = 0.2 * PI
    u = np.sin(k * x) + 0.5 * np.cos(2 * k * x)
    u_x = k * np.cos(k * x) - k * np.sin(2 * k * x)
    return u, -u * u_x + 0.3 * (-(k**2) * np.sin(k * x) - 2 * k**2 * np.cos(2 * k * x))


@pytest.mark.parametrize(("scale", "time"), [(2.5, 1.0), (1.0, 40.0), (300.0, 0.01)])
def test_units_change_nothing(scale: float, time: float) -> None:
    """Scaled states, scaled time: the right side in these units."""
    path, operators = path_of(RING, "u_t = -u*u_x + 0.3*u_xx", scale=scale, time=time)
    u, right = wave(RING.coordinates[0])
    zeta = coarse(RING, operators, [u / scale])
    assert error(path(zeta), coarse(RING, operators, [right * time / scale])) < 1e-9


def test_the_reference_is_added_back() -> None:
    """Of u − r, r a field, the equation is that of u."""
    path, operators = path_of(RING, "u_t = -u*u_x + 0.3*u_xx", scale=2.0)
    x = RING.coordinates[0]
    u, right = wave(x)
    reference = 3 + 0.2 * np.cos(0.6 * PI * x)
    whole = operators.restrict(torch.as_tensor(reference)[None] / 2)
    path.see_through(RING.kernel("lanczos", 4).double(), whole)
    zeta = coarse(RING, operators, [(u - reference) / 2])
    assert error(path(zeta), coarse(RING, operators, [right / 2])) < 1e-9


def test_coefficients_times_covariates_differ_between_rows() -> None:
    """Rows (…, p) broadcast against the states'."""
    path, operators = path_of(RING, "u_t = -u*u_x + c1*u_xx", covariates=1)
    fixed, _ = path_of(RING, "u_t = -u*u_x + 0.3*u_xx")
    zeta = coarse(RING, operators, [wave(RING.coordinates[0])[0]]).expand(4, 2, 1, -1)
    found = path(zeta, torch.tensor([[0.3], [0.7]], dtype=torch.float64)[:, None])
    torch.testing.assert_close(found[:, 0], fixed(zeta)[:, 0])
    assert error(found[:, 1], found[:, 0]) > 0.1


GRIDS: list[Callable[[], Grid]] = [
    lambda: RING,
    lambda: Grid(75, 15, boundary="periodic"),
    lambda: Grid(64, 16, boundary="dirichlet"),
    lambda: Grid((24, 20), (8, 10), boundary=["periodic", "neumann"]),
    lambda: Grid((24, 20), (8, 10), boundary=["neumann", "periodic"]),
    lambda: Grid((24, 20), (8, 10), boundary="periodic"),
]


@pytest.mark.parametrize("make", GRIDS)
def test_the_linear_part_is_that_of_smooth_states(make: Callable[[], Grid]) -> None:
    """On states of few waves, of which κ sees no wall, it is the path of the linear terms."""
    grid = make()
    axes = "xy"[: grid.ndim]
    text = "u_t = -0.5*u + " + " + ".join(f"0.1*u_{a}{a}" for a in axes)
    path, _ = path_of(grid, text)
    line = [torch.ones(1, 1)] * grid.ndim  # no smoothing
    delta = torch.zeros(1, *path_kernel(grid))
    delta[(0, *(n // 2 for n in delta.shape[1:]))] = 1.0
    path.see_through(delta.double(), None)
    assert len(line) == grid.ndim
    z = torch.randn(3, 2, 1, grid.num_zeta, dtype=torch.float64)
    linear = path.linear_part(None, z)
    seen = linear.from_waves(linear.to_waves(z))
    torch.testing.assert_close(seen, z)
    found = linear.from_waves(linear.rates[:, None] * linear.to_waves(z))
    smooth = linear.from_waves(linear.to_waves(z))
    wanted = path(smooth)
    torch.testing.assert_close(linear.to_waves(found)[..., :3], linear.to_waves(wanted)[..., :3])


def path_kernel(grid: Grid) -> tuple[int, ...]:
    """Shape of the kernel that `path_of` has."""
    return tuple(grid.kernel("lanczos", 4).shape[1:])


def test_loading_other_coefficients_forgets_the_old_matrices() -> None:
    """What is cached belongs to what was loaded."""
    path, operators = path_of(RING, "u_t = -u*u_x + 0.3*u_xx")
    other, _ = path_of(RING, "u_t = -2*u*u_x + 0.1*u_xx")
    zeta = coarse(RING, operators, [wave(RING.coordinates[0])[0]])
    before = path(zeta)
    path.load_state_dict(other.state_dict())
    torch.testing.assert_close(path(zeta), other(zeta))
    assert error(path(zeta), before) > 0.1


def test_static_fields_and_controls_are_factors() -> None:
    """−(a u)_x − (b u)_y + c ν ∇²u in two dimensions, against T_r of the right side."""
    grid = Grid((48, 40), (16, 20), boundary="periodic", upper=(1.0, 2.0))
    names = Names.usual(1, 2, 2, 2)
    (row,) = parsed("u_t = -(s1*u)_x - (s2*u)_y + c2*u_xx + c2*u_yy + c1*u", names)
    terms = tuple(row)
    kernel = grid.kernel("lanczos", 4).double()
    waves = waves_of(grid, 2) or ()
    path = EquationPath(grid, waves, terms, kernel.shape[1:], 1, 1, 2).double()
    path.see_through(kernel, None)
    path.given = torch.tensor([[row[term] for term in terms]], dtype=torch.float64)
    path.measure_in([1.0], 1.0, [1.0], [(0.3, 2.0)])  # control 1.1 is .4 in scaled units
    x, y = np.meshgrid(*grid.coordinates, indexing="ij")
    a, b = 1 + 0.5 * np.cos(2 * PI * x), np.sin(PI * y)
    path.see_statics(np.stack([a, b]))
    u = np.sin(2 * PI * x) * np.cos(PI * y)
    au_x = -PI * np.sin(2 * PI * x) * u + a * 2 * PI * np.cos(2 * PI * x) * np.cos(PI * y)
    bu_y = PI * np.cos(PI * y) * u - b * PI * np.sin(2 * PI * x) * np.sin(PI * y)
    right = -au_x - bu_y - 1.1 * (4 * PI**2 + PI**2) * u + 0.7 * u
    operators = grid.operators(kernel)
    zeta = coarse(grid, operators, [u])[None]
    found = path(zeta, torch.tensor([[0.7, 0.4]], dtype=torch.float64))
    assert error(found[0], coarse(grid, operators, [right])) < 1e-9
    rates = path.rates(torch.tensor([[0.7]], dtype=torch.float64))
    shown = rates[rates != 0]  # waves without a sign have none
    torch.testing.assert_close(shown, torch.full_like(shown, 0.7))  # only the covariate's


@pytest.mark.parametrize("boundary", ["periodic", "dirichlet", "antisymmetric", "neumann"])
def test_slopes_are_factors_on_any_axis(boundary: str) -> None:
    """u_x² + v_x u and u_x v_x − v u_x, or v_x u and −v u_x between walls, against T_r of them."""
    n = 63 if boundary == "dirichlet" else 64
    grid = Grid(n, 21 if n == 63 else 32, boundary=boundary, channels=2)
    walls = boundary in ("dirichlet", "antisymmetric")  # where right sides have to be zero, too
    text = "u_t = v_x*u; v_t = -v*u_x" if walls else "u_t = u_x*u_x + v_x*u; v_t = u_x*v_x - v*u_x"
    path, operators = path_of(grid, text)
    x = grid.coordinates[0]
    if walls:
        u, v = np.sin(PI * x), np.sin(2 * PI * x)
        u_x, v_x = PI * np.cos(PI * x), 2 * PI * np.cos(2 * PI * x)
        right = [v_x * u, -v * u_x]
    else:
        k = 2 * PI if boundary == "periodic" else PI
        u, v = np.cos(k * x), 0.5 + np.cos(2 * k * x)
        u_x, v_x = -k * np.sin(k * x), -2 * k * np.sin(2 * k * x)
        right = [u_x**2 + v_x * u, u_x * v_x - v * u_x]
    zeta = coarse(grid, operators, [u, v])
    assert error(path(zeta), coarse(grid, operators, right)) < 1e-8


def test_burgers_of_two_components_in_two_dimensions() -> None:
    """u_t = −u u_x − v u_y + ν ∇²u and v likewise, in the user's units of length and field."""
    grid = Grid((48, 48), (24, 24), boundary="periodic", channels=2, upper=(2.0, 1.0))
    text = "u_t = -u*u_x - v*u_y + 0.1*u_xx + 0.1*u_yy; v_t = -u*v_x - v*v_y + 0.1*v_xx + 0.1*v_yy"
    path, operators = path_of(grid, text, scale=2.0)
    x, y = np.meshgrid(*grid.coordinates, indexing="ij")
    u, v = np.sin(PI * x) * np.cos(2 * PI * y), np.cos(PI * x) + np.sin(2 * PI * y)
    u_x, u_y = (
        PI * np.cos(PI * x) * np.cos(2 * PI * y),
        -2 * PI * np.sin(PI * x) * np.sin(2 * PI * y),
    )
    v_x, v_y = -PI * np.sin(PI * x), 2 * PI * np.cos(2 * PI * y)
    right_u = -u * u_x - v * u_y - 0.1 * 5 * PI**2 * u
    right_v = -u * v_x - v * v_y - 0.1 * PI**2 * (np.cos(PI * x) + 4 * np.sin(2 * PI * y))
    zeta = coarse(grid, operators, [u / 2, v / 2])
    assert error(path(zeta), coarse(grid, operators, [right_u / 2, right_v / 2])) < 1e-8
