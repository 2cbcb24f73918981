"""Hour and season as controls: the same phases however the times are counted."""

from __future__ import annotations

import cftime
import numpy as np
import pytest
import xarray as xr

from pyro_msde import Trajectories
from pyro_msde.data import calendar_phases

HOURS = np.datetime64("2003-01-01", "ns") + np.arange(30) * np.timedelta64(7, "h")


def test_phases_of_the_day_are_those_of_the_hour():
    phases = calendar_phases(HOURS, "1D", "12 hours", np.timedelta64(6, "h"))
    hour = (np.arange(30) * 7) % 24
    for k, period in enumerate((24, 12, 6)):
        angle = 2 * np.pi * hour / period
        np.testing.assert_allclose(phases[:, 2 * k], np.cos(angle), atol=1e-9)
        np.testing.assert_allclose(phases[:, 2 * k + 1], np.sin(angle), atol=1e-9)


def test_phases_do_not_depend_on_how_times_are_counted():
    expected = calendar_phases(HOURS, "1D", "1Y")
    for text in ("days since 1999-12-31", "hours since 2003-05-01 12:00"):
        data = Trajectories(HOURS, np.ones((1, 30, 4)), units={"time": text})
        found = calendar_phases(data.times[0], "1D", "1Y", units=text, calendar=data.calendar)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    known = xr.DataArray(data.times[0], attrs={"units": text})
    np.testing.assert_allclose(calendar_phases(known, "1D", "1 year"), expected, atol=1e-6)
    # a part of a record has the phases that the whole has there
    np.testing.assert_allclose(calendar_phases(HOURS[9:], "1Y"), expected[9:, 2:], atol=1e-9)


def test_years_are_those_of_the_calendar():
    dates = [cftime.datetime(y, 7, 1, calendar="360_day") for y in (1970, 1999, 2400)]
    phases = calendar_phases(dates, "1Y")
    np.testing.assert_allclose(phases, [[-1, 0]] * 3, atol=1e-6)  # half of 360 days


def test_plain_numbers_count_from_zero():
    times = np.array([0.0, 0.5, 1.0, 1.25])
    np.testing.assert_allclose(
        calendar_phases(times, 2.0),
        [[1, 0], [0, 1], [-1, 0], [-(0.5**0.5), -(0.5**0.5)]],
        atol=1e-9,
    )


@pytest.mark.parametrize(
    ("times", "periods", "message"),
    [
        (HOURS, (), "periods: none"),
        (HOURS[None], ("1D",), "times: shape"),
        (np.arange(3.0), ("1Y",), r"periods\[0\]: '1Y', but the data's times count from no date"),
        (HOURS, (1.0, "soon"), r"periods\[1\]='soon': no duration"),
        (HOURS, (-1.0,), r"periods\[0\]"),
    ],
)
def test_periods_without_sense_are_refused(times, periods, message):
    with pytest.raises(ValueError, match=message):
        calendar_phases(times, *periods)
