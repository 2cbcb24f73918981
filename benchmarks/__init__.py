"""Measurements of speed, one a script."""
