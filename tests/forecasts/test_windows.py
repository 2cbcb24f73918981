"""Forecasts of windows of a record: lead times in common, times and dates of their own."""

from __future__ import annotations

from dataclasses import replace

import cftime
import numpy as np
import pytest
import torch
import xarray as xr
from linear_fits import HORIZON, SCALE, linear_fit
from numpy.testing import assert_allclose, assert_array_equal
from oracles.tolerance import standard_errors
from problems import NUM_POINTS, tiny_data, tiny_fields, tiny_pair

from pyro_msde import Ensemble, Fit, Trajectories, calibration, coverage, crps, nrmse, plot
from pyro_msde.data import Metadata, Scaling, all_times, common_batches
from pyro_msde.interface import adjusting
from pyro_msde.interface.validation import validation_score

RNG = np.random.default_rng(6)
FEW = {"num_samples": 4, "max_step": 0.1}
DAY = np.timedelta64(1, "D")
START = np.datetime64("1999-12-30")


def record(count=30, **options):
    times = 100.0 + 0.1 * np.arange(count)
    values = tiny_fields(times - 100.0, np.random.default_rng(4))
    return Trajectories(times, values[None], **options)


def plain(**options):
    return Fit(*tiny_pair(0), Scaling((1.7,), 3.0), **options)


def test_windows_are_forecast_as_if_each_began_at_zero():
    """The drift knows no time, so only rounding of the times can tell the two apart."""
    fit, windows = plain(), record().cut(7, 4)
    fc = fit.forecast(windows, **FEW)
    y0 = np.stack([v[0] for v in windows.values])
    wanted = fit.predict(y0, 0.1 * np.arange(7), **FEW)
    assert_allclose(fc.paths, wanted.paths, rtol=1e-4, atol=1e-5)
    assert_allclose(fc.times, 0.1 * np.arange(7), atol=1e-12)
    assert_allclose(fc.starts, [t[0] for t in windows.times])
    assert_allclose(fc.valid_times, windows.times)
    assert fc.dates is None


def test_means_of_windows_are_the_closed_form():
    """dz = −z dt + √C dβ from E y/scale decays as e^(−t); false alarms 2e-5."""
    linear, windows = linear_fit(), record().cut(11, 6)
    draws = 4000
    fc = linear.fit.forecast(windows, num_samples=draws, max_step=0.03 * HORIZON)
    y0 = np.stack([v[0] for v in windows.values])
    decay = np.exp(-np.arange(11) * 0.1 / HORIZON)[:, None]
    expected = decay * (y0 @ linear.E.T @ linear.H.T)[:, None]
    var = linear.node_var * decay**2 + linear.C * (1 - decay**2) / 2
    error = SCALE * np.sqrt(var @ linear.H.T**2 / draws)
    assert (np.abs(fc.mean.numpy() - expected) / error).max() < standard_errors(expected.size)


class Clock:
    """An adjustment: dz = cos(ω t) dt without noise, t in scaled units."""

    name = "clock"
    is_random = False

    def apply(self, dynamics):
        def drift(z, t, covariates=None):
            return torch.cos(4.0 * t)[..., None].to(z).expand(z.shape)

        return replace(dynamics, drift=drift, diffusion=torch.zeros_like(dynamics.diffusion))


def test_each_window_is_integrated_at_its_own_times():
    fit, windows = plain(adjustments=(Clock(),)), record().cut(7, 4)
    fc = fit.forecast(windows, num_samples=2, max_step=0.01)
    moved = (fc.paths - fc.paths[..., :1, :])[0, 0, :, :, 0].numpy()
    t = fc.valid_times / 3.0
    expected = (np.sin(4 * t) - np.sin(4 * t[:, :1])) / 4
    assert np.ptp(expected[:, -1]) > 0.1  # else this test says nothing
    assert_allclose(moved, expected, atol=1e-5)  # of the midpoint rule, and float32


def test_lead_times_may_be_asked_for():
    fit, windows = plain(), record().cut(7, 4)
    y0 = np.stack([v[0] for v in windows.values])
    starts = np.array([t[0] for t in windows.times])
    some = fit.forecast(windows, [0.2, 0.5], **FEW)
    assert torch.equal(some.paths, fit.predict(y0, [0.2, 0.5], t0=starts, **FEW).paths)
    assert some.mean.shape == (len(windows), 2, NUM_POINTS)
    assert_allclose(some.valid_times, starts[:, None] + [0.2, 0.5])


