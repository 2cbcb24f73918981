"""Gaussian marginals q(z|t) = N(μ(t), Σ(t)) of a linear SDE (Ilersich & Nair 2025, eq. 25).

Only the marginals are known to the guide, not the correlation between times: draws at different
times are independent. That is all the ELBO (27) asks for, since both of its terms are expectations
of functions of one time each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyro_msde.data import Quadrature
from pyro_msde.sde.axes import covariance, turned_back

__all__ = ["GaussianMarginals", "Moments", "sample_moments"]


class Moments(NamedTuple):
    """Mean and covariance of the marginals at some times, with their time derivatives.

    mean, mean_dot: (..., time, latent). cov, cov_dot: (..., time, latent) when diagonal,
    (..., time, latent, latent) when dense, which may be of higher precision than the means.
    axes: (latent, latent) orthogonal; in its columns what is diagonal is so. None: in the states.
    """

    mean: Tensor
    mean_dot: Tensor
    cov: Tensor
    cov_dot: Tensor
    axes: Tensor | None = None

    def dense(self) -> Moments:
        """The same with covariances (..., time, latent, latent)."""
        if self.cov.ndim > self.mean.ndim:
            return self
        both = (covariance(x, self.axes) for x in (self.cov, self.cov_dot))
        return Moments(self.mean, self.mean_dot, *both)


def sample_moments(mean: Tensor, cov: Tensor, noise: Tensor, axes: Tensor | None = None) -> Tensor:
    """Reparametrised draws N(mean, cov) from standard normal `noise`, shaped like it.

    `axes` as in `Moments`.
    """
    if cov.ndim == mean.ndim:
        return mean + turned_back(cov.sqrt() * noise, axes)
    chol = torch.linalg.cholesky(cov).to(noise.dtype)
    return mean + (chol @ noise[..., None])[..., 0]


class GaussianMarginals(TorchDistribution):
    """Guide of the latent path: its marginals at the observation times, and at any other time.

    batch_shape (segment,), event_shape (time, latent). A draw holds independent draws of the
    marginals at the observation times, hence no density as a path: the divergence from a
    `LatentSDE` is the drift residual (`pyro_msde.sde.drift_residual`).

    Args:
        times: (segment, time) float64 observation times.
        moments: Function from times (segment, q) to `Moments` there.
        quadrature: Where the drift residual is integrated.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012
    support = constraints.independent(constraints.real, 2)
    has_rsample = True

    def __init__(
        self,
        times: Tensor,
        moments: Callable[[Tensor], Moments],
        quadrature: Quadrature,
    ) -> None:
        self.times = times
        self.moments = moments
        self.quadrature = quadrature
        self.at_times = moments(times)
        mean = self.at_times.mean
        super().__init__(mean.shape[:-2], mean.shape[-2:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(segment, time, latent)."""
        return self.at_times.mean

    @property
    def variance(self) -> Tensor:
        """(segment, time, latent), the diagonal."""
        cov, axes = self.at_times.cov, self.at_times.axes
        if cov.ndim > self.mean.ndim:
            return cov.diagonal(dim1=-2, dim2=-1)
        return cov if axes is None else cov @ axes.square().mT.to(cov.dtype)

    def expand(self, batch_shape: Any, _instance: Any = None) -> GaussianMarginals:
        """The marginals themselves; other batch shapes are not meaningful.

        Raises:
            ValueError: `batch_shape` is not the number of segments.
        """
        if torch.Size(batch_shape) != self.batch_shape:
            raise ValueError(
                f"batch_shape: {tuple(batch_shape)} asked of the marginals of "
                f"{tuple(self.batch_shape)} segments. Subsample the plate by the batch's segments."
            )
        return self

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        """Independent draws at each observation time, (sample, segment, time, latent)."""
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(shape, dtype=self.mean.dtype, device=self.mean.device)
        return sample_moments(self.mean, self.at_times.cov, noise, self.at_times.axes)

    def log_prob(self, value: Tensor) -> Tensor:
        """Not defined.

        Raises:
            TypeError: Always; the message says what to use.
        """
        raise TypeError(
            "GaussianMarginals has no path density: its draws are marginals, one a time. Use "
            "pyro_msde.MultiscaleELBO, which integrates the drift residual instead."
        )
