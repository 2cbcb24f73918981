"""What to compare with: look-ups of training trajectories, and the POD basis."""

from pyro_msde.baselines.look_ups import (
    choose_regression,
    mean_trajectory,
    nearest_trajectory,
    persistence,
    principal_regression,
)
from pyro_msde.baselines.pod import pod_basis

__all__ = [
    "choose_regression",
    "mean_trajectory",
    "nearest_trajectory",
    "persistence",
    "pod_basis",
    "principal_regression",
]
