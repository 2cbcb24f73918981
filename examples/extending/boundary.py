"""A boundary of your own: a wall on which the field is zero, half a spacing beyond the end point.

python examples/extending/boundary.py       a few seconds
"""

from dataclasses import dataclass

import numpy as np

import pyro_msde
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale
from pyro_msde.testing import check_boundary


@dataclass(frozen=True)
class Odd:
    """The mirror image with its sign changed, … −y₁ −y₀ | y₀ y₁ …; by name: "antisymmetric"."""

    wall: float = 0.5

    def ghosts(self, distance, n):
        """Which point stands so far beyond the end, and times which number."""
        return distance - 1, -1.0


check_boundary((Odd(), "neumann"))

# diffusion between a cold wall and an insulated one: u = exp(−(π/2)² t) sin(π x / 2)
model = multiscale(30, 10, boundary=[(Odd(), "neumann")], half_width=1, width=8)
x, times = model.grid.coordinates[0], np.linspace(0, 1, 40)
decay = np.exp(-np.outer(times, [1, 9]) * (np.pi / 2) ** 2)
waves = np.sin(np.outer([1, 3], np.pi * x / 2))
values = [(decay * a) @ waves for a in np.random.default_rng(0).standard_normal((7, 2))]
train = pyro_msde.Trajectories([times] * 6, values[:6])
fit = pyro_msde.fit(model, AmortizedGP(model), train, length=10, stride=1, steps=1, progress=False)
forecast = fit.predict(values[6][0], times, num_samples=8, max_step=0.01)
print(f"error of the forecast: {100 * pyro_msde.nrmse(forecast, values[6]):.1f} %")
