"""Laws of latent paths, the divergence between two of them, and their integration in time."""

from pyro_msde.sde.axes import along, covariance, noise_axes, turned, turned_back
from pyro_msde.sde.bridge import bridge
from pyro_msde.sde.drift_residual import drift_residual, linear_drift
from pyro_msde.sde.dynamics import Dynamics
from pyro_msde.sde.exponential import STABLER, ConfinedDrift, integrate_exponentially
from pyro_msde.sde.gaussian_marginals import GaussianMarginals, Moments, sample_moments
from pyro_msde.sde.integration import FASTEST, cheaper_rule, integrate, stable_step
from pyro_msde.sde.latent_sde import LatentSDE
from pyro_msde.sde.linear import stationary_covariance, transition
from pyro_msde.sde.opposite_pairs import in_opposite_pairs, opposites
from pyro_msde.sde.step_sizes import CHOOSING_STEP, FORECAST_STEP, SHORTEST_STEP, VALIDATION_STEP

__all__ = [
    "CHOOSING_STEP",
    "FASTEST",
    "FORECAST_STEP",
    "SHORTEST_STEP",
    "STABLER",
    "VALIDATION_STEP",
    "ConfinedDrift",
    "Dynamics",
    "GaussianMarginals",
    "LatentSDE",
    "Moments",
    "along",
    "bridge",
    "cheaper_rule",
    "covariance",
    "drift_residual",
    "in_opposite_pairs",
    "integrate",
    "integrate_exponentially",
    "linear_drift",
    "noise_axes",
    "opposites",
    "sample_moments",
    "stable_step",
    "stationary_covariance",
    "transition",
    "turned",
    "turned_back",
]
