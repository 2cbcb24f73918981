"""Amortised guide: encoded observations, interpolated in time by a deep kernel (App. E).

    q(z|t) = N(μ(t), diag Σ(t)),   μ(t) = W(t) μ_nodes,   μ_nodes,i = (T_r y_i, E(y_i − S y_i)),

log Σ(t) likewise, from a learned constant Σ_e at the nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pyro
import torch
from pyro.infer.autoguide import AutoGuide, AutoNormal
from pyro.nn import PyroModule
from torch import Tensor, nn

from pyro_msde.distributions import GaussianMarginals, Moments
from pyro_msde.guides.parameters import parameter_guide
from pyro_msde.interpolation import DeepKernel, Interpolant
from pyro_msde.parts import LogVariance
from pyro_msde.registry import register
from pyro_msde.segments import SegmentBatch

__all__ = ["AmortizedGP"]


class AmortizedGP(PyroModule):
    """Guide of the latent path, amortised over trajectories, and of θ where the model has priors.

    Args:
        model: Model with `grid`, `n_eta`, `read_parameters` and `make_encoder`, such as
            `pyro_msde.models.Multiscale`. Held by reference; its parameters stay its own.
        theta: Autoguide class for θ, or anything called like one; used if the model has priors.
        encoder: Network from y − S y (..., channel, *space) to (..., n_eta), called with the
            trajectories' parameters (..., p) as well if it has `num_parameters`. None: the model's.
        kernel: Deep kernel of time. None: a new one.
        seed: Of the initial weights.

    Raises:
        ValueError: The model has microscale states and offers no encoder for them.
    """

    def __init__(
        self,
        model: Any,
        *,
        theta: Callable[..., AutoGuide] = AutoNormal,
        encoder: nn.Module | None = None,
        kernel: DeepKernel | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._model = (model,)  # in a tuple: not a submodule, whose names and owner would change
        self.is_default = theta is AutoNormal and encoder is None and kernel is None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if encoder is None and model.n_eta:
                if model.make_encoder is None:
                    raise ValueError("encoder: the model offers none; pass one to the guide.")
                encoder = model.make_encoder()
            self.encoder = encoder
            self.time_kernel = DeepKernel() if kernel is None else kernel
        self.node_variance = LogVariance((model.num_latent,), 1e-3)
        self.theta = parameter_guide(model, theta)

    @property
    def model(self) -> Any:
        """The model that this guide belongs to."""
        return self._model[0]

    def read_theta(self) -> dict[str, Tensor]:
        """Draw θ from q(θ): the values of the sites `<part>.theta`."""
        return {} if self.theta is None else dict(self.theta())

    def encode(
        self,
        values: Tensor,
        theta: Mapping[str, Tensor],
        operators: Any = None,
        parameters: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Mean (..., latent) and variance (latent,) of the encoder; fields (..., channel, *space).

        Args:
            values: Fields in scaled units.
            theta: A draw of θ, which may hold the smoothing kernel.
            operators: The model's scale operators at `theta`, if at hand.
            parameters: (..., p) the trajectories' parameters, broadcast against `values`.
        """
        model = self.model
        if operators is None:
            operators = model.read_parameters(theta).operators
        if self.encoder is None:
            return model.grid.flatten(operators.restrict(values)), self.node_variance()
        smoothed = operators.smooth(values)
        mean = model.grid.flatten(operators.sample(smoothed))
        own = (parameters,) if getattr(self.encoder, "num_parameters", 0) else ()
        mean = torch.cat([mean, self.encoder(values - smoothed, *own)], -1)
        return mean, self.node_variance()

    def path_marginals(
        self, batch: SegmentBatch, theta: Mapping[str, Tensor], operators: Any = None
    ) -> GaussianMarginals:
        """q(z|t) over the batch's segments at a draw of θ."""
        own = None if batch.parameters is None else batch.parameters[:, None]
        mean, var = self.encode(batch.values, theta, operators, own)
        # Equal offsets mean equal weights: one row serves all segments.
        rows = slice(1) if batch.shared_offsets else slice(None)
        interpolant = Interpolant(self.time_kernel, batch.times[rows])

        def moments(at: Tensor) -> Moments:
            W, W_dot = (w.to(mean.dtype) for w in interpolant.weights(at[rows]))
            cov = torch.exp(W.sum(-1)[..., None] * var.log()).expand(len(batch.times), -1, -1)
            return Moments(W @ mean, W_dot @ mean, cov, cov * W_dot.sum(-1)[..., None] * var.log())

        return GaussianMarginals(batch.times, moments, batch.quadrature)

    def forward(self, batch: SegmentBatch) -> Tensor:
        """Draw θ and the path's marginals for a minibatch; returns the path."""
        theta = self.read_theta()
        marginals = self.path_marginals(batch, theta)
        index = torch.arange(len(batch.times), device=batch.times.device)
        with pyro.plate("segments", batch.num_segments, subsample=index):
            path: Tensor = pyro.sample("path", marginals)
        return path


@register("AmortizedGP")
def _default(model: Any, seed: int = 0) -> AmortizedGP:
    return AmortizedGP(model, seed=seed)
