"""Stochastic multiscale model: latent SDE of two scales, Product-of-Experts likelihood.

    θ ~ p(θ),    dz = γ_θ(z, t) dt + L_θ dβ,  z = (ζ, η),    y(t) | z(t) ~ p₁(y|ζ) p₂(y − T_p ζ|η)

(Ilersich & Nair 2025, §2, eqs. 6, 10, 29–31.) Fields and times are in scaled units: the root mean
square of each channel and the training horizon are one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import pyro
import torch
from pyro.nn import PyroModule
from torch import Tensor, nn

from pyro_msde.data import SegmentBatch
from pyro_msde.grid import (
    GraphOperators,
    Grid,
    ScaleOperators,
    SensorGraph,
    operators_between,
)
from pyro_msde.likelihoods import ProductOfExperts
from pyro_msde.priors import Part
from pyro_msde.sde import LatentSDE

__all__ = ["Multiscale", "Theta"]


class Theta(NamedTuple):
    """The model's parameters at one draw of θ, in the form they are used in."""

    operators: ScaleOperators | GraphOperators
    drift: Callable[..., Tensor]
    diffusion: Tensor
    decoder: Callable[[Tensor], Tensor] | None
    var_zeta: Tensor
    var_eta: Tensor | None


class Multiscale(PyroModule):
    """Pyro model of fields on a grid, built of replaceable parts.

    Sites: one `<part>.theta` for each part with a prior, `path` (segment, time, latent) and `field`
    (segment, time, channel, *space), the last two in the plate `segments`.

    Args:
        grid: Fine and coarse grid, or a graph of sensors.
        n_eta: Microscale states; 0 is the implicit-scale (closure) model.
        kernel: Network without input giving κ (channel, *kernel).
        drift: Network from (z, t, parameters) to z's shape.
        diffusion: Network without input giving the diagonal of C (latent,).
        var_zeta: Network without input giving the macroscale expert's variance (channel, *space).
        decoder: Network from η (..., n_eta) to (..., channel, *space); None if n_eta = 0.
        var_eta: As `var_zeta`, for the microscale expert; None if n_eta = 0.
        encoder: Function without argument making the microscale encoder that suits the decoder, a
            network from (..., channel, *space) to (..., n_eta); for guides.
        initial_sd: p(z(t₀)) = N(0, initial_sd²), for simulation from the prior.
        score_initial: Count KL(q(z(t₀)) ‖ p(z(t₀))) in the ELBO.
        num_parameters: How many parameters of the trajectories the drift takes.
        config: How a registered case builds this model again, for `pyro_msde.load`.
    """

    def __init__(
        self,
        grid: Grid | SensorGraph,
        n_eta: int,
        *,
        kernel: nn.Module,
        drift: nn.Module,
        diffusion: nn.Module,
        var_zeta: nn.Module,
        decoder: nn.Module | None = None,
        var_eta: nn.Module | None = None,
        encoder: Callable[[], nn.Module] | None = None,
        initial_sd: float = 1.0,
        score_initial: bool = False,
        num_parameters: int = 0,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if (n_eta > 0) != (decoder is not None) or (n_eta > 0) != (var_eta is not None):
            raise ValueError(
                f"n_eta={n_eta}: decoder and var_eta go with n_eta > 0, and only then."
            )
        self.grid, self.n_eta = grid, n_eta
        self.kernel, self.drift, self.diffusion = Part(kernel), Part(drift), Part(diffusion)
        self.var_zeta = Part(var_zeta)
        self.decoder = None if decoder is None else Part(decoder)
        self.var_eta = None if var_eta is None else Part(var_eta)
        self.make_encoder = encoder
        self.initial_sd, self.score_initial = initial_sd, score_initial
        self.num_parameters = num_parameters
        self.config = None if config is None else dict(config)

    @property
    def num_latent(self) -> int:
        """n_ζ + n_η."""
        return self.grid.num_zeta + self.n_eta

    def bind(self, theta: Mapping[str, Tensor] | None = None) -> Theta:
        """Read every part once: from its site of θ, from its own parameters, or from `theta`.

        Args:
            theta: Values of the sites `<part>.theta` by name, as a guide draws them: a function
                like any other then, of which Pyro knows nothing. None: as a Pyro program.
        """
        return Theta(
            operators_between(self.kernel.read(theta)(), self.grid),
            self.drift.read(theta),
            self.diffusion.read(theta)(),
            None if self.decoder is None else self.decoder.read(theta),
            self.var_zeta.read(theta)(),
            None if self.var_eta is None else self.var_eta.read(theta)(),
        )

    def forward(self, batch: SegmentBatch) -> Tensor:
        """Run the program on a minibatch of segments; returns the fields."""
        theta = self.bind()
        path = self.path_law(theta, batch)
        index = torch.arange(len(batch.times), device=batch.times.device)
        with pyro.plate("segments", batch.num_segments, subsample=index):
            z = pyro.sample("path", path)
            fields: Tensor = pyro.sample(
                "field",
                ProductOfExperts(*self.expert_means(theta, z), theta.var_zeta, theta.var_eta,
                                 weight=batch.observation_weight),
                obs=batch.values,
            )  # fmt: skip
        return fields

    def path_law(self, theta: Theta, batch: SegmentBatch) -> LatentSDE:
        """The latent SDE on the batch's times."""
        mean = torch.zeros_like(theta.diffusion)
        return LatentSDE(
            partial(theta.drift, parameters=batch.parameters),
            theta.diffusion,
            batch.times,
            initial_mean=mean,
            initial_var=mean + self.initial_sd**2,
            initial_weight=batch.initial_weight if self.score_initial else None,
        )

    def expert_means(self, theta: Theta, z: Tensor) -> tuple[Tensor, Tensor | None]:
        """T_p ζ and D(η), each (..., channel, *space), from z (..., latent)."""
        zeta, eta = z[..., : self.grid.num_zeta], z[..., self.grid.num_zeta :]
        macro = theta.operators.prolong(self.grid.unflatten(zeta))
        return macro, None if theta.decoder is None else theta.decoder(eta)
