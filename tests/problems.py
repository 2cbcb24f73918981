"""Small problems for tests: a model of 30 → 5 points, and fields that advect and diffuse."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyro_msde import Grid, Trajectories
from pyro_msde.data import Scaling, Segments
from pyro_msde.grid import gaussian_kernel
from pyro_msde.guides import AmortizedGP
from pyro_msde.isolation import Isolation
from pyro_msde.models import Multiscale
from pyro_msde.networks import (
    ConvDecoder,
    ConvEncoder,
    MultiscaleDrift,
    PolynomialMLP,
    SmoothingKernel,
)
from pyro_msde.priors import LogVariance

NUM_POINTS, NUM_COARSE = 30, 5
SIZES = (17, 23, 19)  # snapshots of each trajectory
LENGTH = 7  # observations of a segment


def tiny_grid(channels: int = 1) -> Grid:
    return Grid(NUM_POINTS, NUM_COARSE, channels=channels, boundary="periodic")


def tiny_model(
    n_eta: int = 2,
    *,
    seed: int = 3,
    grid: Grid | None = None,
    drift: nn.Module | None = None,
    decoder: nn.Module | None = None,
    num_covariates: int = 0,
    kind: type[Multiscale] = Multiscale,
    **options: Any,
) -> Multiscale:
    """Multiscale model of 30 → 5 points with small networks, whose sizes all differ."""
    grid = tiny_grid() if grid is None else grid
    with Isolation(seed).turn():
        if drift is None:
            inputs = 3 * grid.channels + n_eta + num_covariates
            macro = PolynomialMLP([inputs, 7, grid.channels], 3)
            state = n_eta + grid.num_zeta + num_covariates
            micro = PolynomialMLP([state, 11, n_eta], 3) if n_eta else None
            drift = MultiscaleDrift(grid, n_eta, macro, micro, half_width=1)
        if n_eta and decoder is None:
            decoder = ConvDecoder(grid, n_eta, widths=(3,), kernel=3)
        return kind(
            grid,
            n_eta,
            kernel=SmoothingKernel(gaussian_kernel(grid, 1)),
            drift=drift,
            diffusion=LogVariance((grid.num_zeta + n_eta,), 0.1),
            var_zeta=LogVariance(grid.field_shape, 0.01),
            var_eta=LogVariance(grid.field_shape, 0.02) if n_eta else None,
            decoder=decoder,
            encoder=partial(ConvEncoder, grid, n_eta, widths=(3,), kernel=3),
            num_covariates=num_covariates,
            **options,
        )


def tiny_pair(n_eta: int = 2, *, seed: int = 3, **options: Any) -> tuple[Multiscale, AmortizedGP]:
    """Model and guide; `options` go to the model."""
    model = tiny_model(n_eta, seed=seed, **options)
    return model, AmortizedGP(model, seed=seed)


def tiny_fields(
    times: np.ndarray, rng: np.random.Generator, points: int = NUM_POINTS
) -> np.ndarray:
    """(time, x) exact solution of u_t + 0.7 u_x = 0.002 u_xx on [0, 1), with noise 0.01."""
    x = np.arange(points) / points
    u = 0.01 * rng.standard_normal((len(times), points))
    for k in (1, 2, 4, 6):
        amplitude, phase = rng.normal(1, 0.2) / k, rng.uniform(0, 2 * np.pi)
        angle = 2 * np.pi * k * (x - 0.7 * times[:, None]) + phase
        u += amplitude * np.exp(-0.002 * (2 * np.pi * k) ** 2 * times[:, None]) * np.cos(angle)
    return u


def tiny_data(
    sizes: Sequence[int] = SIZES, *, seed: int = 0, irregular: bool = False, **options: Any
) -> Trajectories:
    """Trajectories of different lengths, float32; `options` go to `Trajectories`."""
    rng = np.random.default_rng(seed)
    times, values = [], []
    for n in sizes:
        steps = rng.uniform(0.03, 0.07, n) if irregular else np.full(n, 0.05)
        times.append(np.cumsum(steps) - steps[0])
        values.append(tiny_fields(times[-1], rng).astype(np.float32))
    return Trajectories(times, values, **options)


def tiny_segments(
    data: Trajectories | None = None, *, dtype: torch.dtype = torch.float32, **options: Any
) -> Segments:
    """Segments of the data in scaled units; `options` as for `Segments`."""
    data = tiny_data() if data is None else data
    fields = data.fields(1, (NUM_POINTS,))
    scaling = Scaling.of(fields, data.horizon)
    return Segments(
        [torch.as_tensor(t / scaling.time) for t in data.times],
        [torch.as_tensor(f / np.float32(scaling.channels[0])).to(dtype) for f in fields],
        **{"length": LENGTH, **options},
    )


def tiny_batch(num_segments: int = 3, *, seed: int = 1, **options: Any) -> Any:
    """A minibatch of segments; `options` as for `tiny_segments`."""
    return tiny_segments(**options).draw(num_segments, np.random.default_rng(seed))


def snapshot(owner: nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters and buffers."""
    return {k: v.detach().clone() for k, v in owner.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Whether two snapshots agree in every bit."""
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
