"""Learn stochastic multiscale models from data, with Pyro.

fit = pyro_msde.fit(model, guide, data, validation=validation)
forecast = fit.predict(y0, times)
"""

from pyro_msde.data import Cycle, Log, Trajectories
from pyro_msde.errors import NonFiniteLossError, NotPositiveDefiniteError, SavedRunError
from pyro_msde.forecasts import Forecast
from pyro_msde.grid import Grid, SensorGraph
from pyro_msde.inference import MultiscaleELBO
from pyro_msde.interface import Ensemble, Fit, fit, fit_hierarchical, grow, load
from pyro_msde.protocols import Callback
from pyro_msde.runs import History, Recipe
from pyro_msde.scores import (
    CalibrationReport,
    anomaly_correlation,
    calibration,
    compare,
    coverage,
    crps,
    nrmse,
    pit,
    skill,
    spread_skill,
)

__version__ = "0.1.0"
__all__ = [
    "CalibrationReport",
    "Callback",
    "Cycle",
    "Ensemble",
    "Fit",
    "Forecast",
    "Grid",
    "History",
    "Log",
    "MultiscaleELBO",
    "NonFiniteLossError",
    "NotPositiveDefiniteError",
    "Recipe",
    "SavedRunError",
    "SensorGraph",
    "Trajectories",
    "anomaly_correlation",
    "calibration",
    "compare",
    "coverage",
    "crps",
    "fit",
    "fit_hierarchical",
    "grow",
    "load",
    "nrmse",
    "pit",
    "skill",
    "spread_skill",
]
