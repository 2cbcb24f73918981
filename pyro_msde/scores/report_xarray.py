"""A calibration report as an xarray Dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from pyro_msde.scores.calibration_report import CalibrationReport

__all__ = ["report_dataset"]


def report_dataset(report: CalibrationReport) -> xr.Dataset:
    """Scores by trajectory, lead, level, pit and band, whose coordinates are middles of intervals.

    Ends of the intervals are `lead_start`, `lead_end`, `band_low` and `band_high`; the middle of a
    band is its edges' geometric mean.
    """
    units = {name: {"units": unit} for name, unit in report.units.items()}
    field, by = units.get("field", {}), ("trajectory", "lead")
    variables: dict[str, Any] = {
        "coverage": ((*by, "level"), report.coverage),
        "pit_share": ((*by, "pit"), report.pit),
        "crps": (by, report.crps, field),
        "energy": (by, report.energy, field),
        "winkler": (by, report.winkler, {**field, "level": report.interval}),
        "variance": (by, report.variance),
        "squared_error": (by, report.squared_error),
        "reference_error": (by, report.reference_error),
        "spread_skill": ("lead", report.spread_skill),
        "skill": ("lead", report.skill),
    }
    bars = report.pit.shape[2]
    coords: dict[str, Any] = {
        "trajectory": np.arange(report.num_trajectories),
        "level": report.levels,
        "pit": (np.arange(bars) + 0.5) / bars,
    }
    ends = report.lead_edges
    for name, value in (("lead", report.lead), ("lead_start", ends[:-1]), ("lead_end", ends[1:])):
        coords[name] = ("lead", value, units.get("time", {}))
    if report.power is not None:
        low, high = report.power.edges[:-1], report.power.edges[1:]
        for name in ("truth", "mean", "draws"):
            variables[f"power_{name}"] = ((*by, "band"), getattr(report.power, name))
        for name, value in (("band", np.sqrt(low * high)), ("band_low", low), ("band_high", high)):
            coords[name] = ("band", value, _per(units.get("length", {})))
    attrs = {"num_samples": report.num_samples, "reliability_index": report.reliability_index}
    return xr.Dataset(variables, coords, attrs)


def _per(length: dict[str, str]) -> dict[str, str]:
    unit = length.get("units", "1")
    return {} if unit == "1" else {"units": f"1/{unit}"}
