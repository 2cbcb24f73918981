"""Forecasts against the truth: errors, proper scores, calibration, spectra, and what mends them."""

from pyro_msde.scores.calibration_report import CalibrationReport, mean_and_error, relative_power
from pyro_msde.scores.calibration_scores import calibration
from pyro_msde.scores.comparison import compare
from pyro_msde.scores.forecast_scores import (
    coverage,
    crps,
    nrmse,
    pit,
    relative_squares,
    spread_skill,
)
from pyro_msde.scores.predictive import aligned
from pyro_msde.scores.recalibration import BINS, Calibration, choose_diffusion_scale
from pyro_msde.scores.spectra import shell_spectrum

__all__ = [
    "BINS",
    "Calibration",
    "CalibrationReport",
    "aligned",
    "calibration",
    "choose_diffusion_scale",
    "compare",
    "coverage",
    "crps",
    "mean_and_error",
    "nrmse",
    "pit",
    "relative_power",
    "relative_squares",
    "shell_spectrum",
    "spread_skill",
]