@pytest.mark.parametrize(
    ("t0", "times", "message"),
    [
        ([0.1, 0.2], [0.0, 1.0], "t0: 2 times, but y0 is 3 of them"),
        ([0.1, 0.2, np.nan], [0.0, 1.0], "t0=.*finite time of each"),
        ([0.1, 0.2, 0.3], [-0.1, 1.0], "times: -0.1. Where t0 is a row"),
        ([0.1, 0.2, 0.3], [1.0, 0.5], "times: not increasing at index 1"),
        ([0.1, 0.2, 0.3], np.array(["2000"], "M8[D]"), "times: dates. Pass durations"),
        ([[0.1, 0.2, 0.3]], [1.0], "t0="),
    ],
)
def test_lead_times_without_sense_are_refused(t0, times, message):
    y0 = np.stack([v[0] for v in tiny_data().values])
    with pytest.raises(ValueError, match=message):
        plain().predict(y0, times, t0=t0, **FEW)
    with pytest.raises(ValueError, match="t0: 1 times, but y0 is one without a batch"):
        plain().predict(y0[0], [1.0], t0=[0.1], **FEW)


def test_trajectories_that_share_times_are_forecast_as_ever():
    fit, data = plain(), tiny_data((9, 9))
    fc = fit.forecast(data, **FEW)
    assert fc.starts is None
    y0 = np.stack([v[0] for v in data.values])
    assert torch.equal(fc.paths, fit.predict(y0, data.times[0], **FEW).paths)
    assert_array_equal(fc.valid_times, data.times[0])


def test_ragged_trajectories_are_forecast_at_all_their_times():
    fit = plain()
    data = tiny_data((9, 7))
    fc = fit.forecast(data, **FEW)
    assert_array_equal(fc.times, data.times[0])  # those of the longer one, as both start at 0
    assert fc.starts is None
    own = Trajectories([data.times[0], data.times[1] + 0.02], data.values)
    fc = fit.forecast(own, **FEW)
    assert_allclose(fc.times, 0.05 * np.arange(9), atol=1e-12)
    assert_allclose(fc.starts, [0.0, 0.02])
    with pytest.raises(ValueError, match="NaN or infinite in trajectory 1, index 7"):
        nrmse(fc, own)


def test_trajectories_are_put_together_by_lead_time():
    regular = record().cut(5, 3)
    others = [np.array([0.0, 0.3, 0.4, 0.7]), np.array([5.0, 5.3, 5.4, 5.7]), np.arange(4.0)]
    times = [*regular.times[:2], *others]
    data = Trajectories(times, [np.ones((len(t), 3)) for t in times])
    batches = common_batches(data)
    assert [b.rows.tolist() for b in batches] == [[0, 1], [2, 3], [4]]
    assert_allclose(batches[1].times, others[0])
    assert_array_equal(batches[1].start, [0.0, 5.0])
    assert batches[2].start == 0.0
    starts, united = all_times(data)
    assert_allclose(united, [0, 0.1, 0.2, 0.3, 0.4, 0.7, 1, 2, 3], atol=1e-9)
    assert_array_equal(starts, [t[0] for t in times])


def test_scores_of_windows_are_those_of_each():
    fit, windows = plain(), record().cut(7, 4)
    fc = fit.forecast(windows, num_samples=64)
    for score in (nrmse, coverage, crps):
        plain_values = score(fc, np.stack(windows.values))
        assert_array_equal(score(fc, windows), plain_values)
    assert_array_equal(
        calibration(fc, windows, bins=3, levels=[0.5]).crps,
        calibration(fc, np.stack(windows.values), bins=3, levels=[0.5]).crps,
    )
    some = windows.snapshots([slice(None, None, 3)] * len(windows))
    assert nrmse(fit.forecast(some, **FEW), some).shape == (len(windows),)
    with pytest.raises(ValueError, match=r"truth: trajectory 0 has t=100.4 at index 0, .* t=100"):
        nrmse(fc, windows[[1, 0, *range(2, len(windows))]])


def test_windows_are_drawn_at_their_own_times():
    fit, windows = plain(), record().cut(7, 4)
    fc = fit.forecast(windows, num_samples=8)
    for k in (0, 2):
        axes = np.ravel(plot.latent_paths(fc, windows, trajectory=k))
        assert_allclose(axes[0].get_xlim(), windows.times[k][[0, -1]])
        assert len(np.ravel(plot.forecast_images(fc, windows, trajectory=k))) == 4


def test_windows_serve_as_validation():
    fit = plain()
    windows = record().cut(7, 4)
    together = validation_score(fit, windows)
    alone = [validation_score(fit, window) for window in windows]
    assert together == pytest.approx(np.mean(alone), rel=0.1)  # whose paths are others


