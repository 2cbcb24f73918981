"""Pictures of forecasts, latent states and training, at the width of a paper's column.

Every function draws into Axes that it is given, or makes its own, and returns them. Colours are
Okabe and Ito's, told apart by colour-blind readers too; matplotlib's settings are left alone.
"""

from pyro_msde.plots.diagnostics import coverage_by_lead, history
from pyro_msde.plots.forecasts import forecast_snapshots, forecast_spacetime
from pyro_msde.plots.overview import forecast_overview
from pyro_msde.plots.scales import latent_paths, scale_separation, smoothing_kernel

__all__ = [
    "coverage_by_lead",
    "forecast_overview",
    "forecast_snapshots",
    "forecast_spacetime",
    "history",
    "latent_paths",
    "scale_separation",
    "smoothing_kernel",
]
