"""Burgers' fields of smooth random starts, of the equation itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyro_msde import Trajectories
from pyro_msde.datasets import etdrk4

POINTS, STEPS, DT = 96, 60, 0.02
X = np.arange(POINTS) / POINTS
NU = 0.004


def solved(initial: Any) -> Any:
    """(time, x) of u_t = −½ (u²)_x + ν u_xx, pseudo-spectral: of the equation itself."""
    modes = np.arange(POINTS // 2 + 1)
    k, kept = 2 * np.pi * modes, modes <= POINTS // 3

    def advection(v: Any) -> Any:
        u = np.fft.irfft(v * kept, n=POINTS)
        return -0.5j * k * kept * np.fft.rfft(u * u)

    return etdrk4.solve_periodic(
        initial, -NU * k**2 + 0j, advection, dt=DT, num_steps=STEPS, substeps=10
    )


def burgers(
    count: int, seed: int, *, scale: float = 1.0, shift: float = 0.0, time: float = 1.0
) -> Trajectories:
    """Fields scale × u + shift of smooth random starts, at 61 times, with noise of 1e-3."""
    rng = np.random.default_rng(seed)
    fields = []
    for _ in range(count):
        waves = [
            rng.normal(0, 0.3) * np.cos(2 * np.pi * (k * X + rng.uniform())) for k in (1, 2, 3)
        ]
        u = solved(np.sum(waves, 0))
        fields.append(u + 1e-3 * rng.standard_normal(u.shape))
    times = time * DT * np.arange(STEPS + 1)
    values = scale * np.stack(fields) + shift
    return Trajectories(times, values, dims=("x",), coords={"x": X})
