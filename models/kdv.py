"""Korteweg–de Vries case: 1000 grid points → 20 coarse points + n_η microscale states."""

from __future__ import annotations

import torch
from torch import nn

from pyro_msde.grid import Grid
from pyro_msde.models.multiscale import Multiscale
from pyro_msde.networks import (
    MLP,
    ConvDecoder,
    ConvEncoder,
    MultiscaleDrift,
    PolynomialMLP,
    SmoothingKernel,
)
from pyro_msde.parts import LogVariance
from pyro_msde.registry import register

__all__ = ["kdv"]


@register("kdv")
def kdv(
    n_eta: int = 5,
    *,
    n_coarse: int = 20,
    half_width: int | None = None,
    width: int = 128,
    rank: int = 8,
    recipe: str = "default",
    seed: int = 0,
) -> Multiscale:
    """Model of u_t = −u u_x − ν u_xxx on [0, 10), periodic, 1000 points.

    Args:
        n_eta: Microscale states.
        n_coarse: Coarse points; divides 1000.
        half_width: Stencil half-width q of the macroscale drift; None: 4, or the published 2.
        width: Width of the macroscale drift's two hidden layers.
        rank: Rank of the macroscale drift's quadratic path; not in the published architecture.
        recipe: "default": autonomous SiLU drifts with linear and low-rank quadratic paths, one
            diffusion for all coarse points. "published": the paper's ReLU networks, sin t and cos t
            in the microscale drift, one diffusion a state.
        seed: Of the initial weights.

    Raises:
        ValueError: Unknown recipe, or coarse points that do not divide 1000.
    """
    if recipe not in ("default", "published"):
        raise ValueError(f"recipe={recipe!r}: choose 'default' or 'published'.")
    config = {
        "case": "kdv", "n_eta": n_eta, "n_coarse": n_coarse, "half_width": half_width,
        "width": width, "rank": rank, "recipe": recipe, "seed": seed,
    }  # fmt: skip
    published = recipe == "published"
    q = half_width if half_width is not None else (2 if published else 4)
    grid = Grid(1000, n_coarse, boundary="periodic", lower=0.0, upper=10.0)

    def network(sizes: list[int], *, rank: int, reluctant: bool) -> nn.Module:
        return MLP(sizes) if published else PolynomialMLP(sizes, rank, reluctant=reluctant)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        macro_sizes = [2 * q + 1 + n_eta, width, width, 1]
        micro_sizes = [n_eta + n_coarse + (2 if published else 0), 128, 512, 128, n_eta]
        drift = MultiscaleDrift(
            grid,
            n_eta,
            network(macro_sizes, rank=rank, reluctant=True),
            network(micro_sizes, rank=8, reluctant=False) if n_eta else None,
            half_width=q,
            time_features=published,
        )
        shared = None if published else [n_coarse] + [1] * n_eta
        return Multiscale(
            grid,
            n_eta,
            kernel=SmoothingKernel(grid, radius=3),
            drift=drift,
            diffusion=LogVariance(
                (n_coarse + n_eta if shared is None else len(shared),), 0.1, repeats=shared
            ),
            var_zeta=LogVariance(grid.field_shape, 0.01),
            var_eta=LogVariance(grid.field_shape, 0.01) if n_eta else None,
            decoder=ConvDecoder(grid, n_eta) if n_eta else None,
            encoder=lambda: ConvEncoder(grid, n_eta),
            config=config,
        )
