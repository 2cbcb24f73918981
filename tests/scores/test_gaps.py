"""Scores of what was observed only: against numpy on the values that are there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from gaussian_forecasts import Gaussian
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm

from pyro_msde import Grid, Trajectories, calibration
from pyro_msde.scores import anomaly_correlation, coverage, crps, nrmse, pit, skill, spread_skill
from pyro_msde.scores.averages import mean_and_error, mean_of, root_ratio

BATCH, FIELD, SAMPLES = 3, (2, 8), 40
TIMES = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
HALVES = (slice(0, 3), slice(3, 5))
ROUNDING = {"rtol": 1e-11, "atol": 1e-13}  # sums of some hundred float64 numbers
GRID = Grid(8, 4, channels=2, boundary="periodic")
AREAS = 0.5 + np.arange(8.0)


def forecast(**options):
    mean = torch.randn((BATCH, len(TIMES), *FIELD), dtype=torch.float64)
    sd = 0.5 + torch.rand_like(mean)
    return Gaussian(TIMES, mean, sd, samples=SAMPLES, grid=GRID, **options)


def truth_of(fc, share=0.3):
    """NaN in a share of the values, in a whole snapshot, and in the second half of a trajectory."""
    rng = np.random.default_rng(5)
    y = fc.mean.numpy() + 1.2 * rng.normal(size=fc.mean.shape)
    y[rng.uniform(size=y.shape) < share] = np.nan
    y[1, 2] = np.nan
    y[2, 3:] = np.nan
    return y


def masked(y):
    return Trajectories(TIMES, y, missing="mask")


def over_observed(x, y, weights=None):
    """(batch, time) means of x over what is not NaN in y."""
    w = np.broadcast_to(1.0 if weights is None else weights, y.shape) * ~np.isnan(y)
    with np.errstate(invalid="ignore"):
        return np.where(w > 0, x * w, 0).sum((2, 3)) / w.sum((2, 3))


def in_halves(per_time):
    with np.errstate(invalid="ignore"):
        parts = [per_time[:, h] for h in HALVES]
        return np.stack([np.nansum(p, 1) / (~np.isnan(p)).sum(1) for p in parts], 1)


def expected_scores(fc, y, weights):
    """(batch, 2) of each score, where each snapshot counts alike."""
    mean, sd = fc.mean.numpy(), fc.sd.numpy()
    draws = torch.cat([d for _, d in fc.chunks()], 2).numpy()
    pairs = np.abs(draws[:, None] - draws[None]).sum((0, 1)) / (SAMPLES * (SAMPLES - 1))
    inside = np.abs(norm.cdf(y, mean, sd) - 0.5) <= 0.4
    error, size = (over_observed(np.square(x), y, weights) for x in (mean - y, y))
    both, forecast_size = (over_observed(x, y, weights) for x in (mean * y, mean**2))
    variance = over_observed(sd**2, y, weights)
    point = np.abs(draws - y).mean(0) - pairs / 2
    return {
        nrmse: np.sqrt(in_halves(error / size)),
        skill: 1 - in_halves(error) / in_halves(size),
        anomaly_correlation: in_halves(both) / np.sqrt(in_halves(size) * in_halves(forecast_size)),
        spread_skill: np.sqrt(in_halves(variance) / in_halves(error)),
        crps: in_halves(over_observed(point, y, weights)),
        lambda *a, **k: coverage(*a, level=0.8, **k): in_halves(over_observed(inside, y, weights)),
    }


@pytest.mark.parametrize("weights", [None, AREAS], ids=["alike", "areas"])
def test_scores_are_numpys_of_what_was_observed(weights):
    fc = forecast()
    y = truth_of(fc)
    for score, expected in expected_scores(fc, y, weights).items():
        assert np.isnan(expected[2, 1])
        assert np.isnan(expected).sum() == 1
        assert_allclose(score(fc, masked(y), bins=2, weights=weights), expected, **ROUNDING)
        assert np.isfinite(score(fc, masked(y), weights=weights)).all()
    found = pit(fc, masked(y))
    assert_array_equal(np.isnan(found), np.isnan(y))
    assert_allclose(found, norm.cdf(y, fc.mean, fc.sd), **ROUNDING)


@pytest.mark.parametrize("weights", [None, AREAS], ids=["alike", "areas"])
def test_areas_of_a_complete_truth(weights):
    fc = forecast()
    y = fc.mean.numpy() + 1.2 * np.random.default_rng(3).normal(size=fc.mean.shape)
    for score, expected in expected_scores(fc, y, weights).items():
        assert_allclose(score(fc, y, bins=2, weights=weights), expected, **ROUNDING)


def test_what_forecasts_say_where_nothing_was_observed_does_not_matter():
    fc = forecast()
    y = truth_of(fc)
    gaps = torch.as_tensor(np.isnan(y))
    other = Gaussian(TIMES, fc.mean.where(~gaps, 1e3), fc.sd.where(~gaps, 50.0), samples=SAMPLES)
    for score in (nrmse, skill, spread_skill, coverage, anomaly_correlation):
        assert_allclose(score(other, masked(y)), score(fc, masked(y)), **ROUNDING)


@pytest.mark.parametrize("weights", [None, AREAS], ids=["alike", "areas"])
def test_the_report_counts_what_was_observed(weights):
    fc = forecast()
    y = truth_of(fc)
    mean, sd = fc.mean.numpy(), fc.sd.numpy()
    options = {"bins": 2, "levels": (0.5, 0.8), "interval": 0.8, "weights": weights, "seed": 11}
    report = calibration(fc, masked(y), **options)
    assert report.power is None  # no waves of a truth with gaps
    assert_allclose(report.coverage[..., 1], coverage(fc, masked(y), level=0.8, **pick(options)))
    assert_allclose(report.crps, crps(fc, masked(y), **pick(options)), **ROUNDING)
    ratio = np.sqrt(report.variance / report.squared_error)
    assert_allclose(ratio, spread_skill(fc, masked(y), **pick(options)), **ROUNDING)
    relative = 1 - report.squared_error / report.reference_error
    assert_allclose(relative, skill(fc, masked(y), **pick(options)), **ROUNDING)
    low, high = norm.interval(0.8, mean, sd)
    width = high - low + 10 * (np.maximum(low - y, 0) + np.maximum(y - high, 0))
    assert_allclose(report.winkler, in_halves(over_observed(width, y, weights)), **ROUNDING)
    p = norm.cdf(y, mean, sd)
    bars = [
        in_halves(over_observed((p >= k / 20) & (p < (k + 1) / 20), y, weights)) for k in range(20)
    ]
    assert_allclose(report.pit, np.stack(bars, -1), **ROUNDING)
    assert_allclose(report.energy, in_halves(energy(fc, y, weights)), rtol=1e-7)
    # averages are of the trajectories that were observed
    shares, error = report.average("coverage")
    assert np.isfinite([shares, error]).all()
    two = report.coverage[:2, 1]
    assert_allclose(shares[1], two.mean(0), **ROUNDING)
    assert_allclose(error[1], np.abs(two[0] - two[1]) / 2, rtol=1e-9)
    assert np.isfinite([report.reliability_index, *report.skill, *report.spread_skill]).all()
    assert "nan" not in repr(report)
    assert np.isnan(report.to_xarray()["crps"]).sum() == 1


def pick(options):
    return {name: options[name] for name in ("bins", "weights")}


def energy(fc, y, weights):
    draws = torch.cat([d for _, d in fc.chunks(seed=11)], 2).numpy()
    score = 0.0
    for i in range(SAMPLES):
        score += np.sqrt(over_observed(np.square(draws[i] - y), y, weights)) / SAMPLES
        for j in range(SAMPLES):
            apart = over_observed(np.square(draws[i] - draws[j]), y, weights)
            score -= 0.5 * np.sqrt(apart) / (SAMPLES * (SAMPLES - 1))
    return score


def test_points_off_the_mask_count_nowhere():
    mask = np.ones(FIELD, bool)
    mask[0, 2:5] = mask[1, 7] = False
    grid = Grid(8, 4, channels=2, boundary="periodic", mask=mask)
    fc = forecast()
    y = fc.mean.numpy() + np.random.default_rng(1).normal(size=fc.mean.shape)
    gone = torch.as_tensor(~mask)
    land = replace(
        fc,
        mean=fc.mean.masked_fill(gone, np.nan),
        sd=fc.sd.masked_fill(gone, np.nan),
        grid=grid,
        mask=torch.as_tensor(mask),
    )
    gaps = np.where(mask, y, np.nan)
    for score, expected in expected_scores(fc, gaps, None).items():
        for truth in (y, gaps, Trajectories(TIMES, y), masked(gaps)):  # any number or none there
            if score is not crps:
                assert_allclose(score(land, truth, bins=2), expected, **ROUNDING)
    assert_array_equal(np.isnan(pit(land, y)), np.broadcast_to(~mask, y.shape))
    report = calibration(land, gaps, levels=(0.5,), interval=0.5, bins=2)
    assert report.power is None
    assert_allclose(1 - report.squared_error / report.reference_error, skill(land, y, bins=2))
    gaps[0, 1, 0, 0] = np.nan
    with pytest.raises(ValueError, match="truth: NaN or infinite in trajectory 0, index 1"):
        nrmse(land, gaps)


def test_gaps_that_are_refused():
    fc = forecast()
    y = truth_of(fc)
    message = r"NaN or infinite in trajectory 0, index 0 .* or pass pyro_msde.Trajectories\(…, miss"
    with pytest.raises(ValueError, match=message):
        nrmse(fc, y)
    y[1] = np.nan
    y[1, 0] = 1.0
    y[0] = 1.0
    late = Gaussian(TIMES[1:], fc.mean[:, 1:], fc.sd[:, 1:])
    y[1, 0, 0, 0] = np.nan
    data = masked(y).snapshots([slice(1, None)] * 3)
    with pytest.raises(ValueError, match=r"truth: nothing was observed of trajectory 1 where"):
        coverage(late, data)


def test_trajectories_that_end_early_are_scored_as_long_as_they_last():
    fc = forecast()
    y = fc.mean.numpy() + np.random.default_rng(2).normal(size=fc.mean.shape)
    tail = y.copy()
    tail[2, 3:] = np.nan
    ragged = Trajectories([TIMES, TIMES, TIMES[:3]], [y[0], y[1], y[2, :3]])
    for score in (nrmse, skill, spread_skill, coverage, crps, anomaly_correlation):
        assert_array_equal(score(fc, ragged), score(fc, masked(tail)))
        found = score(fc, ragged, bins=2)
        assert_array_equal(np.isnan(found), [[False, False], [False, False], [False, True]])
    ragged.values[0][1, 0, 0] = np.nan
    with pytest.raises(ValueError, match="truth: NaN or infinite in trajectory 0, index 1"):
        nrmse(fc, ragged)


def test_averages_leave_out_what_is_missing():
    rng = np.random.default_rng(6)
    x, z = rng.uniform(1, 2, (2, 5, 3, 2))
    x[1, 0] = x[3, 2, 1] = np.nan
    z[np.isnan(x)] = np.nan
    mean, error = mean_and_error(x)
    ratio, spread = root_ratio(x, z)
    for j in np.ndindex(3, 2):
        there = x[(slice(None), *j)]
        there, under = (v[~np.isnan(there)] for v in (there, z[(slice(None), *j)]))
        assert_allclose(mean[j], there.mean())
        assert_allclose(error[j], there.std(ddof=1) / np.sqrt(len(there)))
        assert_allclose(ratio[j], np.sqrt(there.mean() / under.mean()))
        n = len(there)
        left = [np.sqrt(np.delete(there, k).mean() / np.delete(under, k).mean()) for k in range(n)]
        assert_allclose(spread[j], np.sqrt((n - 1) * np.var(left)))
    assert_allclose(mean_of(x, (0, 1)), np.nanmean(x, (0, 1)))
    x[:, 1, 1] = np.nan
    assert np.isnan(mean_and_error(x)[0]).sum() == 1
