"""The calibration report: each score by hand, averages over trajectories, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussian_forecasts import Gaussian
from named_fields import TIMES as NAMED_TIMES
from named_fields import named_data, plane_data, plane_fit, untrained_fit
from numpy.testing import assert_allclose, assert_array_equal
from oracles.tolerance import standard_errors
from scipy.stats import norm

import pyro_msde
from pyro_msde import CalibrationReport, Grid, Trajectories, calibration
from pyro_msde.forecasts import posterior_predictive as forecasting
from pyro_msde.grid import SensorGraph
from pyro_msde.scores.averages import mean_and_error
from pyro_msde.scores.calibration_report import relative_power

BATCH, FIELD, SAMPLES = 3, (2, 8), 50
TIMES = 5.0 + np.array([0.0, 0.25, 0.5, 0.75, 1.0])
HALVES = (slice(0, 3), slice(3, 5))  # 0, .25, .5 and .75, 1
LEVELS = (0.3, 0.9)
ROUNDING = {"rtol": 1e-10, "atol": 1e-13}  # sums of some thousand float64 numbers
GRID = Grid(8, 4, channels=2, boundary="periodic", lower=0.0, upper=2.0)


def forecast(grid=GRID, **options) -> Gaussian:
    mean = torch.randn((BATCH, len(TIMES), *FIELD), dtype=torch.float64)
    sd = 0.5 + torch.rand_like(mean)
    return Gaussian(TIMES, mean, sd, samples=SAMPLES, grid=grid, **options)


def halves(per_time: np.ndarray) -> np.ndarray:
    """(batch, 2, …) means over the halves of the horizon."""
    return np.stack([per_time[:, h].mean(1) for h in HALVES], axis=1)


@pytest.fixture
def case():
    fc = forecast()
    truth = fc.mean + 1.3 * torch.randn_like(fc.mean)
    return fc, truth, calibration(fc, truth, levels=LEVELS, bins=2, interval=0.8, seed=4)


def test_coverage_and_pit_are_counts_of_normal_probabilities(case):
    fc, truth, report = case
    p = norm.cdf(truth.numpy(), fc.mean.numpy(), fc.sd.numpy())
    for i, level in enumerate(LEVELS):
        inside = (p > (1 - level) / 2) & (p < (1 + level) / 2)
        assert_allclose(report.coverage[..., i], halves(inside.mean((2, 3))), **ROUNDING)
    assert report.pit.shape == (BATCH, 2, 20)
    for k, h in np.ndindex(BATCH, 2):
        counts, _ = np.histogram(p[k, HALVES[h]], 20, range=(0, 1))
        assert_allclose(report.pit[k, h], counts / counts.sum(), **ROUNDING)


def test_variance_error_and_interval_score_are_the_normals(case):
    fc, truth, report = case
    mean, sd, y = fc.mean.numpy(), fc.sd.numpy(), truth.numpy()
    assert_allclose(report.variance, halves((sd**2).mean((2, 3))), **ROUNDING)
    assert_allclose(report.squared_error, halves(((mean - y) ** 2).mean((2, 3))), **ROUNDING)
    low, high = norm.interval(0.8, mean, sd)
    score = high - low + 10 * (np.maximum(low - y, 0) + np.maximum(y - high, 0))  # 2/(1 − .8)
    assert_allclose(report.winkler, halves(score.mean((2, 3))), **ROUNDING)


def test_crps_and_energy_are_of_the_seed_s_draws(case):
    fc, truth, report = case
    draws = torch.cat([d for _, d in fc.chunks(seed=4)], 2).numpy()
    y, pairs = truth.numpy(), SAMPLES * (SAMPLES - 1)
    off = np.abs(draws - y).mean(0)
    apart = np.zeros_like(y)
    energy = np.zeros(y.shape[:2])
    for i in range(SAMPLES):
        energy += np.sqrt(np.square(draws[i] - y).mean((2, 3))) / SAMPLES
        for j in range(SAMPLES):
            apart += np.abs(draws[i] - draws[j]) / pairs
            energy -= 0.5 * np.sqrt(np.square(draws[i] - draws[j]).mean((2, 3))) / pairs
    assert_allclose(report.crps, halves((off - apart / 2).mean((2, 3))), **ROUNDING)
    assert_allclose(report.energy, halves(energy), rtol=1e-7)  # distances come from squares


def test_powers_in_bands_are_sums_over_fourier_s_waves(case):
    fc, truth, report = case
    draws = torch.cat([d for _, d in fc.chunks(seed=4)], 2).numpy()
    assert_allclose(report.power.edges, [0.25, 0.75, 1.25, 1.75, 2.25])  # k = .5, 1, 1.5, 2
    parts = {"truth": truth.numpy(), "mean": fc.mean.numpy(), "draws": draws}
    x = 0.25 * np.arange(8)
    for name, values in parts.items():
        for b, k in enumerate((0.5, 1.0, 1.5, 2.0)):
            wave = np.exp(-2j * np.pi * k * x)
            twice = 1 if k == 2 else 2  # −k as well, but for the shortest wave
            power = twice * np.abs((values * wave).mean(-1)) ** 2
            power = power.sum(-1)  # over channels
            power = power.mean(0) if name == "draws" else power
            assert_allclose(getattr(report.power, name)[..., b], halves(power), **ROUNDING)
    for power in (report.power.draws, report.power.mean):
        relative = relative_power(power, report.power.truth)
        assert_allclose(relative, power / report.power.truth - 1, **ROUNDING)


def test_a_truth_from_the_forecast_s_own_law_is_found_calibrated():
    """40 trajectories of 400 independent points at each of 4 times; bounds at 1e-5 a claim."""
    times, grid = np.arange(4.0), Grid(400, 40)
    mean = torch.randn((40, 4, 400), dtype=torch.float64)
    sd = 0.5 + torch.rand_like(mean)
    fc = Gaussian(times, mean, sd, samples=40, grid=grid)
    report = calibration(fc, mean + sd * torch.randn_like(mean), bins=3)
    shares, error = report.average("coverage")
    assert (np.abs(shares - report.levels) < standard_errors(shares.size) * error * 1.6).all()
    ratio, error = report.average("spread_skill")  # 1.6: a t of 39 degrees against the normal
    assert (np.abs(ratio - 1) < 1.6 * standard_errors(3) * error).all()
    off, error = mean_and_error(relative_power(report.power.draws, report.power.truth).mean(1))
    # The ratio's mean is above 1 by about 1/(waves in the band); the last holds half of the waves.
    assert abs(off[-1] - 1 / 145) < 1.6 * standard_errors(1) * error[-1]
    # Σ|share − 1/20| of 64,000 independent points: 20 √(2/π · .05 · .95 / 64,000) = .0137
    assert report.reliability_index < 2 * 0.0137


def test_the_reliability_index_of_one_bar_and_of_half_of_them():
    fc = forecast()
    assert calibration(fc, fc.mean, bins=1).reliability_index == pytest.approx(2 - 2 / 20)
    sign = torch.where(torch.arange(8) % 2 == 0, 1.0, -1.0)
    at = fc.mean + fc.sd * torch.special.ndtri(torch.tensor(0.5) + 0.17 * sign).double()
    assert calibration(fc, at, bins=1).reliability_index == pytest.approx(2 * 0.45 + 18 / 20)


def test_averages_are_over_trajectories_with_their_standard_errors(case):
    _, _, report = case
    mean, error = report.average("crps")
    assert_allclose(mean, report.crps.mean(0), **ROUNDING)
    assert_allclose(error, report.crps.std(0, ddof=1) / np.sqrt(BATCH), **ROUNDING)
    ratio, error = report.average("spread_skill")
    left = []
    for k in range(BATCH):
        others = [j for j in range(BATCH) if j != k]
        left.append(np.sqrt(report.variance[others].sum(0) / report.squared_error[others].sum(0)))
    spread = sum((x - np.mean(left, 0)) ** 2 for x in left)
    assert_allclose(error, np.sqrt((BATCH - 1) / BATCH * spread), **ROUNDING)
    expected = np.sqrt(report.variance.mean(0) / report.squared_error.mean(0))
    assert_allclose(ratio, expected, **ROUNDING)
    assert_allclose(report.spread_skill, expected, **ROUNDING)
    with pytest.raises(ValueError, match=r"name: 'nrmse' is unknown. Pass one of coverage, pit"):
        report.average("nrmse")


def test_a_single_forecast_is_a_batch_of_one_without_standard_errors(case):
    fc, truth, report = case
    one = replace(fc, mean=fc.mean[1], sd=fc.sd[1], batched=False)
    alone = calibration(one, truth[1], levels=LEVELS, bins=2, interval=0.8)
    assert alone.num_trajectories == 1
    assert_allclose(alone.coverage[0], report.coverage[1], **ROUNDING)
    assert_allclose(alone.winkler[0], report.winkler[1], **ROUNDING)
    for name in ("coverage", "spread_skill"):
        assert np.isnan(alone.average(name)[1]).all()
    assert "cover" in repr(alone)
    assert "nan" not in repr(alone)


def test_reports_on_some_trajectories_each_are_joined(case):
    fc, truth, _ = case
    reports = [
        calibration(replace(fc, mean=fc.mean[k], sd=fc.sd[k]), truth[k], levels=LEVELS, bins=2)
        for k in (slice(0, 2), slice(2, 3))
    ]
    both = CalibrationReport.joined(reports)
    whole = calibration(fc, truth, levels=LEVELS, bins=2)
    for name in ("coverage", "pit", "winkler", "variance", "squared_error"):
        assert_allclose(getattr(both, name), getattr(whole, name), **ROUNDING)
    assert_allclose(both.power.truth, whole.power.truth, **ROUNDING)
    assert both.power.draws.shape == whole.power.draws.shape
    with pytest.raises(ValueError, match="reports: number 1 has other levels"):
        CalibrationReport.joined([whole, calibration(fc, truth, levels=(0.3, 0.8), bins=2)])
    apart = calibration(replace(fc, grid=None), truth, levels=LEVELS, bins=2)
    with pytest.raises(ValueError, match="reports: number 1 has other"):
        CalibrationReport.joined([whole, apart])
    with pytest.raises(ValueError, match="reports: empty"):
        CalibrationReport.joined([])


def test_the_dataset_holds_the_scores_with_coordinates_and_units(case):
    fc, truth, _ = case
    units = {"h": "m", "time": "day", "s": "km"}
    data = Trajectories(TIMES, truth.numpy(), name="h", dims=("part", "s"), units=units)
    report = calibration(fc, data, levels=LEVELS, bins=2)
    ds = report.to_xarray()
    assert dict(ds.sizes) == {"trajectory": 3, "lead": 2, "level": 2, "pit": 20, "band": 4}
    assert_array_equal(ds.coverage.sel(level=0.9, trajectory=1), report.coverage[1, :, 1])
    assert_allclose(ds.lead, [0.25, 0.75])
    assert_allclose(ds.lead_end, [0.5, 1.0])
    assert_allclose(ds.pit[[0, -1]], [0.025, 0.975])
    assert_allclose(ds.band**2, ds.band_low * ds.band_high)
    assert_array_equal(ds.power_draws, report.power.draws)
    assert_array_equal(ds.spread_skill, report.spread_skill)
    found = [ds[name].attrs["units"] for name in ("lead", "crps", "winkler", "band")]
    assert found == ["day", "m", "m", "1/km"]
    assert ds.winkler.attrs["level"] == 0.9
    assert ds.attrs["num_samples"] == SAMPLES


def test_the_summary_is_short(case):
    _, _, report = case
    shares = report.coverage[:, :, 1].mean(1)
    ratio = np.sqrt(report.variance.mean() / report.squared_error.mean())
    skill = 1 - report.squared_error.mean() / report.reference_error.mean()
    assert repr(report) == (
        f"CalibrationReport(3 trajectories, 2 lead times, 50 samples: skill {skill:.3f}, "
        "90% intervals cover "
        f"{shares.mean():.3f} ± {shares.std(ddof=1) / np.sqrt(3):.3f}, spread/skill {ratio:.2f}, "
        f"CRPS {report.crps.mean():.4g}, energy {report.energy.mean():.4g}, reliability index "
        f"{report.reliability_index:.3f})"
    )


# forecasts of a model


def scored_apart(fc, truth, report, level=0.9):
    i = report.level_index(level)
    share = pyro_msde.coverage(fc, truth, level=level, bins=2)
    assert_allclose(report.coverage[..., i], np.atleast_2d(share), rtol=1e-9)
    assert_allclose(report.crps, np.atleast_2d(pyro_msde.crps(fc, truth, bins=2)), rtol=1e-9)
    ratio = np.sqrt(report.variance / report.squared_error)
    expected = np.atleast_2d(pyro_msde.spread_skill(fc, truth, bins=2))
    assert_allclose(ratio, expected, rtol=1e-5)  # float32 moments


@pytest.mark.parametrize("chunk", [2**22, 1])
def test_a_forecast_is_decoded_once_and_scored_as_apart(chunk, monkeypatch):
    truth = named_data()
    monkeypatch.setattr(forecasting, "_CHUNK", chunk)
    monkeypatch.setattr(forecasting, "_KEEP", 0)
    y0 = np.stack([v[0] for v in truth.values])
    fc = untrained_fit().predict(y0, NAMED_TIMES, num_samples=20)
    decoded = []
    decode = forecasting.Forecast._decode
    monkeypatch.setattr(
        forecasting.Forecast, "_decode", lambda self: decoded.append(1) or decode(self)
    )
    report = calibration(fc, truth, bins=2, levels=(0.5, 0.9))
    assert len(decoded) == 1
    assert not fc._kept
    assert report.units == {"time": "day", "field": "m", "length": "km"}
    scored_apart(fc, truth, report)


def test_a_plane_of_two_channels_and_walls_is_scored_as_apart():
    fit, truth = plane_fit(), plane_data()
    fc = fit.predict(truth.values[0][0], truth.times[0], num_samples=20)
    report = calibration(fc, truth, bins=2, levels=(0.9,))
    scored_apart(fc, truth, report)
    assert report.power.truth.shape[:2] == (1, 2)
    y = truth.values[0].astype(np.float64)
    # White noise has the same power in each wave; bands hold most waves, but not constants.
    assert 0.3 < report.power.truth.sum(2).mean() / np.square(y).mean((2, 3)).sum(1).mean() < 1


# what is refused


RING = SensorGraph([[7, 1], [0, 2], [1, 3], [2, 4], [3, 5], [4, 6], [5, 7], [6, 0]], channels=2)


CHANNELS = Grid(8, 4, channels=2, boundary={0: "dirichlet", 1: "neumann"})  # no waves for both


@pytest.mark.parametrize("grid", [None, RING, CHANNELS])
def test_fields_without_a_regular_grid_have_no_spectra(grid):
    fc = forecast(grid=grid)
    report = calibration(fc, fc.mean + 1, bins=2)
    assert report.power is None
    assert "band" not in report.to_xarray().dims


@pytest.mark.parametrize("level", [0.0, 1.0, 90.0, float("nan")])
def test_levels_outside_their_range(level):
    fc = forecast()
    with pytest.raises(ValueError, match=r"^levels=.*: give one number inside \(0, 1\)"):
        calibration(fc, fc.mean, levels=(0.5, level))
    with pytest.raises(ValueError, match=r"^interval=.*: give one number inside \(0, 1\)"):
        calibration(fc, fc.mean, interval=level)
    with pytest.raises(ValueError, match=r"^levels: empty"):
        calibration(fc, fc.mean, levels=())


def test_fewer_draws_than_a_quantile_needs():
    fc = replace(forecast(), samples=39)
    message = (
        r"levels: 0.95 needs the 2.5 % quantile, which takes 40 draws, but the forecast has 39. "
        r"Predict with num_samples >= 40"
    )
    with pytest.raises(ValueError, match=message):
        calibration(fc, fc.mean, bins=2)
    assert calibration(replace(fc, samples=40), fc.mean, bins=2).num_samples == 40
    with pytest.raises(ValueError, match=r"interval: 0.98 needs the 1 % quantile, .* 100 draws"):
        calibration(fc, fc.mean, levels=(0.5,), bins=2, interval=0.98)


def test_a_truth_elsewhere_or_bins_without_times():
    fc = forecast()
    with pytest.raises(ValueError, match=r"truth: shape \(3, 5, 2, 4\), .* has \(3, 5, 2, 8\)"):
        calibration(fc, fc.mean[..., ::2])
    with pytest.raises(ValueError, match=r"trajectory 0 has t=5.1 at index 0, .* Predict at"):
        calibration(fc, Trajectories(TIMES + 0.1, fc.mean.numpy()))
    with pytest.raises(ValueError, match=r"number of trajectories 2, but the forecast has 3"):
        calibration(fc, Trajectories(TIMES, fc.mean[:2].numpy()))
    with pytest.raises(ValueError, match=r"bins: part 1 of 10 has none of the 5 times"):
        calibration(fc, fc.mean)


def test_a_forecast_that_is_not_finite():
    fc = forecast()
    fc.mean[1, 3, 0, 2] = torch.nan
    with pytest.raises(ValueError, match=r"fc: its mean is NaN or infinite in trajectory 1 at"):
        calibration(fc, torch.zeros_like(fc.mean), bins=2)


def test_a_level_that_is_not_in_the_report(case):
    _, _, report = case
    assert report.level_index(0.3) == 0
    with pytest.raises(ValueError, match=r"level: 0.8 is not among the report's levels 0.3, 0.9"):
        report.level_index(0.8)