def test_calibration_takes_overlapping_and_ragged_windows(monkeypatch):
    """Of data that are the model's own noise, wider by a known factor."""
    monkeypatch.setattr(adjusting, "CHOOSING_STEP", 0.05)  # for a rate of one
    linear = linear_fit()
    rng = np.random.default_rng(3)
    var = linear.C / 2  # stationary
    wide = 2.0
    times, z = 0.1 * HORIZON * np.arange(400), [np.sqrt(var) * rng.standard_normal(len(var))]
    decay = np.exp(-0.1)
    for _ in times[1:]:
        noise = np.sqrt(wide**2 * var * (1 - decay**2)) * rng.standard_normal(len(var))
        z.append(decay * z[-1] + noise)
    noise = np.sqrt(linear.var) * rng.standard_normal((400, NUM_POINTS))
    values = SCALE * (np.array(z) @ linear.H.T + noise)
    data = Trajectories(7.0 + times, values[None])
    for windows in (data.cut(21, 10), data.cut(21, 40)[:5]):
        scale = linear.fit.calibrated(windows, num_times=20).calibration.scale
        assert 1.4 <= scale <= 2.8
    lengths = [21, 17, 12, 21, 19, 15]
    ragged = data.cut(21, 20)[: len(lengths)].snapshots([slice(n) for n in lengths])
    calibrated = linear.fit.calibrated(ragged, num_times=20)
    assert 1.2 <= calibrated.calibration.scale <= 4.0
    assert np.shape(calibrated.calibration.coverage)[1] == 10


# dates


def make_dates(calendar, count=30):
    if calendar is None:
        return START + np.arange(count) * DAY
    first = cftime.datetime(1999, 12, 30, calendar=calendar)
    return cftime.num2date(np.arange(count), f"days since {first}", calendar=calendar)


@pytest.mark.parametrize("calendar", [None, "standard", "julian", "noleap", "360_day", "all_leap"])
def test_forecasts_know_their_dates(calendar):
    dates = make_dates(calendar)
    values = tiny_fields(0.1 * np.arange(30), np.random.default_rng(4))
    data = Trajectories(
        dates,
        values[None],
        units={"time": "hours since 1850-01-01"},
        calendar=calendar or "proleptic_gregorian",
    )
    fit = Fit(*tiny_pair(0), Scaling((1.7,), 72.0), metadata=Metadata.of(data))
    few = {"num_samples": 2, "max_step": 24.0}
    expected = make_dates(None if calendar == "standard" else calendar)
    fc = fit.forecast(data, dates[3:8], **few)
    assert_array_equal(fc.dates, expected[3:8])
    by_text = fit.predict(values[0], dates[3:8], t0="1999-12-30", **few)
    by_date = fit.predict(values[0], dates[3:8], t0=dates[0], **few)
    assert torch.equal(by_text.paths, fc.paths[:, :, :1].reshape(by_text.paths.shape))
    assert torch.equal(by_text.paths, by_date.paths)
    assert_array_equal(by_date.dates, expected[3:8])
    windows = data.cut(5, 6)
    fc = fit.forecast(windows, **few)
    assert_array_equal(fc.dates, [expected[k : k + 5] for k in range(0, 26, 6)])
    later = fit.forecast(windows, np.arange(1, 4) * DAY, **few)
    assert_array_equal(later.dates, fc.dates[:, 1:4])
    assert_array_equal(later.times, [24.0, 48.0, 72.0])
    y0 = np.stack([v[0] for v in windows.values])
    again = fit.predict(y0, np.arange(1, 4) * DAY, t0=[w[0] for w in fc.dates], **few)
    assert torch.equal(again.paths, later.paths)
    with pytest.raises(ValueError, match=r"times: dates\. Pass durations"):
        fit.forecast(windows, dates[3:8], **few)


def test_windows_with_dates_go_to_arviz_and_ensembles(tmp_path):
    data = Trajectories(make_dates("noleap"), tiny_fields(np.arange(30.0), RNG)[None])
    options = {"metadata": Metadata.of(data)}
    fits = [Fit(*tiny_pair(0, seed=s), Scaling((1.7,), 3e6), **options) for s in (3, 4)]
    windows = data.cut(5, 6)
    fc = Ensemble(fits).forecast(windows, num_samples=4)
    assert_array_equal(fc.dates, fits[0].forecast(windows, num_samples=2).dates)
    assert fc.mean.shape == (len(windows), 5, NUM_POINTS)
    idata = fits[0].to_arviz(windows, num_samples=2, times=3, log_likelihood=False)
    kept = [0, 2, 4]
    assert_array_equal(idata.posterior_predictive["time"], fc.dates[:, kept])
    idata.to_netcdf(tmp_path / "windows.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "windows.nc", group="observed_data", engine="h5netcdf") as back:
        assert_array_equal(back["time"], fc.dates[:, kept])
        assert back["time"].encoding["calendar"] == "noleap"
