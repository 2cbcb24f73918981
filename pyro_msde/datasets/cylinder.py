"""Flow past a cylinder, two components of velocity on 320 × 80 points: published and harder.

"published": Re = 160 from t = 0 to 15, a snapshot every .01: one trajectory, of which [0, 13] is to
train on, (13, 14] to validate and (14, 15] to test. The flow is periodic from t ≈ 7 on, so that the
snapshot one period earlier is a good forecast. "hard": Reynolds numbers, a covariate, from 80 to
200, eight to train on, two to validate, three to test in between; each from a start of its own,
through the growth of its vortices until they are shed evenly, over 8 units of time, a snapshot
every .025.

No noise; lengths in units of eight diameters, velocities of the inflow's: shedding takes about .6.
`ngsolve` makes them (`pyro_msde.datasets.cylinder_equation`), in seven minutes and an hour of one
core; 307 and 855 MB.

Command line: `python -m pyro_msde.datasets.cylinder --split published --out data/`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.datasets.cylinder_equation import DIAMETER, centres, solve_cylinder
from pyro_msde.datasets.problem import Problem

__all__ = ["CYLINDER", "REYNOLDS", "X", "Y"]

Array = NDArray[Any]

REYNOLDS = 160.0
X, Y = centres((-0.5, 3.5), 320), centres((-0.5, 0.5), 80)
_LOWEST, _HIGHEST = 80.0, 200.0
_SPIN_UP = 3.0  # until the wake is nearly as long as the domain
_RIPPLES = 0.004, 0.012  # heights of bumps that by then have grown to a hundredth or a tenth


def _solve(
    start: dict[str, Any],
    covariates: tuple[float, ...],
    num_steps: int,
    dt: float,
    rng: np.random.Generator,
) -> Array:
    """Velocities (step + 1, 2, x, y), from `spin_up` on, after a bump of some height."""
    reynolds = covariates[0] if covariates else REYNOLDS
    times = start["spin_up"] + np.arange(num_steps + 1) * dt
    return solve_cylinder(reynolds, times, X, Y, rng, bump=start["bump"]).velocity


CYLINDER = Problem(
    name="cylinder",
    parts={
        "published": {"train": (1, 15.0)},
        "hard": {"train": (8, 8.0), "validation": (2, 8.0), "test": (3, 8.0)},
    },
    draw={
        "published": lambda _: ({"spin_up": 0.0, "bump": (0.02, 0.1)}, ()),
        "hard": lambda rng: (
            {"spin_up": _SPIN_UP, "bump": _RIPPLES},
            (rng.uniform(_LOWEST, _HIGHEST),),
        ),
    },
    solve=_solve,
    coords={"x": X, "y": Y},
    dt=0.01,
    dt_at={"hard": 0.025},
    noise_sd=0.0,
    covariates={"hard": ("reynolds",)},
    designed={
        "hard": {
            "train": [(re,) for re in np.geomspace(_LOWEST, _HIGHEST, 8).round(1).tolist()],
            "validation": [(96.0,), (164.0,)],
            "test": [(85.0,), (126.0,), (187.0,)],
        }
    },
    cuts={"published": (13.0, 14.0)},
    variables=("u", "v"),
    attrs={
        "equation": f"incompressible Navier-Stokes past a cylinder of diameter {DIAMETER} at the "
        "origin; inflow (1, 0), slip walls at y = -.5 and .5, outflow at x = 7.5",
        "scheme": "P3/P2 Taylor-Hood elements; Euler in time, implicit in the Stokes part",
        "source": "after Guenther, Gross & Theisel (2017) and Ilersich & Nair (2025), appendix G",
    },
    key=(5,),
    keep_clean=False,
    driven=True,
)


if __name__ == "__main__":
    CYLINDER.main()
