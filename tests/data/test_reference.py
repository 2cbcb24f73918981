"""References against numpy: means of what was observed, least squares, and what is refused."""

from __future__ import annotations

import datetime
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from pyro_msde import Cycle
from pyro_msde.data import Reference, Scaling, TimeUnits, reference_of

ROUNDING = {"rtol": 1e-12}  # sums of some thousand float64 numbers
SHAPE = (2, 3, 5)  # (channel, *space)
PERIOD = 1.7


def cases(gaps=True):
    """Two trajectories of different lengths and clocks, means 280 and −5, NaN in a third."""
    rng = np.random.default_rng(0)
    times = [np.sort(rng.uniform(0, 5, 19)), 40 + np.sort(rng.uniform(0, 3, 11))]
    mean = np.array([280.0, -5.0]).reshape(2, 1, 1)
    fields = [mean + rng.normal(size=(len(t), *SHAPE)) for t in times]
    if gaps:
        for f in fields:
            f[rng.uniform(size=f.shape) < 0.33] = np.nan
            f[:, 1, 0, 0] = np.nan  # a point that is never observed
    return fields, times


def made(given, fields, times, admits=(True, True)):
    return reference_of(given, fields, times, admits)


@pytest.mark.parametrize("gaps", [False, True])
def test_means_are_of_what_was_observed(gaps):
    fields, times = cases(gaps)
    both = np.concatenate(fields)
    channel = np.nanmean(both, (0, 2, 3)).reshape(1, 2, 1, 1)
    assert_allclose(made("channel", fields, times).coefficients, channel, **ROUNDING)
    found = made("point", fields, times).coefficients
    expected = np.array(channel * np.ones((1, *SHAPE)))  # where nothing ever was observed
    seen = ~np.isnan(both).all(0)
    expected[0, seen] = np.nanmean(both[:, seen], 0)
    assert seen.sum() == 30 - gaps
    assert_allclose(found, expected, **ROUNDING)


def test_a_channel_that_is_zero_on_a_wall_is_left_alone():
    fields, times = cases()
    found = made("channel", fields, times, (False, True)).coefficients
    assert found[0, 0] == 0
    assert_allclose(found[0, 1, 0, 0], np.nanmean(np.concatenate(fields)[:, 1]), **ROUNDING)
    assert not made("channel", fields, times, (False, False))


@pytest.mark.parametrize("gaps", [False, True])
def test_a_cycle_is_the_least_squares_fit_at_each_point(gaps):
    fields, times = cases(gaps)
    found = made(Cycle(PERIOD, 2), fields, times)
    assert found.period == PERIOD
    clock = np.concatenate(times)
    angle = 2 * np.pi * clock / PERIOD
    columns = [np.ones_like(clock)]
    for k in (1, 2):
        columns += [np.cos(k * angle), np.sin(k * angle)]
    design, y = np.stack(columns, 1), np.concatenate(fields)
    for place in np.ndindex(*SHAPE):
        at = y[(slice(None), *place)]
        there = ~np.isnan(at)
        if not there.any():
            assert_array_equal(found.coefficients[(slice(1, None), *place)], 0)
            continue
        expected = np.linalg.lstsq(design[there], at[there], rcond=None)[0]
        # the ridge of 1e-9 of the trace, at condition numbers of a hundred at most
        assert_allclose(found.coefficients[(slice(None), *place)], expected, rtol=1e-5, atol=1e-6)
    at = found.at(times[1])
    assert at.shape == (11, *SHAPE)
    assert_allclose(at, np.tensordot(design[19:], found.coefficients, 1), rtol=1e-10)


@pytest.mark.parametrize("days", [8, 30, 100, 180, 365])
def test_a_cycle_of_a_short_record_stays_near_its_values(days):
    """Least squares alone extrapolate a part of a year by up to thousands of kelvins."""
    clock = np.arange(float(days))
    rng = np.random.default_rng(0)
    fields = (
        280 + 10 * np.cos(2 * np.pi * clock / 365)[:, None, None] + rng.normal(size=(days, 1, 9))
    )
    with (
        nullcontext() if days > 100 else pytest.warns(UserWarning, match="part of the period only")
    ):
        found = made(Cycle(365.0, 1), [fields], [clock])
    year = found.at(np.arange(365.0))
    # at most the amplitude of 10 and four standard deviations, 1.2 each, beyond the record's mean
    assert np.abs(year - fields.mean()).max() < 20 + 4 * 1.3
    assert np.abs(found.at(clock) - fields).max() < 3 + 4.2  # the noise, 4.2 at most of 3285


def test_a_cycle_is_found_back_from_data_that_are_one():
    r = Reference(280 + np.random.default_rng(3).normal(size=(3, *SHAPE)), PERIOD)
    times = [np.linspace(0, 9, 61), np.linspace(1e5, 1e5 + 4, 31)]
    found = made(Cycle(PERIOD, 1), [r.at(t) for t in times], times)
    assert_allclose(found.coefficients, r.coefficients, rtol=1e-8)  # the ridge
    assert_allclose(found.at([3.0, 3.0 + 7 * PERIOD]), r.at([3.0, 3.0]), rtol=1e-7)


@pytest.mark.parametrize("constant", [280.0, 1e5, -3e4])
def test_a_constant_in_the_data_is_one_in_the_reference(constant):
    fields, times = cases()
    for given in ("channel", "point", Cycle(PERIOD, 2)):
        plain = made(given, fields, times).at(times[0])
        high = made(given, [f + constant for f in fields], times).at(times[0])
        assert_allclose(high - constant, plain, rtol=0, atol=1e-9)  # 1e5 takes five digits


