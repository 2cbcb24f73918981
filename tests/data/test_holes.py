"""Holes in records, where they are by construction."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest

from pyro_msde import Trajectories
from pyro_msde.data.holes import holes


def numbers(data):
    return [v[:, 0].astype(int).tolist() for v in data.values]


def record(times):
    times = np.asarray(times)
    return Trajectories(times, np.arange(len(times))[None, :, None] * np.ones(3))


@pytest.mark.parametrize(("length", "every"), [(5, 1), (5, None), (2, 1), (30, 1)])
@pytest.mark.parametrize("unit", [1.0, 0.1, "D"])
def test_windows_span_no_hole(length, every, unit, caplog):
    steps = np.r_[0:30, 100:130]
    times = np.datetime64("2001-01-01") + steps if unit == "D" else 0.3 + unit * steps
    starts = range(0, 60 - length + 1, every or length)
    expected = [list(range(s, s + length)) for s in starts if s + length <= 30 or s >= 30]
    left_out = len(starts) - len(expected)
    with caplog.at_level(logging.INFO, "pyro_msde"):
        assert numbers(record(times).cut(length, every)) == expected
    told = [r.message for r in caplog.records]
    said = f"cut leaves out {left_out} of {len(starts)} windows, which span holes in the record."
    assert told == ([said] if left_out else [])


def test_where_every_window_spans_a_hole_that_is_said():
    with pytest.raises(ValueError, match=r"length: each of 30 windows of 31 snapshots spans a hol"):
        record(np.r_[0.0:30, 100:130]).cut(31, 1)


def test_seasons_of_many_years_are_each_cut_by_themselves():
    """December to March in 10 years: three steps of a month, then one of nine."""
    months = pd.date_range("1999-12-01", periods=120, freq="MS")
    winters = months[np.isin(months.month, [12, 1, 2, 3])]
    found = numbers(record(winters).cut(4, 1))
    assert found == [list(range(s, s + 4)) for s in range(0, 40, 4)]


@pytest.mark.parametrize("freq", ["MS", "YS", "QS", "D", "2MS"])
def test_months_and_leap_years_are_no_holes(freq):
    assert not holes(record(pd.date_range("1999-01-01", periods=40, freq=freq)).times[0]).any()


@pytest.mark.parametrize(
    "steps",
    [
        [0.1] * 100 + [1.0] * 50,  # another spacing, coarser
        [1.0] * 30 + [1.5] * 30,
        [1.0] * 30 + [0.1] * 20,
        list(np.random.default_rng(0).integers(1, 7, 80)),  # irregular
        [1.0],
        [],
    ],
)
def test_other_spacings_and_irregular_times_are_no_holes(steps):
    times = np.cumsum([0.0, *steps])
    assert not holes(times).any()
    if len(steps) > 1:
        assert len(record(times).cut(4, 1)) == len(times) - 3


def test_a_single_snapshot_between_holes_is_not_forecast_from():
    times = np.r_[0.0:30, 60, 100:130]
    assert np.flatnonzero(holes(times)).tolist() == [29, 30]


def test_windows_by_duration_take_what_there_is():
    data = record(np.datetime64("2001-01-01") + np.r_[0:5, 9:14])
    windows = data.cut(np.timedelta64(6, "D"), 1)
    assert numbers(windows)[3:5] == [[3, 4, 5], [4, 5, 6]]  # days 3, 4, 9 and 4, 9, 10
