"""Longest steps of integration, as fractions of the training horizon.

Steps are shorter where the drift is too stiff for them (`stable_step`).
"""

from __future__ import annotations

__all__ = ["CHOOSING_STEP", "FORECAST_STEP", "SHORTEST_STEP", "VALIDATION_STEP"]

FORECAST_STEP = 1 / 1000  # of forecasts, unless told otherwise
CHOOSING_STEP = 1 / 500  # of many forecasts of which the best is kept: scales of √C, starts
VALIDATION_STEP = 1 / 250  # of forecasts while training goes on
SHORTEST_STEP = 1 / 50_000  # which no sensible drift needs
