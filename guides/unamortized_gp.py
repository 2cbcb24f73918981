"""Guide without an encoder: the marginals at each training observation are parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from pyro_msde.data import SegmentBatch, Segments, Trajectories, observed_snapshots
from pyro_msde.guides.amortized_gp import AmortizedGP, EncodableModel
from pyro_msde.guides.inversion import fit_states
from pyro_msde.priors import starting_values
from pyro_msde.protocols import BoundModel
from pyro_msde.sde import GaussianMarginals

__all__ = ["UnamortizedGP"]

_AT_ONCE = 256  # snapshots encoded at the start of training


class UnamortizedGP(AmortizedGP):
    """Guide of the path with free means and variances at every observation of the training data.

    They are interpolated in time as those of `AmortizedGP`. Nothing is learned about snapshots that
    were not trained on; one that a forecast starts from is encoded as its restriction T_r y and the
    η that fits y − T_p T_r y best, with the variance of an average observation.

    Args:
        model: As for `AmortizedGP`, whose encoder only says where the means start.
        data: The training trajectories, to be passed to `pyro_msde.fit`.
        **options: Of `AmortizedGP`, but `heteroscedastic`: variances are free already.

    Raises:
        ValueError: As `AmortizedGP`.
    """

    started: Tensor

    def __init__(self, model: EncodableModel, data: Trajectories, **options: Any) -> None:
        if options.pop("heteroscedastic", False):
            raise ValueError("heteroscedastic: variances are free already. Leave it out.")
        if not isinstance(data, Trajectories):
            raise ValueError(f"data: got {type(data).__name__}. Pass the training Trajectories.")
        super().__init__(model, **options)
        self.config = None
        size = (self._count(data), model.num_latent)
        self.node_means = nn.Parameter(torch.zeros(size))
        self.node_deviations = nn.Parameter(torch.zeros(size))  # of log λ
        self.register_buffer("started", torch.tensor(False))

    def check_data(self, data: Trajectories) -> None:
        """Refuse other data than those it was made for, as far as their number tells."""
        count = self._count(data)
        if count != len(self.node_means):
            raise ValueError(
                f"guide: made for {len(self.node_means)} observations, the data have "
                f"{count}. Make it with the trajectories that are fitted."
            )

    def _count(self, data: Trajectories) -> int:
        """Snapshots of which something was observed: others are no nodes."""
        return observed_snapshots(data, self.model.grid).num_observations

    @torch.no_grad()
    def start_nodes(self, segments: Segments) -> None:
        """Put the means where the encoder puts them, unless that has been done before."""
        if bool(self.started):
            return
        bound = self.model.bind(starting_values(self.model))
        means = []
        for k in range(len(segments.values)):
            fields = segments.values[k][:].to(self.node_means)
            for part in torch.arange(len(fields)).split(_AT_ONCE):
                rows = segments.inputs(k).to(fields).of_fields(segments.times[k][part][None])
                row = None if rows is None else rows[0]
                means.append(self.encoder_mean(fields[part], bound, row))
        self.node_means.copy_(torch.cat(means))
        self.started.fill_(True)

    def path_marginals(self, batch: SegmentBatch, bound: BoundModel) -> GaussianMarginals:
        """q(z|t) over the batch's segments; the same at every draw of θ."""
        nodes = self.node_means[batch.observations]
        log = self.node_variance().log() + self.node_deviations[batch.observations]
        return self.interpolated(batch, nodes, log, bound)

    def encode(
        self,
        values: Tensor,
        bound: Any,
        covariates: Tensor | None = None,
        observed: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As `AmortizedGP.encode`, by least squares; not to be differentiated.

        Args:
            values: As there.
            bound: A `BoundMultiscale`: what is fitted by least squares are its two experts.
            covariates: As there.
            observed: As there.
        """
        mean = self.encoder_mean(values, bound, covariates)
        if bound.decoder is not None:
            split = mean.shape[-1] - self.model.n_eta
            zeta, eta = mean[..., :split], mean[..., split:]
            detail = values - bound.operators.prolong(self.model.grid.unflatten(zeta))
            share = bound.var_zeta / (bound.var_zeta + bound.var_eta)  # Σ_y S_η
            rows = eta.reshape(-1, self.model.n_eta)
            weight = 1 / (bound.var_eta * share)  # Σ_y⁻¹, and nothing in gaps
            if observed is not None:
                weight = (weight * observed).expand(detail.shape)
            eta = fit_states(
                lambda at: share * bound.decoder(at),
                rows,
                detail.reshape(len(rows), *share.shape),
                weight.reshape(-1, *share.shape),
            ).reshape(eta.shape)
            mean = torch.cat([zeta, eta], -1)
        log = self.node_variance().log() + self.node_deviations.mean(0)
        if observed is not None:
            log = self.grown(log, self.model.grid.unseen_states(observed, mean.dtype), bound)
        return mean, self.covariance_along(log, mean, bound)
