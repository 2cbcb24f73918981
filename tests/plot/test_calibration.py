"""Pictures of a calibration report hold its numbers, and two standard errors around them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from named_fields import draw, line

from pyro_msde import calibration, plot


@pytest.fixture(scope="module")
def report(case):
    _, truth, fc = case
    return calibration(fc, truth, levels=(0.2, 0.5), bins=3, interval=0.5)


@pytest.fixture(scope="module")
def alone(case):
    """Of one trajectory, which has no standard errors."""
    _, truth, fc = case
    one = replace(fc, paths=fc.paths[:, :, :1], _cache={}, _kept=[])
    return calibration(one, truth[0], levels=(0.5,), bins=3, interval=0.5)


def band(ax, place=0):
    """(low, high) at each abscissa of a filled band, in order of these."""
    vertices = ax.collections[place].get_paths()[0].vertices
    x = np.unique(vertices[:, 0])
    ends = [vertices[vertices[:, 0] == at, 1] for at in x]
    return np.array([e.min() for e in ends]), np.array([e.max() for e in ends])


def standard_error(values):
    return values.std(0, ddof=1) / np.sqrt(len(values))


def test_the_reliability_diagram_is_coverage_over_levels(report):
    ax = plot.reliability_diagram(report)
    shares = report.coverage.mean(1)
    assert np.allclose(line(ax, "all lead times"), shares.mean(0))
    low, high = band(ax)
    assert np.allclose(high - low, 4 * standard_error(shares))
    assert np.allclose(line(ax, "earliest"), report.coverage[:, 0].mean(0))
    assert np.allclose(line(ax, "latest"), report.coverage[:, 2].mean(0))
    assert line(ax, "calibrated").tolist() == [0, 1]
    draw(ax)


def test_the_pit_histogram_has_mean_one(report):
    ax = plot.pit_histogram(report)
    heights = np.array([bar.get_height() for bar in ax.patches])
    assert np.allclose(heights, 20 * report.pit.mean((0, 1)))
    assert heights.mean() == pytest.approx(1)
    ends = np.array([s[:, 1] for s in ax.collections[0].get_segments()])
    assert np.allclose(np.diff(ends)[:, 0], 4 * 20 * standard_error(report.pit.mean(1)))
    draw(ax)


def test_coverage_and_spread_over_skill_by_lead(report):
    axes = plot.calibration_by_lead(report, level=0.5)
    assert np.allclose(line(axes[0], "coverage"), report.coverage[:, :, 1].mean(0))
    assert line(axes[0], "nominal 50%").tolist() == [0.5, 0.5]
    assert np.allclose(axes[0].lines[1].get_xdata(), [0.15, 0.45, 0.75])
    ratio, error = report.average("spread_skill")
    assert np.allclose(line(axes[1], "spread / skill"), ratio)
    low, high = band(axes[1])
    assert np.allclose(high - low, 4 * error)
    assert axes[1].get_xlabel() == "lead time (day)"
    draw(axes)
    with pytest.raises(ValueError, match=r"level: 0.9 is not among the report's levels 0.2, 0.5"):
        plot.calibration_by_lead(report)
    with pytest.raises(ValueError, match=r"axes: 1 given, but the picture has 2"):
        plot.calibration_by_lead(report, level=0.5, axes=axes[0])


def test_spectral_errors_of_draws_and_mean(report):
    ax = plot.spectral_error(report)
    for name in ("draws", "mean"):
        errors = getattr(report.power, name).mean(1) / report.power.truth.mean(1) - 1
        assert np.allclose(line(ax, name), errors.mean(0))
    low, high = band(ax)
    errors = report.power.draws.mean(1) / report.power.truth.mean(1) - 1
    assert np.allclose(high - low, 4 * standard_error(errors))
    assert ax.get_xlabel() == "wavenumber (1/km)"
    draw(ax)
    with pytest.raises(ValueError, match="report: has no spectra"):
        plot.spectral_error(replace(report, power=None))


def test_one_trajectory_has_no_bands(alone):
    drawn = [
        plot.reliability_diagram(alone),
        plot.pit_histogram(alone),
        *plot.calibration_by_lead(alone, level=0.5),
        plot.spectral_error(alone),
    ]
    for ax in drawn:
        assert not ax.collections
        draw(ax)
