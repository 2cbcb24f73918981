"""Kuramoto–Sivashinsky data: u_t = −u u_x − u_xx − u_xxxx, periodic, L = 22, 512 points.

20/5/5 trajectories of 50 time units on the attractor (the first 200 are dropped), snapshots every
0.25, with independent noise of 1 % of the field's standard deviation. Chaotic: the largest Lyapunov
exponent is about 0.043 (Edson et al. 2019). Pseudo-spectral with the 2/3 rule, ETDRK4 in time
(Kassam & Trefethen 2005). All is dimensionless.

Command line: `python -m pyro_msde.datasets.ks --out data/`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from pyro_msde.datasets import etdrk4
from pyro_msde.datasets.problem import Problem

__all__ = ["KS", "LENGTH", "solve"]

Array = NDArray[Any]

LENGTH = 22.0
NUM_POINTS = 512
SPIN_UP = 200.0
DT = 0.25
_SUBSTEPS = 5  # errs by 1e-6 over a unit of time
_X = np.arange(NUM_POINTS) * (LENGTH / NUM_POINTS)


def solve(
    initial: Array,
    *,
    num_steps: int,
    dt: float = DT,
    substeps: int = _SUBSTEPS,
    length: float = LENGTH,
) -> Array:
    """Solve the equation.

    Args:
        initial: (..., x), u(0) at evenly spaced points from 0 on, the end point left out.
        num_steps: Number of stored steps.
        dt: Time between stored steps.
        substeps: Steps of the method per `dt`.
        length: Of the period.

    Returns:
        (..., num_steps + 1, x), float64.

    Raises:
        ValueError: If `num_steps`, `dt` or `substeps` is out of range.
        FloatingPointError: If the solution blows up.
    """
    num_points = np.shape(initial)[-1]
    modes = np.arange(num_points // 2 + 1)
    k = 2 * np.pi / length * modes
    kept = modes <= num_points // 3

    def advection(v: Array) -> Array:
        u = scipy.fft.irfft(v * kept, n=num_points)
        return np.asarray(-0.5j * k * kept * scipy.fft.rfft(u * u))

    return etdrk4.solve_periodic(
        initial, k**2 - k**4, advection, dt=dt, num_steps=num_steps, substeps=substeps
    )


def _on_the_attractor(rng: np.random.Generator) -> tuple[Array, tuple[float, ...]]:
    """A state after `SPIN_UP` from random long waves; their mean, which is conserved, is zero."""
    phases = rng.uniform(0, 2 * np.pi, 4)
    waves = [np.cos(2 * np.pi * (j + 1) * _X / LENGTH + p) for j, p in enumerate(phases)]
    return solve(np.sum(waves, axis=0), num_steps=round(SPIN_UP / DT))[-1], ()


KS = Problem(
    name="ks",
    parts={"published": {"train": (20, 50.0), "validation": (5, 50.0), "test": (5, 50.0)}},
    draw={"published": _on_the_attractor},
    solve=lambda initial, _, num_steps, dt: solve(initial, num_steps=num_steps, dt=dt),
    coords={"x": _X},
    dt=DT,
    noise_sd=0.013,  # 1 % of the attractor's standard deviation
    attrs={
        "equation": f"u_t = -u u_x - u_xx - u_xxxx, periodic on [0, {LENGTH:g})",
        "scheme": "pseudo-spectral, 2/3 rule; ETDRK4 in time",
    },
    key=(3,),
)


if __name__ == "__main__":
    KS.main()