def test_a_users_array_is_taken_as_it_is():
    fields, times = cases()
    whole = np.arange(30.0).reshape(SHAPE)
    assert_array_equal(made(whole, fields, times).coefficients, whole[None])
    assert_array_equal(made(torch.tensor(whole), fields, times).coefficients, whole[None])
    assert_array_equal(made([1.0, 2.0], fields, times).coefficients.ravel(), [1, 2])
    one = [f[:, :1] for f in fields]
    assert_array_equal(made(whole[0], one, times, (True,)).coefficients, whole[None, :1])
    assert made(3.0, one, times, (True,)).coefficients.shape == (1, 1, 1, 1)
    assert not made(None, fields, times)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("mean", "reference='mean': choose 'channel', 'point', a pyro_msde.Cycle, an array"),
        (np.zeros((5, 3)), r"reference: shape \(5, 3\); the data's fields are .* = \(2, 3, 5\)"),
        ([1.0, 2.0, 3.0], r"reference: shape \(3,\)"),
        ([1.0, np.nan], "reference: holds NaN or infinite values, 1 of 2"),
        (["a", "b"], "reference: dtype"),
    ],
)
def test_references_that_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        made(given, *cases())


@pytest.mark.parametrize("options", [{"period": 0.0}, {"period": np.nan}, {"period": -1.0}])
def test_periods_that_are_refused(options):
    with pytest.raises(ValueError, match=r"period=.*: give a number above 0"):
        Cycle(**options)
    with pytest.raises(ValueError, match="harmonics=0: give a whole number, at least 1"):
        Cycle(1.0, 0)


def test_a_period_may_be_a_duration():
    hours, days = TimeUnits("hours since 1970-01-01"), TimeUnits("days since 1800-1-1")
    for year in (np.timedelta64(8766, "h"), datetime.timedelta(365.25)):
        assert Cycle(year, 3).in_units(hours) == Cycle(8766.0, 3)
        assert Cycle(year).in_units(days) == Cycle(365.25)
    assert Cycle(8.0).in_units(TimeUnits()) == Cycle(8.0)
    with pytest.raises(ValueError, match="reference: durations, but the data's times are in units"):
        Cycle(np.timedelta64(8766, "h")).in_units(TimeUnits())
    with pytest.raises(ValueError, match="reference: months and years have no fixed length"):
        Cycle(np.timedelta64(1, "Y")).in_units(days)
    with pytest.raises(ValueError, match=r"period=.*: give a duration above 0"):
        Cycle(np.timedelta64("NaT"))


def test_an_array_may_lack_what_never_was_observed():
    """As the mean over time of a field with land does."""
    fields, times = cases(gaps=True)
    given = np.random.default_rng(3).normal(size=SHAPE)
    never = np.isnan(np.concatenate(fields)).all(0)
    given[never] = np.nan
    found = made(given, fields, times).coefficients[0]
    assert_array_equal(found[~never], given[~never])
    for channel in range(len(given)):
        mean = np.nanmean(given[channel])
        assert_allclose(found[channel][never[channel]], mean, **ROUNDING)
    assert never.any()
    given[~never] = np.nan
    with pytest.raises(ValueError, match=r"reference: holds NaN .* where there are observations"):
        made(given, fields, times)


def test_references_are_equal_if_their_numbers_are():
    r = np.ones((3, 1, 2))
    assert Reference(r, 1.0) == Reference(r.copy(), 1.0)
    assert hash(Reference(r, 1.0)) == hash(Reference(r.copy(), 1.0))
    assert Reference(r, 1.0) != Reference(r, 2.0)
    assert Reference(r, 1.0) != Reference(2 * r, 1.0)
    assert Reference() == Reference()
    assert Reference() != Reference(r, 1.0)
    assert Reference() != 0
    with pytest.raises(ValueError, match="reference: nothing is subtracted"):
        Reference().at(0.0)


# the scale of what is left


def test_scales_are_of_observed_anomalies():
    fields, times = cases()
    for given in ("channel", Cycle(PERIOD, 1)):
        reference = made(given, fields, times)
        scaling = Scaling.of(fields, 5.0, reference=reference, times=times)
        left = np.concatenate([f - reference.at(t) for f, t in zip(fields, times, strict=True)])
        expected = np.sqrt(np.nanmean(np.square(left), (0, 2, 3)))
        assert_allclose(scaling.channels, expected, **ROUNDING)
    plain = Scaling.of(fields, 5.0)
    both = np.concatenate(fields)
    assert_allclose(plain.channels, np.sqrt(np.nanmean(np.square(both), (0, 2, 3))), **ROUNDING)


def test_scaled_fields_are_anomalies_over_their_scale():
    fields, times = cases(gaps=False)
    reference = made(Cycle(PERIOD, 2), fields, times)
    scaling = Scaling.of(fields, 5.0, reference=reference, times=times)
    found = scaling.to_scaled(torch.as_tensor(fields[0]), times[0])
    scale = np.reshape(scaling.channels, (2, 1, 1))
    assert_allclose(found, (fields[0] - reference.at(times[0])) / scale, **ROUNDING)
    assert found.dtype == torch.float64


def test_a_channel_that_is_its_reference_has_the_references_scale():
    fields = [np.random.default_rng(1).normal(size=(4, 2, 3)).astype(np.float32)]
    fields[0][:, 1] = 280.3  # of which float32's mean is some rounding away
    times = [np.arange(4.0)]
    reference = made("channel", fields, times)
    scaling = Scaling.of(fields, 3.0, reference=reference, times=times)
    assert_allclose(scaling.channels[1], 280.3, rtol=1e-6)
