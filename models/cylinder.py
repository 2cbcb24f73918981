"""Flow past a cylinder: 2 × 320 × 80 velocities → 2 × 32 × 8 + n_η microscale states (App. G.3)."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyro_msde.checks import check_choice, check_whole
from pyro_msde.grid import BoundaryWords, Grid
from pyro_msde.models.builder import multiscale
from pyro_msde.models.general import Multiscale
from pyro_msde.renaming import renamed_arguments
from pyro_msde.runs import register

__all__ = ["cylinder"]

_RADIUS = 0.0625
_SHAPE = np.array([320, 80])
_LOWER, _UPPER = np.array([-0.5, -0.5]), np.array([3.5, 0.5])
_ALONG = 4  # coarse points along the channel for one across it
_INFLOW = ("antisymmetric", "neumann")  # then the outflow
_BOUNDARIES: dict[str, BoundaryWords] = {
    "slip": {0: [_INFLOW, "neumann"], 1: [_INFLOW, "antisymmetric"]},
    "circular": "periodic",
}


@register("cylinder")
@renamed_arguments(num_parameters="num_covariates", recipe="architecture")
def cylinder(
    n_eta: int = 5,
    *,
    n_coarse: int = 8,
    boundary: str = "slip",
    architecture: str = "default",
    **options: Any,
) -> Multiscale:
    """Model of the velocity (u, v) on 320 × 80 cell centres of [−.5, 3.5] × [−.5, .5].

    The cylinder, where x² + y² ≤ .0625², has no field. At the inflow, x = −.5, what is odd is the
    velocity less (1, 0): train with `fit(reference="point")` or `fit(reference=[1.0, 0.0])`. Drifts
    get the time in training horizons: sin t and cos t of the published architecture do not come
    round within a trajectory.

    Args:
        n_eta: Microscale states.
        n_coarse: Coarse points across the channel; divides 80. There are four times as many along
            it.
        boundary: "slip", the true one: the velocity less (1, 0) is odd at the inflow and mirrored
            at the outflow; at the walls, y = ±.5, u is mirrored and v is odd. "circular": both axes
            wrap around, as the authors pad.
        architecture: "default": that of `multiscale`, told where each coarse point is, with last
            weights of its own at each, which vary with the covariates if there are any.
            "published": the paper's networks, with its coupling φ*(η, sin t, cos t, x, y) and a
            kernel of two coarse spacings.
        **options: Of `multiscale`: num_covariates=1 where the Reynolds number differs between
            trajectories, and others.

    Raises:
        ValueError: As `multiscale`; another boundary.
    """
    n_coarse = check_whole("n_coarse", n_coarse, 1)
    check_choice("boundary", boundary, tuple(_BOUNDARIES))
    if "grid" in options:
        raise ValueError(
            "grid: it is the published one, 320 × 80 points. For another flow past a body call "
            "multiscale.like(data, boundary=…); docs/cylinder.md has its options."
        )
    spacing = (_UPPER - _LOWER) / _SHAPE
    x, y = (a + h * (np.arange(n) + 0.5) for a, h, n in zip(_LOWER, spacing, _SHAPE, strict=True))
    # a ring begins at its first point, and not half a spacing before
    shift = 0.5 * spacing if boundary == "circular" else 0.0 * spacing
    grid = Grid(
        _SHAPE.tolist(),
        (_ALONG * n_coarse, n_coarse),
        channels=2,
        boundary=_BOUNDARIES[boundary],
        lower=_LOWER + shift,
        upper=_UPPER + shift,
        mask=np.hypot(x[:, None], y) > _RADIUS,
    )
    coupling = options.setdefault("coupling", architecture == "published")
    options.setdefault("located", not coupling)
    options.setdefault("local", architecture == "default")
    covariates = options.get("num_covariates", 0)
    options.setdefault("varying", architecture == "default" and covariates != 0)
    if architecture == "published":
        options.setdefault("radius", 2)
    return multiscale(grid, n_eta=n_eta, architecture=architecture, **options)
