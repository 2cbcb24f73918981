"""Learn stochastic multiscale models from data, with Pyro.

fit = pyro_msde.fit(model, guide, data, validation=validation)
forecast = fit.predict(y0, times)
"""

from pyro_msde.calibration_report import CalibrationReport
from pyro_msde.calibration_scores import calibration
from pyro_msde.elbo import MultiscaleELBO
from pyro_msde.ensembles import Ensemble
from pyro_msde.errors import NonFiniteLossError, NotPositiveDefiniteError, SavedRunError
from pyro_msde.fitted import Fit
from pyro_msde.forecasting import Forecast
from pyro_msde.grid import Grid
from pyro_msde.growth import fit_hierarchical, grow
from pyro_msde.history import History
from pyro_msde.interface import fit
from pyro_msde.loading import load
from pyro_msde.recipes import Recipe
from pyro_msde.scores import coverage, crps, nrmse, pit, spread_skill
from pyro_msde.trajectories import Trajectories

__version__ = "0.1.0"
__all__ = [
    "CalibrationReport",
    "Ensemble",
    "Fit",
    "Forecast",
    "Grid",
    "History",
    "MultiscaleELBO",
    "NonFiniteLossError",
    "NotPositiveDefiniteError",
    "Recipe",
    "SavedRunError",
    "Trajectories",
    "calibration",
    "coverage",
    "crps",
    "fit",
    "fit_hierarchical",
    "grow",
    "load",
    "nrmse",
    "pit",
    "spread_skill",
]
