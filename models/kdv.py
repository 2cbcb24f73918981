"""Korteweg–de Vries case: 1000 grid points → 20 coarse points + n_η microscale states."""

from __future__ import annotations

import torch
from torch import nn

from pyro_msde.grid import Grid, gaussian_kernel, lanczos_kernel
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
    rank: int | None = None,
    smoothing: str | None = None,
    expert_variance: str = "point",
    recipe: str = "default",
    seed: int = 0,
) -> Multiscale:
    """Model of u_t = −u u_x − ν u_xxx on [0, 10), periodic, 1000 points.

    Args:
        n_eta: Microscale states.
        n_coarse: Coarse points; divides 1000.
        half_width: Stencil half-width q of the macroscale drift; None: 8, or what the coarse grid
            has room for, or the published 2.
        width: Width of the macroscale drift's two hidden layers.
        rank: Rank of the macroscale drift's quadratic path, which the published architecture lacks;
            None: its number of inputs, enough for any quadratic function of them.
        smoothing: The kernel κ at the start: "gaussian", one coarse spacing wide and cut at three,
            as published; "lanczos", cut at five, which lets pass what the coarse points resolve.
            None: the second where no microscale states carry what the first takes away.
        expert_variance: "point": one a grid point, as published; "shared": one for the whole field.
        recipe: "default": autonomous SiLU drifts with linear and low-rank quadratic paths, one
            diffusion for all coarse points. "published": the paper's ReLU networks, sin t and cos t
            in the microscale drift, one diffusion a state.
        seed: Of the initial weights.

    Raises:
        ValueError: Unknown recipe, smoothing or variance; coarse points that do not divide 1000.
    """
    if recipe not in ("default", "published"):
        raise ValueError(f"recipe={recipe!r}: choose 'default' or 'published'.")
    if smoothing not in (None, "gaussian", "lanczos"):
        raise ValueError(f"smoothing={smoothing!r}: choose 'gaussian' or 'lanczos'.")
    if expert_variance not in ("point", "shared"):
        raise ValueError(f"expert_variance={expert_variance!r}: choose 'point' or 'shared'.")
    config = {
        "case": "kdv", "n_eta": n_eta, "n_coarse": n_coarse, "half_width": half_width,
        "width": width, "rank": rank, "smoothing": smoothing,
        "expert_variance": expert_variance, "recipe": recipe, "seed": seed,
    }  # fmt: skip
    published = recipe == "published"
    if smoothing is None:
        smoothing = "gaussian" if n_eta or published else "lanczos"
    widest = 2 if published else 8
    q = half_width if half_width is not None else min(widest, (n_coarse - 1) // 2)
    grid = Grid(1000, n_coarse, boundary="periodic", lower=0.0, upper=10.0)

    def network(sizes: list[int], *, rank: int, reluctant: bool) -> nn.Module:
        return MLP(sizes) if published else PolynomialMLP(sizes, rank, reluctant=reluctant)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inputs = 2 * q + 1 + n_eta
        macro_sizes = [inputs, width, width, 1]
        micro_sizes = [n_eta + n_coarse + (2 if published else 0), 128, 512, 128, n_eta]
        drift = MultiscaleDrift(
            grid,
            n_eta,
            network(macro_sizes, rank=inputs if rank is None else rank, reluctant=True),
            network(micro_sizes, rank=8, reluctant=False) if n_eta else None,
            half_width=q,
            time_features=published,
        )
        variance_shape = grid.field_shape if expert_variance == "point" else (1, 1)
        shared = None if published else [n_coarse] + [1] * n_eta
        return Multiscale(
            grid,
            n_eta,
            kernel=SmoothingKernel(
                lanczos_kernel(grid, 5) if smoothing == "lanczos" else gaussian_kernel(grid, 3)
            ),
            drift=drift,
            diffusion=LogVariance(
                (n_coarse + n_eta if shared is None else len(shared),), 0.1, repeats=shared
            ),
            var_zeta=LogVariance(variance_shape, 0.01, broadcast=grid.field_shape),
            var_eta=LogVariance(variance_shape, 0.01, broadcast=grid.field_shape)
            if n_eta
            else None,
            decoder=ConvDecoder(grid, n_eta) if n_eta else None,
            encoder=lambda: ConvEncoder(grid, n_eta),
            config=config,
        )
