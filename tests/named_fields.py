"""Fields with names, units and coordinates, an untrained fit for them, and what pictures show."""

from __future__ import annotations

from typing import Any

import numpy as np
from problems import NUM_POINTS, tiny_fields, tiny_model, tiny_pair

from pyro_msde import Fit, Grid, Trajectories
from pyro_msde.data import Metadata, Reference, Scaling
from pyro_msde.guides import AmortizedGP
from pyro_msde.networks import MultiscaleDrift, PolynomialMLP

X = 3.0 + 0.2 * np.arange(NUM_POINTS)
TIMES = 4.0 + np.array([0.0, 0.1, 0.3, 0.4, 0.6, 0.7, 0.9])
SCALE = 1.7
HORIZON = 80.0  # many times the data's, so that forecasts take few steps


def named_data(count: int = 3, times: np.ndarray = TIMES) -> Trajectories:
    """Heights h along s, in metres, kilometres and days."""
    rng = np.random.default_rng(4)
    values = [tiny_fields(times - times[0], rng).astype(np.float32) for _ in range(count)]
    units = {"h": "m", "s": "km", "time": "day"}
    return Trajectories(times, values, name="h", dims=("s",), coords={"s": X}, units=units)


def untrained_fit(n_eta: int = 2, **options: Any) -> Fit:
    model, guide = tiny_pair(n_eta)
    return Fit(model, guide, Scaling((SCALE,), HORIZON), **options)


def plane_grid() -> Grid:
    """12 × 18 points, 4 × 3 of them coarse, two channels, two kinds of walls."""
    return Grid((12, 18), (4, 3), channels=2, boundary=("neumann", "dirichlet"))


def plane_fit(macro: Any = None) -> Fit:
    """An untrained fit of `plane_grid`, two microscale states; `macro` is the drift's network."""
    grid = plane_grid()
    macro = PolynomialMLP([9 * 2 + 2, 7, 2], 3) if macro is None else macro
    drift = MultiscaleDrift(grid, 2, macro, PolynomialMLP([2 + 24, 11, 2], 3), half_width=1)
    model = tiny_model(2, grid=grid, drift=drift)
    return Fit(model, AmortizedGP(model), Scaling((SCALE, 0.4), HORIZON), has_channel=True)


def plane_data() -> Trajectories:
    """Two channels of w along a and b, in metres, kilometres and days."""
    rng = np.random.default_rng(6)
    times = 4.0 + np.array([0.0, 0.2, 0.3, 0.5, 0.6])
    values = rng.normal(size=(1, 5, 2, 12, 18)).astype(np.float32)
    coords = {
        "part": ["first", "second"],
        "a": 1 + 0.2 * np.arange(12),
        "b": 5 + 0.25 * np.arange(18),
    }
    units = {"w": "m", "a": "km", "b": "km", "time": "day"}
    dims = ("part", "a", "b")
    return Trajectories(times, values, name="w", dims=dims, coords=coords, units=units)


def land() -> np.ndarray:
    """(lat, lon) True on the sea: 8 × 12 points, a corner and an island are land."""
    sea = np.ones((8, 12), dtype=bool)
    sea[:3, :5] = sea[5, 5:8] = False
    return sea


def sea_fit(reference: Reference | None = None) -> Fit:
    """An untrained fit of temperatures on `land`, one microscale state."""
    grid = Grid((8, 12), (4, 3), boundary="neumann", mask=land())
    macro, micro = PolynomialMLP([9 + 1, 7, 1], 3), PolynomialMLP([1 + 12, 11, 1], 3)
    model = tiny_model(1, grid=grid, drift=MultiscaleDrift(grid, 1, macro, micro, half_width=1))
    scaling = Scaling((SCALE,), HORIZON, reference=reference or Reference())
    data = sea_data()
    return Fit(model, AmortizedGP(model), scaling, metadata=Metadata.of(data))


def sea_data(mean: float = 0.0, *, whole: bool = True) -> Trajectories:
    """Two trajectories; NaN on land, in clouds and in a `whole` snapshot, in kelvins."""
    rng = np.random.default_rng(6)
    times = 4.0 + np.array([0.0, 0.2, 0.3, 0.5, 0.6])
    values = mean + rng.normal(size=(2, 5, 8, 12))
    values[rng.uniform(size=values.shape) < 0.2] = np.nan
    if whole:
        values[1, 2] = np.nan
    values[..., ~land()] = np.nan
    coords = {"lat": -70.0 + 20 * np.arange(8), "lon": 30.0 * np.arange(12)}
    units = {"sst": "K", "lat": "degrees_north", "lon": "degrees_east", "time": "day"}
    options: dict[str, Any] = {"name": "sst", "dims": ("lat", "lon"), "coords": coords}
    return Trajectories(times, values, missing="mask", units=units, **options)


def line(ax: Any, name: str) -> np.ndarray:
    """Ordinates of the line with this label."""
    return np.asarray(next(x for x in ax.lines if x.get_label() == name).get_ydata())


def image(ax: Any) -> np.ndarray:
    """Values of the only image."""
    (found,) = [*ax.images, *ax.collections]
    return np.asarray(found.get_array())


def draw(axes: Any) -> None:
    """What goes wrong only when drawn, such as letters that a font lacks, goes wrong here."""
    np.ravel(np.asarray(axes, dtype=object))[0].figure.canvas.draw()
