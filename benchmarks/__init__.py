"""Measurements: accuracy, calibration, speed. Not installed; run from the repository."""
