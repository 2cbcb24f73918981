"""Laws of latent paths, the divergence between two of them, and their integration in time."""

from pyro_msde.sde.drift_residual import dense_gain, diagonal_gain, linear_drift
from pyro_msde.sde.dynamics import Dynamics
from pyro_msde.sde.gaussian_marginals import GaussianMarginals, Moments, sample_moments
from pyro_msde.sde.integration import FASTEST, integrate, stable_step
from pyro_msde.sde.latent_sde import LatentSDE
from pyro_msde.sde.linear import stationary_covariance, transition

__all__ = [
    "FASTEST",
    "Dynamics",
    "GaussianMarginals",
    "LatentSDE",
    "Moments",
    "dense_gain",
    "diagonal_gain",
    "integrate",
    "linear_drift",
    "sample_moments",
    "stable_step",
    "stationary_covariance",
    "transition",
]
