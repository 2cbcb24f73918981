"""What real files bring × what a fit is for: saved, resumed, pooled, in ArviZ, compared, filtered.

Each feature of `real_fields` is trained for three steps, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import arviz
import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_array_equal
from problems import same
from real_fields import CASES, QUICK, Case
from short_runs import weights_of

import pyro_msde
from pyro_msde import Callback, Ensemble, Fit, Forecast
from pyro_msde.data import Metadata, Scaling, TimeUnits
from pyro_msde.io.arviz import to_arviz
from pyro_msde.models import multiscale

pytestmark = pytest.mark.usefixtures("long_steps")

ONE_STEP = 9e9  # between snapshots, or as few as the library allows
SHORT = {"num_samples": 2, "max_step": ONE_STEP}
FILTERED = {"num_samples": 8, "num_theta": 1, "max_step": ONE_STEP, "history": 3}
READ = ["posterior_predictive", "observed_data"]  # groups that are read back from a file
# "all" has these at once; where it fails they tell which it is
ALONE = ("point", "gaps", "land", "padded", "channels", "calendar", "descending")


@dataclass
class Trained:
    """A case, its fit as it came and calibrated if it is to be, and forecasts of these."""

    case: Case
    raw: Fit
    fit: Fit
    forecasts: tuple[Forecast, Forecast]


def trained(case, folder=None, seed=0, **options):
    pair = case.pair(seed)
    options = {**QUICK, **case.options, **options}
    return pyro_msde.fit(*pair, case.data, checkpoint=folder, seed=seed, **options)


@pytest.fixture(
    scope="module",
    params=[pytest.param(k, marks=pytest.mark.slow if k in ALONE else ()) for k in CASES],
)
def given(request):
    case = CASES[request.param]()
    raw = trained(case)
    fit = raw.calibrated(case.test, num_times=10) if case.calibrated else raw
    plain = raw.forecast(case.test, **SHORT)
    return Trained(
        case, raw, fit, (plain, fit.forecast(case.test, **SHORT) if case.calibrated else plain)
    )


def assert_same_forecasts(ours, theirs):
    """In every bit, NaN where NaN is."""
    assert_array_equal(ours.mean, theirs.mean)
    assert_array_equal(ours.quantile(0.9), theirs.quantile(0.9))
    assert_array_equal(ours.diverged, theirs.diverged)
    assert_array_equal(ours.valid_times, theirs.valid_times)
    assert (ours.dates is None) == (theirs.dates is None)
    if ours.dates is not None:
        assert_array_equal(ours.dates, theirs.dates)


def assert_has_values_on_the_mask(values, case):
    """NaN off it, and finite on it; last axes are the field's."""
    expected = np.broadcast_to(case.mask(), np.shape(values))
    assert_array_equal(np.isfinite(np.asarray(values)), expected)


def dates_of(test, rows=slice(None)):
    """(trajectory, time) of some snapshots, as dates; None where there are none."""
    units = TimeUnits(test.units.get("time"), test.calendar)
    return units.dates(np.stack(test.times)[:, rows])


def test_a_saved_fit_forecasts_the_same_in_every_bit(given, tmp_path):
    given.fit.save(tmp_path)
    loaded = pyro_msde.load(tmp_path)
    assert loaded.metadata == given.fit.metadata
    assert loaded.scaling == given.fit.scaling
    assert loaded.calibration == given.fit.calibration
    test = given.case.test
    ours = given.forecasts[1]
    assert_same_forecasts(loaded.forecast(test, **SHORT), ours)
    assert_has_values_on_the_mask(ours.mean, given.case)
    # next to nothing was learned, but the level of the data, of which anomalies are of size one
    difference = ours.mean.numpy() - np.squeeze(np.stack(test.values))
    assert np.nanmax(abs(difference)) < (60 if test.channel_names else 5)
    times = np.squeeze(np.stack(test.times))
    np.testing.assert_allclose(ours.valid_times, times, rtol=1e-14)  # leads since the start
    if (dates := dates_of(test)) is not None:
        assert_array_equal(ours.dates, np.squeeze(dates))


class Stop(Callback):
    """Ctrl-C after two steps."""

    def step(self, trainer):
        if trainer.step == 2:
            raise KeyboardInterrupt


def test_what_was_interrupted_becomes_the_uninterrupted_fit(given, tmp_path):
    stopped = trained(given.case, tmp_path, callbacks=[Stop()])
    assert (stopped.steps, stopped.training.interrupted) == (2, True)
    resumed = trained(given.case, tmp_path)
    assert same(weights_of(resumed), weights_of(given.raw))
    assert resumed.history == given.raw.history
    assert_same_forecasts(resumed.forecast(given.case.test, **SHORT), given.forecasts[0])


