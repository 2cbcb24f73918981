"""Forecasts of test trajectories as ArviZ data."""

from pyro_msde.io.arviz.conversion import to_arviz
from pyro_msde.io.arviz.observations import observed_only
from pyro_msde.io.arviz.parameters import kernel_draws

__all__ = ["kernel_draws", "observed_only", "to_arviz"]
