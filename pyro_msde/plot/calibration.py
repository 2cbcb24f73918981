"""Pictures of a calibration report: nominal and actual coverage, PIT, spread and skill, spectra.

Bands and bars of error are two standard errors over trajectories to either side.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, PercentFormatter
from numpy.typing import NDArray

from pyro_msde.plot.checks import check_kind
from pyro_msde.plot.style import OKABE_ITO, few_ticks, label, legend, panel, panels, size_of
from pyro_msde.scores import CalibrationReport, mean_and_error, mean_of, relative_power

__all__ = ["calibration_by_lead", "pit_histogram", "reliability_diagram", "spectral_error"]

Array = NDArray[Any]

_IDEAL: dict[str, Any] = {"color": "black", "linestyle": "--", "linewidth": 0.8, "zorder": 1}


def reliability_diagram(report: CalibrationReport, *, ax: Axes | None = None) -> Axes:
    """Share of the truth inside central intervals over the share that should be.

    Above the diagonal intervals are too wide, below it too narrow. Thin lines: the first and the
    last part of the horizon.

    Args:
        report: What `pyro_msde.calibration` gave.
        ax: Axes. None: new.
    """
    _check_report(report)
    ax = panel(ax, height=3.0)
    levels = report.levels
    ax.plot([0, 1], [0, 1], label="calibrated", **_IDEAL)
    _line(ax, levels, mean_of(report.coverage, 1), OKABE_ITO["blue"], "all lead times")
    if len(report.lead) > 1:
        for i, colour, name in ((0, "sky", "earliest"), (-1, "vermilion", "latest")):
            mean = mean_of(report.coverage[:, i], 0)
            ax.plot(levels, mean, color=OKABE_ITO[colour], linewidth=0.8, label=name)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    ax.set_xlabel("nominal coverage")
    ax.set_ylabel("coverage")
    legend(ax, loc="upper left")
    return ax


def pit_histogram(report: CalibrationReport, *, ax: Axes | None = None) -> Axes:
    """Density of the probability integral transform, 1 if calibrated.

    Heaped at both ends where forecasts are too narrow, in the middle where they are too wide, at
    one end where they are biased.

    Args:
        report: What `pyro_msde.calibration` gave.
        ax: Axes. None: new.
    """
    _check_report(report)
    ax = panel(ax, height=2.0)
    bars = report.pit.shape[2]
    mean, error = mean_and_error(mean_of(report.pit, 1) * bars)
    place = (np.arange(bars) + 0.5) / bars
    ax.bar(
        place,
        mean,
        width=0.92 / bars,
        color=OKABE_ITO["sky"],
        label=f"reliability index {report.reliability_index:.3f}",
    )
    if np.isfinite(error).all():
        ax.errorbar(place, mean, 2 * error, fmt="none", ecolor=OKABE_ITO["blue"], elinewidth=0.8)
    ax.axhline(1, label="calibrated", **_IDEAL | {"zorder": 3})
    top = float(np.max(mean + 2 * np.nan_to_num(error)))
    ax.set(xlim=(0, 1), ylim=(0, 1.25 * max(top, 1.0)))
    ax.set_xlabel("PIT")
    ax.set_ylabel("density")
    legend(ax, loc="upper center", ncols=2)
    return ax


def calibration_by_lead(
    report: CalibrationReport, *, level: float = 0.9, axes: Any = None
) -> Array:
    """Coverage at a level over the lead time, and below it spread over skill.

    Args:
        report: What `pyro_msde.calibration` gave.
        level: Nominal coverage, one of the report's levels.
        axes: Two Axes. None: new ones.

    Returns:
        (2,) array of the Axes.

    Raises:
        ValueError: The report has no such level, or another number of Axes.
    """
    _check_report(report)
    j = report.level_index(level)
    drawn, _ = panels(axes, 2, height=3.2, sharex=True)
    blue = OKABE_ITO["blue"]
    shares = report.coverage[:, :, j]
    drawn[0].axhline(level, label=f"nominal {level:.0%}", **_IDEAL)
    _line(drawn[0], report.lead, shares, blue, "coverage")
    mean, error = mean_and_error(shares)
    low = float(np.nanmin(mean - 2 * np.nan_to_num(error)))
    drawn[0].set_ylim(0.5 if min(low, level) > 0.55 else 0, 1.01)
    drawn[0].yaxis.set_major_formatter(PercentFormatter(1.0))
    drawn[0].set_ylabel("coverage")
    drawn[1].axhline(1, label="calibrated", **_IDEAL)
    ratio, error = report.average("spread_skill")
    _band(drawn[1], report.lead, ratio, error, blue, "spread / skill")
    top = max(1.0, float(np.nanmax(ratio + 2 * np.nan_to_num(error), initial=1.0)))
    drawn[1].set_ylim(0, 1.15 * top if np.isfinite(top) else None)
    drawn[1].set_ylabel("spread / skill")
    for ax in drawn:
        ax.set_xlim(report.lead_edges[0], report.lead_edges[-1])
        legend(ax, loc="lower left")
    few_ticks(drawn[1].xaxis, size_of(drawn[1])[0])
    drawn[1].set_xlabel(label("lead time", report.units.get("time")))
    return np.array(drawn, dtype=object)


def spectral_error(report: CalibrationReport, *, ax: Axes | None = None) -> Axes:
    """Relative error of power in bands of wavenumber, of single draws and of the predictive mean.

    Draws should have the truth's power; the mean should lack what cannot be foretold, and noise.

    Args:
        report: What `pyro_msde.calibration` gave, for fields on a regular grid.
        ax: Axes, whose scale of wavenumbers becomes logarithmic. None: new.

    Raises:
        ValueError: The report has no spectra, or the truth no power in some band.
    """
    _check_report(report)
    if report.power is None:
        raise ValueError(
            "report: has no spectra, as the fields are on no regular grid, or have a mask or gaps."
        )
    truth, edges = report.power.truth.mean(1), report.power.edges
    powers = (report.power.draws, report.power.mean)
    draws, mean = (relative_power(p.mean(1), truth) for p in powers)
    ax = panel(ax, height=2.2)
    middle = np.sqrt(edges[1:] * edges[:-1])
    ax.axhline(0, **_IDEAL)
    ax.set_xscale("log")
    for name, error, colour in (
        ("draws", draws, OKABE_ITO["blue"]),
        ("mean", mean, OKABE_ITO["vermilion"]),
    ):
        _line(ax, middle, error, colour, name)
    for edge in edges[1:-1]:
        ax.axvline(edge, color="0.85", linewidth=0.6, zorder=0)
    ax.set_xlim(edges[0], edges[-1])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    length = report.units.get("length")
    units = None if length in (None, "", "1") else f"1/{length}"
    ax.set_xlabel(label("wavenumber", units))
    ax.set_ylabel("error of power")
    legend(ax)
    return ax


def _check_report(report: Any) -> None:
    check_kind("report", report, CalibrationReport, "what pyro_msde.calibration gave")


def _line(ax: Axes, x: Array, values: Array, colour: str, name: str) -> None:
    """Mean of values (trajectory, x), with its band."""
    _band(ax, x, *mean_and_error(values), colour, name)


def _band(ax: Axes, x: Array, mean: Array, error: Array, colour: str, name: str) -> None:
    ax.plot(x, mean, color=colour, marker="o", markersize=3, linewidth=1.2, label=name, zorder=3)
    if np.isfinite(error).all():
        ax.fill_between(
            x, mean - 2 * error, mean + 2 * error, color=colour, alpha=0.25, linewidth=0
        )
