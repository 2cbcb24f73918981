"""Scores relative to a reference: closed forms in numpy, and what has none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from gaussian_forecasts import Gaussian
from numpy.testing import assert_allclose

import pyro_msde
from pyro_msde import Trajectories, calibration, nrmse
from pyro_msde.data import Metadata
from pyro_msde.scores.anomalies import anomaly_correlation, skill

BATCH, FIELD = 3, (2, 7)
TIMES = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
ROUNDING = {"rtol": 1e-11, "atol": 1e-13}  # anomalies of numbers about 280 lose three digits
HALVES = (slice(0, 3), slice(3, 5))


@pytest.fixture
def case():
    """A forecast about 280, the truth, and the reference (1, time, channel, 1)."""
    rng = np.random.default_rng(0)
    y = 280 + rng.normal(size=(BATCH, len(TIMES), *FIELD))
    mean = 280 + 0.8 * (y - 280) + 0.3 * rng.normal(size=y.shape)
    r = 280 + 0.1 * rng.normal(size=(1, len(TIMES), FIELD[0], 1))
    fc = Gaussian(
        TIMES,
        torch.as_tensor(mean),
        torch.ones(mean.shape, dtype=torch.float64),
        samples=40,
        reference_field=torch.as_tensor(r),
    )
    return fc, y, mean, r


def test_nrmse_is_of_anomalies_unless_told_otherwise(case):
    fc, y, mean, r = case
    ratio = np.square(mean - y).sum((2, 3)) / np.square(y - r).sum((2, 3))
    assert_allclose(nrmse(fc, y), np.sqrt(ratio.mean(1)), **ROUNDING)
    halves = np.sqrt(np.stack([ratio[:, h].mean(1) for h in HALVES], 1))
    assert_allclose(nrmse(fc, y, bins=2), halves, **ROUNDING)
    paper = np.square(mean - y).sum((2, 3)) / np.square(y).sum((2, 3))
    assert_allclose(nrmse(fc, y, relative_to="zero"), np.sqrt(paper.mean(1)), **ROUNDING)
    assert nrmse(fc, y, relative_to="zero").max() < 0.002 < 0.3 < nrmse(fc, y).min()
    plain = replace(fc, reference_field=None)
    assert_allclose(nrmse(plain, y), nrmse(fc, y, relative_to="zero"), rtol=0, atol=0)
    assert_allclose(nrmse(plain, y, relative_to=r), nrmse(fc, y), rtol=0, atol=0)


def test_a_constant_in_the_data_changes_no_relative_score(case):
    """1e5 takes five of sixteen digits."""
    fc, y, _, _ = case
    high = replace(fc, mean=fc.mean + 1e5, reference_field=fc.reference_field + 1e5)
    for score in (nrmse, skill, anomaly_correlation):
        assert_allclose(score(high, y + 1e5, bins=2), score(fc, y, bins=2), rtol=1e-9)


def test_skill_and_correlation_are_numpys(case):
    fc, y, mean, r = case
    error, size = (mean - y) ** 2, (y - r) ** 2
    assert_allclose(skill(fc, y), 1 - error.mean((1, 2, 3)) / size.mean((1, 2, 3)), **ROUNDING)
    expected = [1 - error[:, h].sum((1, 2, 3)) / size[:, h].sum((1, 2, 3)) for h in HALVES]
    assert_allclose(skill(fc, y, bins=2), np.stack(expected, 1), **ROUNDING)
    for h, found in zip(HALVES, anomaly_correlation(fc, y, bins=2).T, strict=True):
        for k in range(BATCH):
            a, b = ((x[k, h] - r[0, h]).ravel() for x in (mean, y))
            assert_allclose(found[k], a @ b / np.sqrt((a @ a) * (b @ b)), **ROUNDING)


def test_the_reference_itself_has_no_skill_and_the_truth_all(case):
    fc, y, _, r = case
    climatology = replace(fc, mean=torch.as_tensor(np.broadcast_to(r, y.shape).copy()))
    assert_allclose(skill(climatology, y), 0, atol=1e-12)
    assert_allclose(nrmse(climatology, y), 1, rtol=1e-12)
    perfect = replace(fc, mean=torch.as_tensor(y))
    assert_allclose(skill(perfect, y), 1)
    assert_allclose(anomaly_correlation(perfect, y), 1, **ROUNDING)
    mirrored = replace(fc, mean=torch.as_tensor(2 * r - y))
    assert_allclose(anomaly_correlation(mirrored, y), -1, **ROUNDING)
    with pytest.raises(ValueError, match=r"fc: trajectory 0 is the reference everywhere"):
        anomaly_correlation(climatology, y)
    flat = np.broadcast_to(r, y.shape)
    with pytest.raises(ValueError, match=r"truth: trajectory 0 is the reference everywhere"):
        skill(fc, flat)
    with pytest.raises(ValueError, match=r"trajectory 0 at index 0 \(t=0\) is the reference every"):
        nrmse(fc, flat)


def test_a_single_forecast_is_scored_alike(case):
    fc, y, _, _ = case
    one = Gaussian(
        TIMES, fc.mean[1], fc.sd[1], batched=False, reference_field=fc.reference_field[0]
    )
    for score in (nrmse, skill, anomaly_correlation):
        found = score(one, y[1])
        assert type(found) is float
        assert_allclose(found, score(fc, y)[1], **ROUNDING)
        assert_allclose(score(one, y[1], bins=2), score(fc, y, bins=2)[1], **ROUNDING)


def test_the_report_shows_skill_first(case):
    fc, y, mean, r = case
    report = calibration(fc, y, levels=(0.5,), interval=0.5, bins=2)
    size = np.square(y - r).mean((2, 3))
    expected = np.stack([size[:, h].mean(1) for h in HALVES], 1)
    assert_allclose(report.reference_error, expected, **ROUNDING)
    error = np.square(mean - y).mean((2, 3))
    errors = np.stack([error[:, h].mean(1) for h in HALVES], 1)
    whole = 1 - errors.mean(0) / expected.mean(0)
    assert_allclose(report.skill, whole, **ROUNDING)
    found, stderr = report.average("skill")
    left = [np.delete(errors, k, 0).mean(0) / np.delete(expected, k, 0).mean(0) for k in range(3)]
    assert_allclose(found, whole, **ROUNDING)
    assert_allclose(stderr, np.sqrt(2 * np.var(left, axis=0)), rtol=1e-9)
    assert_allclose(report.to_xarray()["skill"], whole, **ROUNDING)
    over_all = 1 - errors.mean() / expected.mean()
    assert f"samples: skill {over_all:.3f}, 50% intervals" in repr(report)


def test_what_scores_may_be_relative_to(case):
    fc, y, _, r = case
    with pytest.raises(ValueError, match=r"relative_to='climatology': choose 'reference', 'zero'"):
        nrmse(fc, y, relative_to="climatology")
    with pytest.raises(ValueError, match=r"relative_to: shape \(3, 7, 2\) does not broadcast"):
        skill(fc, y, relative_to=np.zeros((3, 7, 2)))
    with pytest.raises(ValueError, match="relative_to: NaN or infinite where something was"):
        pyro_msde.anomaly_correlation(fc, y, relative_to=np.where(r == r.max(), np.nan, r))


def test_a_labelled_reference_is_read_by_its_names_positions_and_times():
    """A square of points: the shape tells nothing of their order."""
    rng = np.random.default_rng(1)
    y, r = 280 + rng.normal(size=(2, len(TIMES), 5, 5)), 280 + rng.normal(size=(5, 5))
    mean = y + 0.3 * rng.normal(size=y.shape)
    coords = {"lat": 60.0 - 20.0 * np.arange(5), "lon": 30.0 * np.arange(5)}
    units = {"sst": "K", "time": "days since 2000-01-01"}
    options = {"name": "sst", "dims": ("lat", "lon"), "coords": coords, "units": units}
    known = Metadata.of(Trajectories(TIMES, y, **options))
    fc = Gaussian(TIMES, torch.as_tensor(mean), torch.ones(y.shape), metadata=known)
    single = replace(fc, mean=fc.mean[0], sd=fc.sd[0], batched=False)
    labelled = xr.DataArray(r, coords, ("lat", "lon"), attrs={"units": "K"})
    dates = np.datetime64("2000-01-01", "ns") + (TIMES * 86_400).astype("m8[s]")
    course = labelled + xr.DataArray(TIMES, {"time": dates}, "time")
    moving = r + TIMES[:, None, None]
    for score in (nrmse, skill, anomaly_correlation):
        for turned in (labelled[::-1], labelled.T, labelled[:, ::-1].T):
            found = score(fc, y, relative_to=turned)
            assert_allclose(found, score(fc, y, relative_to=r), rtol=1e-12)
        found = score(single, y[0], relative_to=course[:, ::-1, ::-1])
        assert_allclose(found, score(single, y[0], relative_to=moving), rtol=1e-12)
        with pytest.raises(ValueError, match="relative_to: values in 'degC'"):
            score(fc, y, relative_to=(labelled - 273.15).assign_attrs(units="degC"))
        with pytest.raises(ValueError, match=r"relative_to: along 'time' it lacks 0\.0"):
            score(fc, y, relative_to=course.isel(time=slice(1, None)))
        weights = xr.DataArray(1 + np.arange(5.0), {"lat": coords["lat"]}, "lat")
        plain = np.broadcast_to(weights.values[:, None], (5, 5))
        expected = score(fc, y, relative_to=r, weights=plain)
        found = score(fc, y, relative_to=r, weights=weights[::-1])
        assert_allclose(found, expected, rtol=1e-12)
