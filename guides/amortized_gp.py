"""Amortised guide: encoded observations, interpolated in time by a deep kernel (App. E).

    q(z|t) = N(μ(t), Σ(t)),   μ(t) = W(t) μ_nodes,   μ_nodes,i = (T_r y_i, E(y_i − S y_i)),

log Σ(t) likewise, from Σ_e at the nodes: learned, constant and diagonal unless asked otherwise.
Between them Σ(t) grows by what a path with the model's diffusion strays (`pyro_msde.sde.bridge`).
Where a snapshot has gaps, Σ_e grows by the share of the prior's variance that nothing tells of
(`pyro_msde.grid.unseen`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import pyro
import torch
from pyro.infer.autoguide import AutoGuide, AutoNormal
from pyro.nn import PyroModule
from torch import Tensor, nn

from pyro_msde.checks import check_choice, check_flag, check_kind, check_seed
from pyro_msde.data import SegmentBatch
from pyro_msde.guides.covariances import COVARIANCES, Rotation, VarianceNetwork
from pyro_msde.guides.interpolation import DeepKernel, Interpolant
from pyro_msde.guides.kernel_fitting import choose_kernel
from pyro_msde.guides.parameters import ThetaProgram, parameter_guide
from pyro_msde.isolation import Isolation
from pyro_msde.priors import LogVariance
from pyro_msde.protocols import BoundModel, Model
from pyro_msde.runs import check_size, register
from pyro_msde.sde import GaussianMarginals, Moments, bridge, covariance, noise_axes

__all__ = ["AmortizedGP", "EncodableModel"]

# of states that nothing was seen of: in scaled units a field's is 1; microscale states have no
# units, and varied by 1 to 4 in all runs that were looked at
_VARIANCE_ZETA, _VARIANCE_ETA = 1.0, 2.0


class EncodableModel(Model, Protocol):
    """A model that says which encoder suits it; None: one is passed to the guide."""

    make_encoder: Callable[[], nn.Module] | None


class AmortizedGP(PyroModule):
    """Guide of the latent path, amortised over trajectories, and of θ where the model has priors.

    Args:
        model: Model with `grid`, `n_eta`, `bind` and `make_encoder`, such as
            `pyro_msde.models.Multiscale`. Held by reference; its parameters stay its own.
        theta: Autoguide class for θ, or anything called like one, such as
            `partial(AutoLowRankMultivariateNormal, rank=8)`; used if the model has priors.
        covariance: Of q(z|t): "diagonal", as published; "full"; "block", macroscale and microscale
            states each among themselves. The last two cost O(n³) at each quadrature node.
        heteroscedastic: Let Σ_e depend on the snapshot, through a network of its encoded mean.
        encoder: Network from y − S y (..., channel, *space) to (..., n_eta), called with the
            trajectories' covariates and controls (..., p + c) as well if it has `num_covariates`.
            None: the model's.
        kernel: Deep kernel of time. None: a new one.
        seed: Of the initial weights.

    Raises:
        ValueError: The model has microscale states and offers no encoder for them, an unknown
            covariance, or arguments of another kind.
    """

    def __init__(
        self,
        model: EncodableModel,
        *,
        theta: Callable[..., AutoGuide] = AutoNormal,
        covariance: str = "diagonal",
        heteroscedastic: bool = False,
        encoder: nn.Module | None = None,
        kernel: DeepKernel | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_choice("covariance", covariance, tuple(COVARIANCES))
        check_flag("heteroscedastic", heteroscedastic)
        seed = check_seed("seed", seed)
        _check_parts(model, encoder, kernel)
        self._model = (model,)  # in a tuple: not a submodule, whose names and owner would change
        # how `pyro_msde.load` builds this guide again; not with parts of the user's own
        self.config: dict[str, Any] | None = {
            "case": "AmortizedGP",
            "covariance": covariance,
            "heteroscedastic": heteroscedastic,
        }
        if theta is not AutoNormal or encoder is not None or kernel is not None:
            self.config = None
        with Isolation(seed).turn():
            if encoder is None and model.n_eta:
                if model.make_encoder is None:
                    raise ValueError("encoder: the model offers none; pass one to the guide.")
                encoder = model.make_encoder()
            self.encoder = encoder
            self.time_kernel = DeepKernel() if kernel is None else kernel
            self.deviation = VarianceNetwork(model.num_latent) if heteroscedastic else None
        self.node_variance = LogVariance((model.num_latent,), 1e-3)
        blocks = COVARIANCES[covariance](model.num_latent - model.n_eta, model.n_eta)
        check_size("covariance", sum(size**2 for size in blocks))
        self.axes = Rotation(blocks) if blocks else None
        self.theta = parameter_guide(model, theta)

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles hold.

        An autoguide forgets its program when it is copied, the original as well; so it is given a
        shallow copy of itself to forget in, and `__setstate__` tells the copy again.
        """
        state = dict(super().__getstate__())
        if self.theta is not None:
            theta = object.__new__(type(self.theta))
            theta.__dict__.update(self.theta.__dict__)
            state["_modules"] = {**state["_modules"], "theta": theta}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Undo `__getstate__`."""
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        if self.theta is not None:
            self.theta._model = (ThetaProgram(self.model),)

    @property
    def model(self) -> EncodableModel:
        """The model that this guide belongs to."""
        return self._model[0]

    def read_theta(self) -> dict[str, Tensor]:
        """Draw θ from q(θ): the values of the sites `<part>.theta`."""
        return {} if self.theta is None else dict(self.theta())

    def encode(
        self,
        values: Tensor,
        bound: BoundModel,
        covariates: Tensor | None = None,
        observed: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Moments of q(z | y): mean (..., latent), and variance shaped alike or covariance.

        Args:
            values: Fields (..., channel, *space) in scaled units.
            bound: The model at a draw of θ, which may hold the smoothing kernel.
            covariates: (..., p + c) the trajectories' covariates and then controls, broadcast
                against `values`.
            observed: Where `values` were observed, shaped alike; None: everywhere.

        Returns:
            (..., latent), and (..., latent) or (..., latent, latent) float64.
        """
        mean = self.encoder_mean(values, bound, covariates)
        log = self.node_log_variance(mean)
        if observed is not None:
            log = self.grown(log, self.model.grid.unseen_states(observed, mean.dtype), bound)
        return mean, self.covariance_along(log, mean, bound)

    def encoder_mean(
        self, values: Tensor, bound: BoundModel, covariates: Tensor | None = None
    ) -> Tensor:
        """(T_r y, E(y − S y)), (..., latent); arguments as of `encode`."""
        operators, grid = bound.operators, self.model.grid
        if self.encoder is None:
            zeta: Tensor = grid.flatten(operators.restrict(values))
            return zeta
        smoothed = operators.smooth(values)
        zeta = grid.flatten(operators.sample(smoothed))
        inputs = (covariates,) if getattr(self.encoder, "num_covariates", 0) else ()
        return torch.cat([zeta, self.encoder(values - smoothed, *inputs)], -1)

    def node_log_variance(self, mean: Tensor) -> Tensor:
        """Log λ along Σ_e's axes, (latent,), or (..., latent) if it depends on the snapshot."""
        log = self.node_variance().log()
        return log if self.deviation is None else log + self.deviation(mean)

    def axes_of(self, bound: BoundModel) -> Tensor | None:
        """Q (latent, latent), Σ_e's axes: the guide's, or those of the model's C; None: states."""
        return noise_axes(bound) if self.axes is None else self.axes()

    def covariance_along(self, log_variance: Tensor, mean: Tensor, bound: BoundModel) -> Tensor:
        """Σ_e of an encoded mean (..., latent): variances, or dense where there are axes."""
        var, axes = log_variance.exp(), self.axes_of(bound)
        if axes is None:
            return var.expand_as(mean)
        cov = covariance(var.double(), axes)
        return cov.expand(*mean.shape, mean.shape[-1])

    def grown(self, log_variance: Tensor, unseen: Tensor, bound: BoundModel) -> Tensor:
        """Log λ of snapshots with gaps, (..., latent).

        Args:
            log_variance: Without gaps, (latent,) or (..., latent).
            unseen: (..., num_zeta + 1) of `Places.unseen_states`.
            bound: The model at a draw of θ.
        """
        zeta, eta = unseen[..., :-1], unseen[..., -1:].expand(*unseen.shape[:-1], self.model.n_eta)
        growth = torch.cat([_VARIANCE_ZETA * zeta, _VARIANCE_ETA * eta], -1)
        axes = self.axes_of(bound)
        if axes is not None:
            growth = growth @ axes.square().to(growth)
        return (log_variance.exp() + growth).log()

    def path_marginals(self, batch: SegmentBatch, bound: BoundModel) -> GaussianMarginals:
        """q(z|t) over the batch's segments at a draw of θ."""
        nodes = self._nodes(batch, bound)
        log = self.node_log_variance(nodes)
        log = log if batch.unseen is None else self.grown(log, batch.unseen, bound)
        return self.interpolated(batch, nodes, log, bound)

    def _nodes(self, batch: SegmentBatch, bound: BoundModel) -> Tensor:
        """(segment, time, latent) of the encoded snapshots."""
        return self.encoder_mean(batch.values, bound, batch.inputs.of_fields(batch.times))

    @torch.no_grad()
    def choose_interpolation(self, batches: Sequence[SegmentBatch], bound: BoundModel) -> None:
        """Set the kernel's length scale and noise to what predicts encoded snapshots best.

        Each is predicted from the others of its segment (`pyro_msde.guides.kernel_fitting`).
        """
        segments = []
        for batch in batches:
            nodes = self._nodes(batch, bound)
            segments += list(zip(batch.times, nodes, strict=True))
        choose_kernel(self.time_kernel, segments, rough=noise_axes(bound) is not None)

    def interpolated(
        self,
        batch: SegmentBatch,
        nodes: Tensor,
        log_variance: Tensor,
        bound: BoundModel | None = None,
    ) -> GaussianMarginals:
        """Marginals from their means and log variances at the observations.

        Args:
            batch: The segments.
            nodes: (segment, time, latent).
            log_variance: Along Σ_e's axes, (latent,) or shaped as the nodes.
            bound: The model at a draw of θ, by whose C a path strays between observations; None:
                variances are interpolated only.
        """
        # Equal offsets mean equal weights: one row serves all segments.
        rows = slice(1) if batch.shared_offsets else slice(None)
        noisy = None if bound is None else noise_axes(bound)
        rough = noisy is not None  # only models of noisy paths have axes
        interpolant = Interpolant(self.time_kernel, batch.times[rows], rough=rough)
        own = None if self.axes is None else self.axes()

        def moments(at: Tensor) -> Moments:
            W, W_dot = (w.to(nodes.dtype) for w in interpolant.weights(at[rows]))
            if log_variance.ndim == 1:
                log, rate = (w.sum(-1)[..., None] * log_variance for w in (W, W_dot))
            else:
                log, rate = W @ log_variance, W_dot @ log_variance
            cov, cov_dot = log.exp(), log.exp() * rate
            if own is not None:
                cov, cov_dot = (covariance(x.double(), own) for x in (cov, cov_dot))
            if bound is not None:
                both = bridge(batch.times[rows], at[rows], bound.diffusion)
                strays = both if own is None else (covariance(x, noisy) for x in both)
                cov, cov_dot = (c + more for c, more in zip((cov, cov_dot), strays, strict=True))
            cov, cov_dot = (c.expand(len(nodes), *c.shape[1:]) for c in (cov, cov_dot))
            return Moments(W @ nodes, W_dot @ nodes, cov, cov_dot, noisy if own is None else None)

        return GaussianMarginals(batch.times, moments, batch.quadrature)

    def forward(self, batch: SegmentBatch) -> Tensor:
        """Draw θ and the path's marginals for a minibatch; returns the path."""
        marginals = self.path_marginals(batch, self.model.bind(self.read_theta()))
        index = torch.arange(len(batch.times), device=batch.times.device)
        with pyro.plate("segments", batch.num_segments, subsample=index):
            path: Tensor = pyro.sample("path", marginals)
        return path


def _check_parts(model: Any, encoder: Any, kernel: Any) -> None:
    """What the guide is made of, by kind."""
    built = "one that is built, as multiscale(…) builds it"
    check_kind("model", model, nn.Module, built)
    check_kind("model", model, ("grid", "n_eta", "num_latent", "bind", "make_encoder"), built)
    for name, part in (("encoder", encoder), ("kernel", kernel)):
        if part is not None:
            check_kind(name, part, nn.Module, "a torch.nn.Module")


@register("AmortizedGP")
def _rebuilt(model: EncodableModel, **options: Any) -> AmortizedGP:
    return AmortizedGP(model, **options)
