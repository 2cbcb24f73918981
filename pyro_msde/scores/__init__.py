"""Forecasts against the truth: errors, proper scores, calibration, spectra, and what mends them."""

from pyro_msde.scores.anomalies import anomaly_correlation, relative_squares, skill
from pyro_msde.scores.areas import area_weights
from pyro_msde.scores.averages import mean_and_error, mean_of
from pyro_msde.scores.calibration_report import CalibrationReport, relative_power
from pyro_msde.scores.calibration_scores import calibration
from pyro_msde.scores.comparison import compare
from pyro_msde.scores.diffusion_scale import WIDER, choose_diffusion_scale
from pyro_msde.scores.forecast_scores import coverage, crps, nrmse, pit, spread_skill
from pyro_msde.scores.parameter_scale import choose_parameter_scale
from pyro_msde.scores.recalibration import BINS, Calibration
from pyro_msde.scores.spectra import shell_spectrum
from pyro_msde.scores.targets import aligned, on_grid
from pyro_msde.scores.window_scores import WindowScores, window_scores

__all__ = [
    "BINS",
    "WIDER",
    "Calibration",
    "CalibrationReport",
    "WindowScores",
    "aligned",
    "anomaly_correlation",
    "area_weights",
    "calibration",
    "choose_diffusion_scale",
    "choose_parameter_scale",
    "compare",
    "coverage",
    "crps",
    "mean_and_error",
    "mean_of",
    "nrmse",
    "on_grid",
    "pit",
    "relative_power",
    "relative_squares",
    "shell_spectrum",
    "skill",
    "spread_skill",
    "window_scores",
]
