"""Stochastic multiscale model: latent SDE of two scales, Product-of-Experts likelihood.

    θ ~ p(θ),    dz = γ_θ(z, t) dt + L_θ dβ,  z = (ζ, η),    y(t) | z(t) ~ p₁(y|ζ) p₂(y − T_p ζ|η)

(Ilersich & Nair 2025, §2, eqs. 6, 10, 29–31.) Fields and times are in scaled units: the root mean
square of each channel and the training horizon are one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyro
import torch
from pyro.nn import PyroModule
from torch import Tensor, nn
from torch.distributions import Distribution

from pyro_msde.data import SegmentBatch
from pyro_msde.likelihoods import (
    CorrelatedNormal,
    FieldNormal,
    Precision,
    WeightedFields,
    correlated_product_mean,
    product_mean,
    product_variance,
)
from pyro_msde.priors import Part
from pyro_msde.protocols import BoundModel, Places
from pyro_msde.renaming import renamed_arguments
from pyro_msde.sde import LatentSDE, noise_axes

__all__ = ["BoundMultiscale", "Multiscale"]


@dataclass(frozen=True)
class BoundMultiscale:
    """`Multiscale` at one draw of θ: its parts in the form they are used in.

    Attributes:
        grid: The model's.
        operators: Between the two grids, at the draw's kernel κ.
        drift: From (z, t, covariates) to z's shape.
        diffusion: (latent,) the diagonal of C, along `noise_axes`.
        decoder: From η to fields; None without a microscale state.
        var_zeta: (channel, *space) variance of the macroscale expert.
        var_eta: (channel, *space) variance of the microscale expert, or None.
        likelihood: From mean and variance of fields to their law.
        front: From T_p ζ to the factor by which it changes both variances; None: they are the same
            at all states.
        prec_eta: S_η where experts' errors go together; None: they do not, or there is one expert.
        precision: S_ζ + S_η likewise.
        noise_axes: (latent, latent) orthogonal, in whose columns C is diagonal; None: the states.
    """

    grid: Places
    operators: Any
    drift: Callable[..., Tensor]
    diffusion: Tensor
    decoder: Callable[[Tensor], Tensor] | None
    var_zeta: Tensor
    var_eta: Tensor | None
    likelihood: Callable[[Tensor, Tensor], Distribution]
    front: Callable[[Tensor], Tensor] | None = None
    prec_eta: Precision | None = None
    precision: Precision | None = None
    noise_axes: Tensor | None = None

    def observe(self, z: Tensor) -> Distribution:
        """p(y|z) of each element, (..., channel, *space), from z (..., latent); eq. (31)."""
        macro, detail = self.experts(z)
        if self.precision is not None:
            ndim = self.grid.ndim + 1
            mean = correlated_product_mean(macro, detail, self.prec_eta, self.precision, ndim)
            spread = None if self.front is None else self.front(macro).sqrt()
            return CorrelatedNormal(mean, self.precision, ndim, spread)
        mean = product_mean(macro, detail, self.var_zeta, self.var_eta)
        variance = product_variance(self.var_zeta, self.var_eta)
        if self.front is not None:
            variance = variance * self.front(macro)
        return self.likelihood(mean, variance)

    def experts(self, z: Tensor) -> tuple[Tensor, Tensor | None]:
        """T_p ζ and D(η), each (..., channel, *space), from z (..., latent)."""
        zeta, eta = z[..., : self.grid.num_zeta], z[..., self.grid.num_zeta :]
        macro = self.operators.prolong(self.grid.unflatten(zeta))
        return macro, None if self.decoder is None else self.decoder(eta)


class Multiscale(PyroModule):
    """Pyro model of fields on a grid, built of replaceable parts.

    Sites: one `<part>.theta` for each part with a prior, `path` (segment, time, latent) and `field`
    (segment, time, channel, *space), the last two in the plate `segments`.

    Args:
        grid: Fine and coarse grid, or a graph of sensors.
        n_eta: Microscale states; 0 is the implicit-scale (closure) model.
        kernel: Network without input giving κ (channel, *kernel).
        drift: Network from (z, t, covariates) to z's shape.
        diffusion: Network without input giving the diagonal of C (latent,).
        var_zeta: Network without input giving the macroscale expert's variance (channel, *space).
        decoder: Network from η (..., n_eta) to (..., channel, *space); None if n_eta = 0.
        var_eta: As `var_zeta`, for the microscale expert; None if n_eta = 0.
        encoder: Function without argument making the microscale encoder that suits the decoder, a
            network from (..., channel, *space) to (..., n_eta); for guides.
        initial_sd: p(z(t₀)) = N(0, initial_sd²), for simulation from the prior.
        score_initial: Count KL(q(z(t₀)) ‖ p(z(t₀))) in the ELBO.
        num_covariates: How many covariates the drift takes.
        num_controls: How many controls it takes after them.
        static: (num_coarse, s) static fields that it was made with; None: there are none.
        likelihood: From mean and variance of fields to their law, of each element by itself, such
            as `pyro_msde.likelihoods.student`; a function of a module, which can be pickled.
        front: Network from T_p ζ (..., channel, *space) to the factor, shaped alike, by which both
            variances depend on the state, such as `pyro_msde.networks.FrontVariance`; None: they
            do not.
        correlation: Function without argument making a network from an expert's variances
            (channel, *space) to its precision, as `pyro_msde.likelihoods.PatternCorrelation` is; it
            is called for each expert. None: precisions are diagonal.
        noise_axes: Network from the number of latent states to the axes in which C is diagonal,
            (latent, latent) or None, such as `pyro_msde.networks.NoiseAxes`; None: the states.
        config: How a registered case builds this model again, for `pyro_msde.load`.
    """

    @renamed_arguments(num_parameters="num_covariates")
    def __init__(
        self,
        grid: Places,
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
        num_covariates: int = 0,
        num_controls: int = 0,
        static: Tensor | None = None,
        likelihood: Callable[[Tensor, Tensor], Distribution] = FieldNormal,
        front: nn.Module | None = None,
        correlation: Callable[[], nn.Module] | None = None,
        noise_axes: nn.Module | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if correlation is not None and likelihood is not FieldNormal:
            raise ValueError("likelihood: only normal errors go together. Leave correlation out.")
        if (n_eta > 0) != (decoder is not None) or (n_eta > 0) != (var_eta is not None):
            raise ValueError(
                f"n_eta={n_eta}: decoder and var_eta go with n_eta > 0, and only then."
            )
        self.grid, self.n_eta = grid, n_eta
        self.kernel, self.drift, self.diffusion = Part(kernel), Part(drift), Part(diffusion)
        self.var_zeta = Part(var_zeta)
        self.decoder = None if decoder is None else Part(decoder)
        self.var_eta = None if var_eta is None else Part(var_eta)
        self.front = None if front is None else Part(front)
        self.correlation_zeta = None if correlation is None else Part(correlation())
        self.correlation_eta = Part(correlation()) if correlation is not None and n_eta else None
        self.noise_axes = noise_axes
        self.make_encoder = encoder
        self.initial_sd, self.score_initial = initial_sd, score_initial
        self.num_covariates, self.num_controls = num_covariates, num_controls
        self.static, self.likelihood = static, likelihood
        self.config = None if config is None else dict(config)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; networks are set within their parts.

        Raises:
            ValueError: A network in the place of a part.
        """
        if isinstance(self.__dict__.get("_modules", {}).get(name), Part):
            if isinstance(value, nn.Module) and not isinstance(value, Part):
                raise ValueError(f"model.{name}: set model.{name}.net, the network of this part.")
        super().__setattr__(name, value)

    @property
    def num_latent(self) -> int:
        """n_ζ + n_η."""
        return self.grid.num_zeta + self.n_eta

    def bind(self, sites: Mapping[str, Tensor] | None = None) -> BoundMultiscale:
        """Read every part once: from its site of θ, from its own parameters, or from `sites`.

        Args:
            sites: Values of the sites `<part>.theta` by name, as a guide draws them: a function
                like any other then, of which Pyro knows nothing. None: as a Pyro program.
        """
        bound = BoundMultiscale(
            self.grid,
            self.make_operators(self.kernel.read(sites)()),
            self.drift.read(sites),
            self.diffusion.read(sites)(),
            None if self.decoder is None else self.decoder.read(sites),
            self.var_zeta.read(sites)(),
            None if self.var_eta is None else self.var_eta.read(sites)(),
            self.likelihood,
            None if self.front is None else self.front.read(sites),
            noise_axes=None if self.noise_axes is None else self.noise_axes(self.num_latent),
        )
        if self.correlation_zeta is None:
            return bound
        precision, prec_eta = self.correlation_zeta.read(sites)(bound.var_zeta), None
        if self.correlation_eta is not None:
            prec_eta = self.correlation_eta.read(sites)(bound.var_eta)
            precision = precision.plus(prec_eta)
        return replace(bound, prec_eta=prec_eta, precision=precision)

    def make_operators(self, kernel: Any) -> Any:
        """The scale operators of what the kernel's network gives."""
        return self.grid.operators(kernel)

    def forward(self, batch: SegmentBatch) -> Tensor:
        """Run the program on a minibatch of segments; returns the fields."""
        bound = self.bind()
        path = self.path_law(bound, batch)
        index = torch.arange(len(batch.times), device=batch.times.device)
        with pyro.plate("segments", batch.num_segments, subsample=index):
            z = pyro.sample("path", path)
            law = WeightedFields(
                bound.observe(z),
                self.grid.ndim + 1,
                weight=batch.observation_weight,
                observed=batch.observed,
            )
            fields: Tensor = pyro.sample("field", law, obs=batch.values)
        return fields

    def path_law(self, bound: BoundModel, batch: SegmentBatch) -> LatentSDE:
        """The latent SDE on the batch's times."""
        mean = torch.zeros_like(bound.diffusion)
        return LatentSDE(
            batch.inputs.driving(bound.drift),
            bound.diffusion,
            batch.times,
            initial_mean=mean,
            initial_var=mean + self.initial_sd**2,
            initial_weight=batch.initial_weight if self.score_initial else None,
            noise_axes=noise_axes(bound),
        )
