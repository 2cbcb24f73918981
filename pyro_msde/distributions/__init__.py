"""Distributions of latent paths, and the divergence between them that trains the model."""

from pyro_msde.distributions.drift_residual import dense_gain, diagonal_gain, linear_drift
from pyro_msde.distributions.gaussian_marginals import GaussianMarginals, Moments, sample_moments
from pyro_msde.distributions.latent_sde import LatentSDE

__all__ = [
    "GaussianMarginals",
    "LatentSDE",
    "Moments",
    "dense_gain",
    "diagonal_gain",
    "linear_drift",
    "sample_moments",
]
