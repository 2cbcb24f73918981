"""From weights and an initial field to the predictive law of the field at later times."""

from pyro_msde.forecasts.mixtures import Mixture
from pyro_msde.forecasts.posterior_predictive import Forecast
from pyro_msde.forecasts.region import Region, learned_region
from pyro_msde.forecasts.simulation import forecast

__all__ = [
    "Forecast",
    "Mixture",
    "Region",
    "forecast",
    "learned_region",
]
