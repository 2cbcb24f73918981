"""What to compare with: simple forecasts, look-ups of training trajectories, and the POD basis."""

from pyro_msde.baselines.anomalies import Climatology, DampedPersistence, Persistence
from pyro_msde.baselines.gaussian import FittedBaseline, GaussianForecast
from pyro_msde.baselines.linear_inverse import LinearInverseModel
from pyro_msde.baselines.look_ups import (
    choose_regression,
    mean_trajectory,
    nearest_trajectory,
    persistence,
    principal_regression,
)
from pyro_msde.baselines.pod import pod_basis
from pyro_msde.baselines.simple import Baseline, simple_baselines

__all__ = [
    "Baseline",
    "Climatology",
    "DampedPersistence",
    "FittedBaseline",
    "GaussianForecast",
    "LinearInverseModel",
    "Persistence",
    "choose_regression",
    "mean_trajectory",
    "nearest_trajectory",
    "persistence",
    "pod_basis",
    "principal_regression",
    "simple_baselines",
]
