"""Parts of trajectories in time, against loops over snapshots."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest
from oracles.tolerance import standard_errors

from pyro_msde import Trajectories
from pyro_msde.data.decorrelation import decorrelation_lag
from pyro_msde.data.segment_sizes import segment_sizes

DAY = np.timedelta64(1, "D")


def record(count=40, trajectories=2, **options):
    """Snapshots whose values are their numbers, so that it shows which ones are where."""
    times = [0.1 * np.arange(count + 3 * k) + 0.5 for k in range(trajectories)]
    values = [np.arange(len(t))[:, None] * np.ones(3) for t in times]
    return Trajectories(times, values, covariates=np.arange(float(trajectories)), **options)


def dated(count=40, spacing=DAY):
    dates = np.datetime64("2000-02-20T00") + np.arange(count) * spacing
    return Trajectories(dates, np.arange(count)[None, :, None] * np.ones(3))


def numbers(data):
    return [v[:, 0].astype(int).tolist() for v in data.values]


def test_until_and_after_part_the_data():
    data = record()
    for time in (0.8, 0.5, 0.75):  # 0.5 + 0.1 · 3 is no 0.8 in floating point
        early, late = data.until(time), data.after(time)
        for whole, a, b in zip(numbers(data), numbers(early), numbers(late), strict=True):
            assert a + b == whole
            assert len(a) == round((time - 0.5) / 0.1 - 0.25) + 1
    assert np.shares_memory(late.values[0], data.values[0])
    np.testing.assert_array_equal(late.covariates, data.covariates)


def test_between_has_both_ends():
    assert numbers(record().between(0.8, 1.2)) == [[3, 4, 5, 6, 7]] * 2
    assert numbers(record().between(-np.inf, 0.65)) == [[0, 1]] * 2
    found = dated().between("2000-02-28", datetime.date(2000, 3, 1))
    assert numbers(found) == [[8, 9, 10]]  # the 28th, the 29th, the 1st


@pytest.mark.parametrize("text", ["2001", "2000", "2000-02", "2000-12", "2000-03-05", "2001-01-01"])
def test_texts_name_whole_days_months_and_years_as_in_pandas(text):
    dates = pd.date_range("1999-12-30", "2001-02-03", freq="6h")
    series = pd.Series(np.arange(len(dates)), dates)
    data = Trajectories(dates, series.to_numpy()[None, :, None] * np.ones(3))
    assert numbers(data.until(text)) == [series[:text].tolist()]
    rest = series.drop(series[:text].index)
    if len(rest):
        assert numbers(data.after(text)) == [rest.tolist()]
    for start in ("2000", "2000-01", "1999-12-31 12"):
        assert numbers(data.between(start, text)) == [series[start:text].tolist()]
    hour = f"{text}-01-01"[:10] + " 06"
    minutes = pd.date_range("1999-12-30", "2001-02-03", freq="25min")
    series = pd.Series(np.arange(len(minutes)), minutes)
    fine = Trajectories(minutes, series.to_numpy()[None, :, None] * np.ones(3))
    for end in (hour, f"{hour}:15", f"{hour}:15:00"):
        assert numbers(fine.until(end)) == [series[:end].tolist()]


def test_texts_name_whole_months_of_the_datas_calendar():
    units = {"time": "days since 2000-01-01"}
    times = np.arange(0, 360, 0.5)
    data = Trajectories(times, times[None, :, None] * np.ones(3), units=units, calendar="360_day")
    assert data.until("2000-02").times[0][-1] == 59.5
    assert data.until("2000-02-30").times[0][-1] == 59.5
    assert data.until("2000").times[0][-1] == 359.5
    assert data.between("2000-12", "2000").times[0][0] == 330
    assert data.until("2000-02-30 00:00").times[0][-1] == 59


def test_dates_are_told_as_dates():
    data = dated()
    assert "t 2000-02-20 to 2000-03-30" in repr(data)
    with pytest.raises(ValueError, match=r"has no snapshot after 2001-02-03 04:05:06\."):
        data.after("2001-02-03 04:05:06")
    with pytest.raises(ValueError, match=r"time: 1999-12-31 is before trajectory 0 begins"):
        data.until(datetime.date(1999, 12, 31))


def test_parts_without_snapshots_are_refused():
    data = record()
    with pytest.raises(
        ValueError, match=r"trajectory 0 has no snapshot after 4\.5\. .*data\[\[1\]\]"
    ):
        data.after(4.5)
    with pytest.raises(ValueError, match=r"trajectory 0 has no snapshot from 4.45 to 4.65"):
        data.between(4.45, 4.65)
    with pytest.raises(ValueError, match=r"end: nothing is from 2 to 1"):
        data.between(2.0, 1.0)
    for time in (np.nan, "2000-01-01", None, [0.1, 0.2]):
        with pytest.raises(ValueError, match=r"^time: "):
            data.after(time)
        with pytest.raises(ValueError, match=r"^end: "):
            data.between(0.0, time)


@pytest.mark.parametrize(("length", "every"), [(5, None), (5, 2), (7, 7), (40, 1), (2, 39)])
def test_windows_are_slices(length, every):
    data = record()
    windows = data.cut(length, every)
    expected, rows = [], []
    for k, whole in enumerate(numbers(data)):
        for start in range(0, len(whole), every or length):
            if len(whole[start : start + length]) == length:
                expected.append(whole[start : start + length])
                rows.append(k)
    assert numbers(windows) == expected
    assert windows.covariates[:, 0].tolist() == rows
    for t, n, k in zip(windows.times, numbers(windows), rows, strict=True):
        np.testing.assert_array_equal(t, data.times[k][n])  # as before: not from zero on
    assert np.shares_memory(windows.values[0], data.values[0])


def test_windows_by_duration():
    data = dated()
    for length, every in (
        (9 * DAY, 3 * DAY),
        (datetime.timedelta(days=9), datetime.timedelta(hours=72)),
        (pd.Timedelta(9, "D"), 3),
        (10, pd.Timedelta(3, "D")),
    ):
        assert numbers(data.cut(length, every)) == numbers(data.cut(10, 3))
    followed = data.cut(9 * DAY)  # as long as every: the end of one is the start of the next
    assert numbers(followed)[:2] == [list(range(10)), list(range(9, 19))]


def test_windows_of_a_record_with_gaps_are_ragged():
    days = np.array([0, 1, 2, 3, 7, 8, 9, 10, 11, 20])
    data = Trajectories(np.datetime64("2001-01-01") + days * DAY, days[None, :, None] * np.ones(3))
    expected = []
    start = 0
    while start < len(days):
        if days[start] + 3 <= days[-1]:
            inside = days[(days >= days[start]) & (days <= days[start] + 3)]
            expected += [inside.tolist()] if len(inside) > 1 else []
        start = next((i for i in range(start + 1, 10) if days[i] >= days[start] + 3), 10)
    assert numbers(data.cut(3 * DAY)) == expected == [[0, 1, 2, 3], [7, 8, 9, 10], [10, 11]]


@pytest.mark.parametrize(
    ("length", "every", "message"),
    [
        (1, None, "length=1: give a whole number, at least 2"),
        (0.5, None, "length=0.5: give a whole"),
        (None, None, "length=None"),
        ("5 days", None, "length=.5 days."),
        (5, 0, "every=0: give a whole number, at least 1"),
        (50, None, "length: 50 is longer than every trajectory; .* up to 43"),
        (np.timedelta64(3, "h"), None, "length: durations, but the data's times are in units"),
    ],
)
def test_windows_without_sense_are_refused(length, every, message):
    with pytest.raises(ValueError, match=message):
        record().cut(length, every)


def test_negative_durations_are_refused():
    with pytest.raises(ValueError, match=r"length: .* Pass a positive duration"):
        dated().cut(-3 * DAY)


@pytest.mark.parametrize("gap", [0, 1, 4])
@pytest.mark.parametrize("shares", [(0.7, 0.15), (0.5, 0.3)])
def test_parts_of_a_split_are_apart_and_in_proportion(gap, shares):
    data = record(60)
    train, validation, test = data.split(*shares, gap=gap)
    for a, b, c, whole in zip(*map(numbers, (train, validation, test, data)), strict=True):
        assert a + whole[len(a) : len(a) + gap] + b == whole[: b[-1] + 1]
        assert whole[: b[-1] + 1 + gap] + c == whole
        usable = len(whole) - 2 * gap
        assert (len(a), len(b)) == tuple(round(share * usable) for share in shares)
    assert np.shares_memory(test.values[0], data.values[0])


def test_a_gap_may_be_a_duration():
    data = dated(60)
    by_days, by_number = data.split(gap=5 * DAY), data.split(gap=4)  # four left out: five later
    assert [numbers(x) for x in by_days] == [numbers(x) for x in by_number]
    days = np.cumsum(np.random.default_rng(5).integers(1, 6, 80))
    uneven = Trajectories(np.datetime64("2001-01-01") + days * DAY, np.ones((1, 80, 3)))
    parts = uneven.split(gap=20 * DAY)
    for early, late in ((parts.train, parts.validation), (parts.validation, parts.test)):
        apart = (late.times[0][0] - early.times[0][-1]) / 86400
        assert 20 <= apart < 20 + 5  # one snapshot earlier it would be too little


def test_a_gap_that_is_a_duration_is_one_where_the_spacing_changes():
    """Ten snapshots a day, then one: three days are 29 snapshots between, or two."""
    days = np.concatenate([0.1 * np.arange(300), 30 + np.arange(100)])
    dates = np.datetime64("2001-01-01") + np.rint(days * 24 * 60).astype("m8[m]")
    data = Trajectories(dates, np.arange(400)[None, :, None] * np.ones(3))
    for shares in ((0.7, 0.15), (0.8, 0.1), (0.4, 0.3)):
        parts = data.split(*shares, gap=3 * DAY)
        (a,), (b,), (c,) = map(numbers, parts)
        for early, late in ((a, b), (b, c)):
            assert days[late[0]] - days[early[-1]] >= 3 - 1e-9
            assert days[late[0] - 1] - days[early[-1]] < 3 - 1e-9  # no snapshot more than needed
        usable = len(a) + len(b) + len(c)
        assert a[0] == 0
        assert c[-1] == 399
        # where a part's end moves the gap shares are met to a snapshot or two
        assert abs(len(a) - shares[0] * usable) <= 2
        assert abs(len(b) - shares[1] * usable) <= 2
    with pytest.raises(ValueError, match="with a gap of 70 days"):
        data.split(gap=70 * DAY)


def ar1(count, phi, points=400, seed=2):
    rng = np.random.default_rng(seed)
    x = [rng.standard_normal(points)]
    for _ in range(count - 1):
        x.append(phi * x[-1] + np.sqrt(1 - phi**2) * rng.standard_normal(points))
    return np.array(x) + 280.0


@pytest.mark.parametrize(("phi", "lag"), [(0.3, 1), (0.5, 2), (0.8, 5), (0.857, 7)])
def test_autoregressions_decorrelate_when_their_power_says(phi, lag):
    """ρ(k) = φᵏ: the first k with φᵏ < 1/e, which is not close to 1/e in any of these."""
    assert phi**lag < 1 / np.e < phi ** (lag - 1)
    margin = min(abs(phi**k - 1 / np.e) for k in (lag, lag - 1))
    series = ar1(1500, phi)
    error = np.sqrt((1 + phi**2) / (1 - phi**2) / series.size)  # of ρ, by Bartlett's formula
    assert margin > standard_errors(6) * error / 0.7  # of the pairs half are left below
    assert decorrelation_lag([series[:700], series[700:]], 50) == lag
    assert decorrelation_lag([series], lag) == lag
    series[np.random.default_rng(1).random(series.shape) < 0.3] = np.nan
    assert decorrelation_lag([series], 50) == lag


def test_what_never_changes_never_decorrelates():
    assert decorrelation_lag([np.full((20, 3), 4.0)], 7) == 7
    assert decorrelation_lag([np.full((20, 3), np.nan)], 7) == 7


def test_the_gap_of_a_split_is_the_time_of_decorrelation_or_a_twentieth():
    series = ar1(1000, 0.8)
    parts = Trajectories(np.arange(1000.0), series[None]).split()
    assert parts.validation.times[0][0] - parts.train.times[0][-1] == 5 + 1
    slow = Trajectories(np.arange(100.0), np.linspace(0, 1, 100)[None, :, None] * np.ones(3))
    assert slow.split().test.times[0][0] - slow.split().validation.times[0][-1] == 5 + 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train": 0.7, "validation": 0.3}, "leave nothing for the test"),
        ({"train": 1.2}, "train=1.2"),
        ({"validation": 0}, "validation=0"),
        ({"gap": 25}, "trajectory 0 make parts of .* with a gap of 25"),
        ({"gap": -1}, "gap=-1"),
        ({"gap": 0.5}, "gap=0.5"),
        ({"gap": "3"}, "gap=.3."),
    ],
)
def test_splits_without_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        record(40).split(**arguments)


def smooth(*counts):
    """Waves so slow that they stay alike over tens of snapshots."""
    x = np.arange(20) / 20
    values = [np.sin(2 * np.pi * (x - 0.002 * np.arange(n)[:, None])) for n in counts]
    return Trajectories([np.arange(float(n)) for n in counts], values)


@pytest.mark.parametrize("count", [253, 254, 1001])
def test_recipes_segments_are_kept_where_they_fit(count):
    assert segment_sizes(smooth(count, 1500), 64, 4)[:2] == (64, 4)


@pytest.mark.parametrize("count", [*range(2, 80, 3), 201, 252])
def test_shorter_records_have_segments_of_half_their_length(count):
    length, stride, why = segment_sizes(smooth(300, count), 64, 4)
    span = (length - 1) * stride
    assert span < count
    half = (count - 1) // 2
    assert span <= max(1, half)
    assert length == 64 or span == max(1, half)
    assert f"{length} observations" in why
    assert f"{count} or more" in why
    assert why.endswith("change slowly.")


def test_fast_fields_have_every_snapshot():
    data = Trajectories(np.arange(600.0), ar1(600, 0.6)[None])
    length, stride, why = segment_sizes(data, 64, 4)
    assert (length, stride) == (64, 1)
    assert why.endswith("decorrelate in 2 snapshots.")
    data = Trajectories(np.arange(600.0), ar1(600, 0.8)[None])
    assert segment_sizes(data, 64, 4)[:2] == (64, 2)


def test_what_is_asked_for_is_not_changed():
    data = smooth(50)
    assert segment_sizes(data, 64, 4, {"stride"})[:2] == (7, 4)
    assert segment_sizes(data, 40, 4, {"length"})[:2] == (40, 1)
    assert segment_sizes(data, 64, 4, {"length"})[:2] == (64, 1)  # which `Segments` refuses
