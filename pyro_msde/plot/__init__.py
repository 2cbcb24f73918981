"""Pictures of forecasts, scales, operators and training, as wide as a paper's column or page.

Every function draws into Axes that it is given, or makes its own, and returns them. Colours are
Okabe and Ito's, told apart by colour-blind readers too; matplotlib's settings are left alone.
"""

from pyro_msde.plot.calibration import (
    calibration_by_lead,
    pit_histogram,
    reliability_diagram,
    spectral_error,
)
from pyro_msde.plot.comparison import forecast_comparison, forecast_images
from pyro_msde.plot.diagnostics import coverage_by_lead, history
from pyro_msde.plot.forecasts import forecast_snapshots, forecast_spacetime
from pyro_msde.plot.latent import latent_paths
from pyro_msde.plot.lead_comparison import comparison_by_lead
from pyro_msde.plot.movies import animation, save_animation
from pyro_msde.plot.operators import scale_operators, smoothing_kernel
from pyro_msde.plot.overview import forecast_overview
from pyro_msde.plot.scales import scale_images, scale_separation
from pyro_msde.plot.sensitivity import drift_sensitivity
from pyro_msde.plot.spectra import power_spectra

__all__ = [
    "animation",
    "calibration_by_lead",
    "comparison_by_lead",
    "coverage_by_lead",
    "drift_sensitivity",
    "forecast_comparison",
    "forecast_images",
    "forecast_overview",
    "forecast_snapshots",
    "forecast_spacetime",
    "history",
    "latent_paths",
    "pit_histogram",
    "power_spectra",
    "reliability_diagram",
    "save_animation",
    "scale_images",
    "scale_operators",
    "scale_separation",
    "smoothing_kernel",
    "spectral_error",
]
