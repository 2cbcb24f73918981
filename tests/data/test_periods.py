"""Periods in the data's unit of time, against lengths that are known."""

from __future__ import annotations

import datetime
import re

import numpy as np
import pytest

from pyro_msde import Cycle, Trajectories, baselines
from pyro_msde.data import TimeUnits, period_in


@pytest.mark.parametrize(
    ("calendar", "days"),
    [
        ("standard", 365.2425),  # 400 years are 146 097 days
        ("proleptic_gregorian", 146_097 / 400),
        ("julian", 365.25),
        ("noleap", 365),
        ("366_day", 366),
        ("360_day", 360),
    ],
)
def test_a_year_is_that_of_the_calendar(calendar, days):
    clock = TimeUnits("hours since 2000-01-01", calendar)
    for text in ("1 year", "12 months", "year", "1.0 Years", " 12 month"):
        assert period_in(clock, text, "p") == pytest.approx(24 * days, rel=1e-12)
    assert period_in(clock, "6 months", "p") == pytest.approx(12 * days, rel=1e-12)
    assert period_in(clock, "600 years", "p") == pytest.approx(24 * 600 * days, rel=1e-12)


def test_other_texts_are_durations_as_pandas_reads_them():
    for text, hours in (("1 day", 24), ("36 hours", 36), ("365.25 days", 8766), ("90min", 1.5)):
        assert period_in(TimeUnits("hours since 2000-01-01"), text, "p") == hours
        assert period_in(TimeUnits("h"), text, "p") == hours
    assert period_in(TimeUnits("h"), datetime.timedelta(days=1), "p") == 24
    assert period_in(TimeUnits(), 3.5, "p") == 3.5


@pytest.mark.parametrize(
    "text", ["a year", "yearly", "12", "", "-1 day", "0 days", "1 fortnight", "NaT", "0.0"]
)
def test_other_texts_are_refused_with_an_example(text):
    for make in (Cycle, baselines.Climatology, baselines.LinearInverseModel):
        with pytest.raises(ValueError, match=rf"^period={re.escape(repr(text))}: .*'1 year'"):
            make(text)


def test_a_period_of_no_length_is_refused():
    for text in ("0 years", "0.0 months"):
        with pytest.raises(ValueError, match="give a duration above 0"):
            Cycle(text)


def test_years_take_a_calendar_and_days_a_unit():
    with pytest.raises(ValueError, match="p: '1 year', but the data's times count from no date"):
        period_in(TimeUnits("day"), "1 year", "p")
    with pytest.raises(ValueError, match="p: durations, but the data's times are in units that"):
        period_in(TimeUnits(), "10 days", "p")


@pytest.mark.parametrize(
    "kind", [baselines.Climatology, baselines.DampedPersistence, baselines.LinearInverseModel]
)
def test_baselines_take_years(kind):
    days = np.arange(1200)
    wave = np.cos(2 * np.pi * days / 365.2425)[None, :, None] * np.arange(1.0, 4.0)
    noise = 0.1 * np.random.default_rng(0).normal(size=wave.shape)
    data = Trajectories(np.datetime64("2000-01-01") + days, wave + noise)
    t0, leads = data.times[0][700], 86400.0 * np.arange(3)
    by_text, by_number = (
        kind(period).fit(data).forecast(data.values[0][700], leads, t0).mean
        for period in ("1 year", 365.2425 * 86400)
    )
    np.testing.assert_array_equal(by_text, by_number)
