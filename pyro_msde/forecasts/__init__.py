"""From weights and an initial field to the predictive law of the field at later times."""

from pyro_msde.forecasts.arguments import (
    checked_start,
    first_snapshots,
    matched_trajectories,
    scaled_covariates,
)
from pyro_msde.forecasts.imposed import controls_of, controls_of_fields
from pyro_msde.forecasts.initial_fields import LARGEST_FIELD, initial_fields
from pyro_msde.forecasts.mixtures import Mixture
from pyro_msde.forecasts.path_noise import PathNoise
from pyro_msde.forecasts.posterior_predictive import Forecast
from pyro_msde.forecasts.region import Region, learned_region
from pyro_msde.forecasts.residual_memory import ResidualMemory, pooled_residual, residual_memory
from pyro_msde.forecasts.simulation import encodable, forecast
from pyro_msde.forecasts.trust import Trust, share_outside, start_misfit, variance_over_paths

__all__ = [
    "LARGEST_FIELD",
    "Forecast",
    "Mixture",
    "PathNoise",
    "Region",
    "ResidualMemory",
    "Trust",
    "checked_start",
    "controls_of",
    "controls_of_fields",
    "encodable",
    "first_snapshots",
    "forecast",
    "initial_fields",
    "learned_region",
    "matched_trajectories",
    "pooled_residual",
    "residual_memory",
    "scaled_covariates",
    "share_outside",
    "start_misfit",
    "variance_over_paths",
]
