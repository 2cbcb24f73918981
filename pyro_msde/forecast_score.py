"""A proper score of short forecasts, by which the diffusion may be learned.

The ELBO does not fit C as the variance of what the drift misses: both of its path measures have the
same C, and at the optimum it is far too small where a snapshot has many numbers. Forecasts can be
asked instead: paths from encoded snapshots, decoded, against the snapshots that follow. The fair
CRPS is least where they spread as they err (Gneiting & Raftery 2007).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyro_msde.distributions import sample_moments
from pyro_msde.experts import product_mean, product_variance
from pyro_msde.sde import integrate
from pyro_msde.segments import SegmentBatch
from pyro_msde.snapshot_scores import fair_crps

__all__ = ["forecast_score"]

_STEP = 1 / 500  # of the horizon


def forecast_score(
    model: Any, guide: Any, batch: SegmentBatch, *, num_samples: int = 16, num_times: int = 8
) -> Tensor:
    """Mean fair CRPS of forecasts from each segment's first snapshot, in scaled units.

    Differentiable by the diffusion through the paths' noise; the encoder is read without gradient.

    Args:
        model: The generative model.
        guide: Its guide.
        batch: Segments in scaled units.
        num_samples: Latent paths, each with its reconstruction error.
        num_times: Snapshots after the first that are compared, evenly spaced over the segment.
    """
    own, last = batch.parameters, batch.times.shape[1] - 1
    at = torch.linspace(0, last, min(num_times, last) + 1).round().long()
    with torch.no_grad():
        sites = guide.read_theta()
        theta = model.read_parameters(sites)
        mean, cov = guide.encode(batch.values[:, 0], sites, theta.operators, own)
        start = sample_moments(mean, cov, torch.randn(num_samples, *mean.shape).to(mean))
    diffusion = model.read_parameters(sites).diffusion
    paths = integrate(
        partial(theta.drift, parameters=own), diffusion, start, batch.times[:, at],
        max_step=_STEP,
    )[..., 1:, :]  # fmt: skip
    macro, detail = model.expert_means(theta, paths)
    fields = product_mean(macro, detail, theta.var_zeta, theta.var_eta)
    sd = product_variance(theta.var_zeta, theta.var_eta).sqrt()
    draws = fields + sd * torch.randn_like(fields)
    return fair_crps(draws, batch.values[:, at[1:]]).mean()