def test_two_seeds_are_pooled_and_written(given, tmp_path):
    other = trained(given.case, seed=1)
    pooled = Ensemble([given.fit, other])
    fc = pooled.forecast(given.case.test, num_samples=4, max_step=ONE_STEP)
    assert_array_equal(fc.paths[:1], given.forecasts[1].paths)
    for values in (fc.mean, fc.sd, fc.quantile(0.05)):
        assert_has_values_on_the_mask(values, given.case)
    written = fc.to_xarray(quantiles=(0.05, 0.95))
    written.to_netcdf(tmp_path / "pooled.nc", engine="h5netcdf")
    test = given.case.test
    with xr.open_dataset(tmp_path / "pooled.nc", engine="h5netcdf") as read:
        for name, variable in written.data_vars.items():
            assert variable.dims == read[name].dims
            assert_array_equal(read[name], variable)
        names = test.channel_names or (test.name,)
        mean = np.stack([read[f"{name}_mean"] for name in names], 2)
        assert_array_equal(mean if test.channel_names else mean[:, :, 0], fc.mean)
        for name, positions in test.coords.items():
            assert_array_equal(read[name], positions)
        if (dates := dates_of(test)) is not None:
            assert_array_equal(np.atleast_2d(read["time"]), dates)


def test_arviz_data_hold_what_was_observed_and_draws_without_nan(given, tmp_path):
    case, test = given.case, given.case.test
    options = {"num_samples": 2, "times": 3}
    path: Any = tmp_path / "all.nc"
    idata = given.fit.to_arviz(test, **options)
    idata.to_netcdf(path, groups=READ, engine="h5netcdf")
    back = arviz.from_netcdf(path, engine="h5netcdf")
    observed, field = back["observed_data"][test.name], idata["constant_data"][f"{test.name}_field"]
    rows = np.unique(np.linspace(0, len(test.times[0]) - 1, 3).round().astype(int))
    truth = np.stack(test.values)[:, rows]
    assert_array_equal(field, np.where(case.mask(), truth, np.nan))
    axes = [d for d in field.dims if f"{d}_probe" in observed.coords]
    assert len(axes) == len(case.mask().shape) - bool(test.channel_names)
    probed = field.sel({d: observed[f"{d}_probe"] for d in axes})
    assert_array_equal(observed, probed.transpose(*observed.dims))
    assert np.isfinite(observed).any()
    predicted = back["posterior_predictive"]
    for name, draws in idata["posterior"].items():
        assert np.isfinite(draws).all(), name
    for name in (test.name, "zeta", "eta"):
        assert np.isfinite(predicted[name]).all(), name
    for moment in ("mean", "sd", "q05", "q95"):
        assert_has_values_on_the_mask(predicted[f"{test.name}_{moment}"], case)
    pointwise = idata["log_likelihood"][f"{test.name}_probes"]
    assert_array_equal(
        np.isfinite(pointwise), np.broadcast_to(np.isfinite(observed), pointwise.shape)
    )
    if (dates := dates_of(test, rows)) is not None:
        assert_array_equal(np.atleast_2d(observed["time"]), dates)
        assert_array_equal(np.atleast_2d(predicted["time"]), dates)


def test_forecasts_are_compared_with_simple_ones(given):
    case, test = given.case, given.case.test
    table = pyro_msde.compare(given.fit, test, case.data, num_samples=2)
    for name in ("rmse", "nrmse", "skill", "crps", "coverage"):
        assert np.isfinite(table[name]).all(), name
    correlated = table["anomaly_correlation"].drop_sel(forecaster="climatology")
    assert np.isfinite(correlated).all()
    counted = np.isfinite(np.stack(test.values)[:, 1:]) & case.mask()
    kept = (1, 2) if test.channel_names else (1,)
    axes = tuple(i for i in range(counted.ndim) if i not in kept)
    seen = table["observed"].transpose("lead", ...)
    assert_array_equal(seen, counted.sum(axes))


def test_forecasts_start_from_three_snapshots(given):
    test = given.case.test
    fc = given.fit.forecast(test, **FILTERED)
    assert_has_values_on_the_mask(fc.mean, given.case)
    assert fc.history == 3
    times = np.stack(test.times)[:, 2:]
    np.testing.assert_allclose(np.atleast_2d(fc.valid_times), times, rtol=1e-14)  # as above
    if (dates := dates_of(test, slice(2, None))) is not None:
        assert_array_equal(np.atleast_2d(fc.dates), dates)
    assert fc.to_xarray().sizes["trajectory"] == len(test)


def untrained(case, seed=0):
    model, guide = case.pair(seed)
    return Fit(model, guide, Scaling((1.0,), case.data.horizon), metadata=Metadata.of(case.data))


def test_what_does_not_go_together_is_named():
    case = CASES["graph"]()
    test = case.test
    members = [untrained(case, seed) for seed in (0, 1)]
    one, pooled = members[0], Ensemble(members)
    with pytest.raises(ValueError, match=r"fit: got Ensemble\. Pass .* one of an ensemble's fits"):
        to_arviz(pooled, test)
    with pytest.raises(ValueError, match="weights='coslat': no axis of latitudes is known among"):
        pyro_msde.compare(one, test, case.data, weights="coslat")
    for fit, paths in ((one, 4), (pooled, 8)):
        with pytest.raises(ValueError, match="num_samples: 4 paths are too few to tell what sev"):
            fit.forecast(test, history=3, num_samples=paths)
    with pytest.raises(ValueError, match="history=5: a trajectory has 4 snapshots"):
        one.forecast(test, history=5)
    with pytest.raises(ValueError, match=r"graph has no convolutions"):
        multiscale(case.graph, n_eta=1, components=0)
    with pytest.raises(ValueError, match="holds NaN or infinite values"):
        one.predict(np.where(np.arange(17) == 3, np.nan, test.values[0][0]), [0.0, 0.1])
