"""Generalised Langevin case: a field on a circle → its mean + n_η microscale states, all linear."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from pyro_msde.checks import check_seed, check_whole
from pyro_msde.grid import Grid
from pyro_msde.isolation import Isolation
from pyro_msde.models.general import Multiscale
from pyro_msde.networks import MultiscaleDrift
from pyro_msde.priors import LogVariance
from pyro_msde.runs import check_size, register

__all__ = ["gle"]


class _MeanKernel(nn.Module):
    """κ of equal weights over the whole circle, not learned: S y is the mean of y at every point.

    Were it learned, ζ could become any projection of the field, memory or not.
    """

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.register_buffer("ones", torch.ones(grid.field_shape))

    def forward(self) -> Tensor:
        """(1, num_points)."""
        ones = self.get_buffer("ones")
        return ones / ones.shape[-1]


def _encoder(grid: Grid, n_eta: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(-2), nn.Linear(grid.num_points, n_eta, bias=False))


def _decoder(grid: Grid, n_eta: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear(n_eta, grid.num_points, bias=False), nn.Unflatten(-1, grid.field_shape)
    )


@register("gle")
def gle(n_eta: int = 2, *, num_points: int = 33, seed: int = 0) -> Multiscale:
    """Linear model of a field whose mean is the resolved variable of a Langevin equation.

    One coarse point, one variance for the whole field; drift, microscale encoder and decoder are
    linear, so that `pyro_msde.scores.innovation_test` applies.

    Args:
        n_eta: Microscale states: p, for a memory kernel of degree p − 1, or 0 for a closure.
        num_points: Points of the field, odd, so that the mean is a centred kernel.
        seed: Of the initial weights.

    Raises:
        ValueError: An even number of points, or another number out of range.
    """
    n_eta = check_whole("n_eta", n_eta, 0)
    num_points = check_whole("num_points", num_points, 1)
    seed = check_seed("seed", seed)
    if num_points % 2 == 0:
        raise ValueError(f"num_points: {num_points} is even. Choose an odd number.")
    check_size("n_eta", n_eta * (n_eta + 1))
    check_size("num_points", num_points * (n_eta + 1))
    config = {"case": "gle", "n_eta": n_eta, "num_points": num_points, "seed": seed}
    grid = Grid(num_points, 1, boundary="periodic")
    with Isolation(seed).turn():
        macro = nn.Linear(1 + n_eta, 1, bias=False)
        micro = nn.Linear(n_eta + 1, n_eta, bias=False) if n_eta else None
        return Multiscale(
            grid,
            n_eta,
            kernel=_MeanKernel(grid),
            drift=MultiscaleDrift(grid, n_eta, macro, micro, half_width=0),
            diffusion=LogVariance((1 + n_eta,), 0.1),
            var_zeta=LogVariance((1, 1), 0.01, broadcast=grid.field_shape),
            var_eta=LogVariance((1, 1), 0.01, broadcast=grid.field_shape) if n_eta else None,
            decoder=_decoder(grid, n_eta) if n_eta else None,
            encoder=partial(_encoder, grid, n_eta),
            config=config,
        )
