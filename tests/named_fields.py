"""Fields with names, units and coordinates, an untrained fit for them, and what pictures show."""

from __future__ import annotations

from typing import Any

import numpy as np
from problems import NUM_POINTS, tiny_fields, tiny_pair

from pyro_msde import Fit, History, Trajectories
from pyro_msde.scaling import Scaling

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


def untrained_fit(n_eta: int = 2, history: History | None = None, **options: Any) -> Fit:
    model, guide = tiny_pair(n_eta)
    return Fit(model, guide, Scaling((SCALE,), HORIZON), history or History(), **options)


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
