"""Instants and durations in the data's own units, by the calendar's arithmetic."""

from __future__ import annotations

import datetime
import re
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from problems import NUM_POINTS, tiny_pair

from pyro_msde import Fit, Trajectories
from pyro_msde.data import duration_units
from pyro_msde.data.instants import TimeUnits
from pyro_msde.data.metadata import Metadata
from pyro_msde.data.units import Scaling
from pyro_msde.forecasts.times import checked_times

cftime = pytest.importorskip("cftime")
UTC = datetime.timezone.utc


def data(times, **options):
    return Trajectories(times, np.ones((1, len(times), 3)), **options)


@pytest.mark.parametrize(
    "times",
    [
        np.array(["2020-02-28T12", "2020-03-01T12"], "M8[h]"),
        np.array(["2020-02-28T12", "2020-03-01T12"], "M8[ns]").astype(">M8[ns]"),
        [datetime.datetime(2020, 2, 28, 12), datetime.datetime(2020, 3, 1, 12)],
        pd.DatetimeIndex(["2020-02-28 12:00", "2020-03-01 12:00"]),
        pd.DatetimeIndex(["2020-02-28 14:00", "2020-03-01 14:00"], tz="Africa/Cairo"),
        pd.Series(pd.to_datetime(["2020-02-28 12:00", "2020-03-01 12:00"])),
        [pd.Timestamp("2020-02-28 12:00"), pd.Timestamp("2020-03-01 12:00")],
        [
            datetime.datetime(2020, 2, 28, 12, tzinfo=UTC),
            datetime.datetime(
                2020, 3, 1, 13, tzinfo=datetime.timezone(datetime.timedelta(hours=1))
            ),
        ],
        xr.DataArray(np.array(["2020-02-28T12", "2020-03-01T12"], "M8[s]"), dims="time"),
        [cftime.DatetimeGregorian(2020, 2, 28, 12), cftime.DatetimeGregorian(2020, 3, 1, 12)],
        xr.DataArray([18320.5, 18322.5], attrs={"units": "days since 1970-01-01"}),
    ],
)
def test_dates_of_every_kind_are_the_same_instants(times):
    units = TimeUnits("hours since 2020-02-28", "proleptic_gregorian")
    assert units.numbers(times, "times").tolist() == [12.0, 60.0]


@pytest.mark.parametrize(
    ("first", "last"),
    [("1000-03-01", "3000-03-01"), ("-0044-03-15", "12000-01-01T00:00:00.25"), ("2262", "2263")],
)
def test_dates_beyond_nanoseconds(first, last):
    found = data(np.array([first, last], "M8[ms]"))
    a, b = (np.datetime64(x, "ms").astype(int) for x in (first, last))
    assert found.times[0].tolist() == [0.0, (b - a) / 1000]
    assert found.calendar == "proleptic_gregorian"
    ds = found.to_xarray()
    coder = xr.coders.CFDatetimeCoder(time_unit="ms")
    if not first.startswith("-") and not last.startswith("1"):  # which xarray cannot write
        back = xr.decode_cf(ds, decode_times=coder).time.values
        np.testing.assert_array_equal(back, np.array([first, last], "M8[ms]"))


def test_parts_of_a_second_before_1970():
    found = data(np.array(["1969-12-31T23:59:59.250000001", "1970-01-01"], "M8[ns]"))
    assert found.units["time"] == "seconds since 1969-12-31 23:59:59"
    np.testing.assert_allclose(found.times[0], [0.250000001, 1.0], rtol=1e-15)


@pytest.mark.parametrize(
    ("kind", "day", "days"),
    [
        ("DatetimeNoLeap", 28, 1),
        ("Datetime360Day", 30, 1),
        ("DatetimeAllLeap", 29, 1),
        ("DatetimeJulian", 28, 2),
        ("DatetimeProlepticGregorian", 28, 2),
    ],
)
def test_calendars_have_their_own_arithmetic(kind, day, days):
    """From February's `day` to 1 March of 2000, which is a leap year in the last two."""
    make = getattr(cftime, kind)
    found = data([make(2000, 2, day), make(2000, 3, 1), make(2000, 3, 2)])
    assert found.times[0].tolist() == [0.0, 86400.0 * days, 86400.0 * (days + 1)]
    assert found.calendar == make(2000, 1, 1).calendar
    assert len(found.until(make(2000, 3, 1)).times[0]) == 2
    back = xr.decode_cf(found.to_xarray(), decode_times=xr.coders.CFDatetimeCoder(use_cftime=True))
    again = Trajectories.from_xarray(back, "u")
    assert (again.units["time"], again.calendar) == (found.units["time"], found.calendar)
    np.testing.assert_array_equal(again.times[0], found.times[0])


def test_the_standard_calendar_is_julian_before_1582():
    """4 October 1582 was followed by the 15th."""
    dates = [cftime.DatetimeGregorian(1582, 10, 4), cftime.DatetimeGregorian(1582, 10, 15)]
    assert data(dates).times[0].tolist() == [0.0, 86400.0]
    units = TimeUnits("days since 1582-10-01")
    with pytest.raises(ValueError, match="of the calendar proleptic_gregorian"):
        units.numbers(np.datetime64("1582-10-04"), "t")
    # days since year 1, which many files have, are Julian: 2 more than numpy counts
    old = TimeUnits("days since 0001-01-01")
    assert old.numbers(dates[1:], "t") == cftime.date2num(dates[1], "days since 0001-01-01")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("days since 2000-1-1", 1.0),
        ("Days since 2000-01-01T00:00:00Z", 1.0),
        ("hours since 2000-01-01 06:00:00", 18.0),
        ("d since 2000-01-01 00:00 +01:00", 1 + 1 / 24),
        ("minutes since 2000-01-01 00:00:30.5", 1440 - 30.5 / 60),
        ("msecs since 2000", 86400e3),
    ],
)
def test_units_as_files_write_them(text, expected):
    found = TimeUnits(text).numbers(np.datetime64("2000-01-02"), "t")
    assert float(found) == pytest.approx(expected, rel=1e-15)


def test_units_are_converted():
    days, hours = TimeUnits("days since 2000-03-01"), TimeUnits("hours since 2000-02-28")
    assert hours.converted(np.array([0.0, 1.0]), days, "t").tolist() == [48.0, 72.0]
    noleap = [TimeUnits(f"days since {y}-01-01", "365_day") for y in (2000, 2001)]
    assert noleap[0].converted(np.array([1.0]), noleap[1], "t").tolist() == [366.0]
    assert TimeUnits("s").converted(np.array([2.0]), TimeUnits("hour"), "t").tolist() == [7200.0]
    for other in (TimeUnits("s"), noleap[0]):
        with pytest.raises(ValueError, match="t: "):
            hours.converted(np.array([0.0]), other, "t")


@pytest.mark.parametrize(
    ("units", "times", "message"),
    [
        (TimeUnits("s"), np.datetime64("2000"), "dates, but .* plain numbers in s"),
        (TimeUnits(), [datetime.date(2000, 1, 1)], "dates, but the data's times are plain numbers"),
        (TimeUnits(), np.timedelta64(1, "s"), "durations, but .* units that are not known"),
        (TimeUnits("days since 2000"), datetime.timedelta(1), "Add them to a date"),
        (TimeUnits("s"), np.timedelta64(1, "M"), "months and years have no fixed length"),
        (TimeUnits("months since 2000"), np.datetime64("2001"), "months have no fixed length"),
        (TimeUnits("days since 2000", "noleap"), np.datetime64("2001"), "name no date"),
        (TimeUnits("days since a"), np.datetime64("2001"), "name no date"),
        (TimeUnits("days since 2000"), "a", "'a' is text"),
        (TimeUnits("days since 2000"), None, "got None"),
        (TimeUnits("days since 2000"), 1j, "is not real"),
        (TimeUnits("s since 2000-01-01", "noleap"), np.datetime64("2001"), "proleptic_gregorian"),
        (TimeUnits("days since 2000"), cftime.DatetimeNoLeap(2001, 1, 1), "the calendar noleap"),
        (
            TimeUnits("s since 2000"),
            [datetime.datetime(2000, 1, 1), datetime.datetime(2000, 1, 1, tzinfo=UTC)],
            "a time zone",
        ),
        (TimeUnits("s since 2000"), [datetime.datetime(2000, 1, 1), 3.0], "not every entry is"),
    ],
)
def test_what_cannot_be_converted_is_refused(units, times, message):
    with pytest.raises(ValueError, match=f"^t: .*{message}"):
        units.numbers(times, "t")


def test_durations_have_the_datas_unit():
    hours = [np.timedelta64(90, "m"), datetime.timedelta(hours=3)]
    assert TimeUnits("hours").numbers(hours, "t").tolist() == [1.5, 3.0]
    found = data(pd.to_timedelta([0, 2], unit="h"))
    assert (found.times[0].tolist(), found.units["time"]) == ([0.0, 7200.0], "s")


def test_without_cftime_other_calendars_are_refused_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "cftime", None)
    days = TimeUnits("days since 2000-01-01")
    assert float(days.numbers(np.datetime64("2000-01-02"), "t")) == 1.0
    with pytest.raises(ValueError, match=r"take cftime. Run `pip install cftime`"):
        TimeUnits("days since 2000-01-01", "noleap").numbers(np.datetime64("2001"), "t")


def test_durations_are_not_since():
    pairs = {
        "seconds since 2000-01-01": "s",
        "Days since 2000-01-01": "day",
        "1": "1",
        "s": "s",
        "hours since 1-1-1": "h",
        "years since 2000": "years",
    }
    assert {text: duration_units(text) for text in pairs} == pairs
    assert duration_units(None) is None


CALENDARS = ["standard", "proleptic_gregorian", "julian", "noleap", "all_leap", "360_day"]


@pytest.mark.parametrize("calendar", CALENDARS)
@pytest.mark.parametrize(
    "units",
    [
        "days since 1-1-1 00:00:0.0",
        "hours since 1850-01-01",
        "seconds since 2300-02-28 12:00",
        "min since 2000-03-01 06:30:15.5",
    ],
)
def test_dates_are_cftimes(calendar, units):
    """Numbers of years 850 to 3200 as dates and back, by cftime's arithmetic."""
    clock = TimeUnits(units, calendar)
    years = [850, 1500, 1600, 1700, 2000, 2261, 2263, 3200]
    for year in years:
        made = [
            cftime.datetime(year, month, day, hour, calendar=calendar)
            for month, day, hour in ((1, 1, 0), (2, 28, 18), (3, 1, 5), (12, 30, 23))
        ]
        numbers = cftime.date2num(made, units, calendar=calendar).astype(float)
        np.testing.assert_allclose(clock.numbers(made, "t"), numbers, rtol=1e-14)
        found = clock.dates(numbers)
        text = [f"{d.year:04d}-{d.month:02d}-{d.day:02d} {d.hour:02d}:00:00" for d in made]
        if found.dtype.kind == "M":
            assert calendar in ("standard", "proleptic_gregorian")
            assert np.array_equal(found, [np.datetime64(t.replace(" ", "T")) for t in text])
        else:
            assert list(found) == made
            assert {d.calendar for d in found} == {made[0].calendar}
        np.testing.assert_allclose(clock.numbers(found, "t"), numbers, rtol=1e-14)
        np.testing.assert_allclose(clock.numbers(text, "t"), numbers, rtol=1e-14)
    assert clock.dates(np.zeros((2, 3))).shape == (2, 3)


def test_dates_have_no_rounding_to_show():
    """Hours that are thirds of tenths of days, 700 000 days from zero."""
    hours = np.arange(0, 48)
    clock = TimeUnits("days since 0001-01-01", "proleptic_gregorian")
    numbers = 730_000 + hours / 24
    first = np.datetime64("0001-01-01T00") + np.timedelta64(730_000 * 24, "h")
    np.testing.assert_array_equal(clock.dates(numbers), first + hours)


def test_numbers_that_are_no_dates():
    for units in (TimeUnits(), TimeUnits("s"), TimeUnits("months since 2000-01-01")):
        assert units.dates(np.arange(3.0)) is None


def test_files_that_count_from_the_year_1_take_numpys_dates():
    """cftime's count from 1 January of the year 1, a Julian date, to the first of 2000."""
    for units in ("hours since 1-1-1 00:00:0.0", "days since 0001-01-01"):
        clock = TimeUnits(units, "standard")
        expected = cftime.date2num(cftime.DatetimeGregorian(2000, 1, 1), units, "standard")
        assert float(clock.numbers(np.datetime64("2000-01-01"), "t")) == expected
        other = TimeUnits("days since 2000-01-01", "proleptic_gregorian")
        assert other.converted(np.array([float(expected)]), clock, "t") == 0.0
        assert clock.converted(np.zeros(1), other, "t") == expected
    with pytest.raises(ValueError, match="of the calendar standard"):
        other.converted(np.array([100.0]), clock, "t")


@pytest.mark.parametrize("text", ["2000-02-30", "2000-02-29 12:30", "1500-03-01T06:00:00"])
def test_texts_are_dates_of_the_datas_calendar(text):
    made = cftime.num2date(0, f"seconds since {text}", calendar="360_day")
    clock = TimeUnits("days since 1850-01-01", "360_day")
    assert clock.numbers(text, "t") == cftime.date2num(made, clock.text, "360_day")


@pytest.mark.parametrize("text", ["2000-02-30", "2000-13-01"])
def test_texts_of_no_date_are_refused(text):
    with pytest.raises(ValueError, match=f"^t: '{text}' is no date of the calendar noleap"):
        TimeUnits("days since 1850-01-01", "noleap").numbers(text, "t")


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
def test_a_year_or_month_is_its_first_instant(calendar):
    clock = TimeUnits("hours since 1850-01-01", calendar)
    for text, date in (("2000", "2000-01-01"), ("2000-02", "2000-02-01"), ("1990-7", "1990-07-01")):
        assert clock.numbers(text, "t") == clock.numbers(date, "t")
    assert clock.numbers(["2000", "2000-01-02"], "t").tolist() == [
        clock.numbers("2000-01-01", "t"),
        clock.numbers("2000-01-01", "t") + 24,
    ]


@pytest.mark.parametrize(
    "text",
    ["tomorrow", "1.5", "20000131", "200001", "2000/01/31", "Jan 2000", "12:00", "2000-", ""],
)
def test_texts_that_are_no_dates_are_refused_with_an_example(text):
    message = rf"^t: {re.escape(repr(text))} is text that is no date\. .*'2000-01-31'"
    for units in (TimeUnits("days since 1850-01-01"), TimeUnits("s")):
        with pytest.raises(ValueError, match=message):
            units.numbers(text, "t")
    with pytest.raises(ValueError, match=message.replace("t:", "times:")):
        data([text, "2000-01-31", "2000-02-01"])


def test_times_may_be_texts():
    dates = pd.date_range("2000-02-27", periods=4)
    texts = [str(date)[:10] for date in dates]
    whole = data(dates)
    for given in (
        texts,
        tuple(texts),
        np.array(texts),
        np.array(texts, dtype=object),
        np.array(texts, dtype="S"),
        pd.Index(texts),
        pd.Series(texts, dtype="string"),
        [f"{text}T00:00:00Z" for text in texts],
    ):
        found = data(given)
        assert (found.times[0].tolist(), found.units) == (whole.times[0].tolist(), whole.units)
    assert Trajectories([texts, texts[1:]], [np.ones((n, 3)) for n in (4, 3)]).times[1][0] == 86400
    years = data(["1999", "2000", "2001-07"])
    assert np.diff(years.times[0]).tolist() == [365 * 86400, (366 + 181) * 86400]
    units = {"time": "days since 2000-01-01"}
    some = Trajectories(
        ["2000-02-28", "2000-02-30", "2000-03"], np.ones((1, 3, 3)), units=units, calendar="360_day"
    )
    assert some.times[0].tolist() == [57, 59, 60]
    for kind in (np.str_, object):
        ds = xr.Dataset(
            {"u": (("time", "x"), np.ones((4, 3)))}, {"time": np.array(texts).astype(kind)}
        )
        assert Trajectories.from_xarray(ds, "u").times[0].tolist() == whole.times[0].tolist()


@pytest.mark.parametrize("unit", ["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns"])
def test_dates_of_every_unit_come_back(unit):
    dates = np.datetime64("1999-12-30", unit) + np.arange(4)
    found = data(dates)
    expected = (dates - dates[0].astype(dates.dtype)).astype(f"m8[{unit}]")
    if unit not in ("Y", "M"):
        seconds = expected / np.timedelta64(1, "s")
        np.testing.assert_allclose(np.diff(found.times[0]), np.diff(seconds), rtol=1e-6)
    if unit != "ns":
        np.testing.assert_array_equal(found.to_xarray().time.values, dates)


@pytest.mark.parametrize("calendar", CALENDARS)
@pytest.mark.parametrize("year", [1200, 1999, 2400])
def test_decoded_and_undecoded_files_are_the_same(calendar, year, tmp_path):
    units = f"days since {year}-01-01"
    times = xr.Variable("time", 58.0 + np.arange(5.0), {"units": units, "calendar": calendar})
    raw = xr.Dataset({"u": (("time", "x"), np.ones((5, 3)))}, {"time": times})
    raw.to_netcdf(tmp_path / "u.nc", engine="h5netcdf")
    cf = xr.coders.CFDatetimeCoder(time_unit="us")
    if calendar in ("standard", "proleptic_gregorian") and year == 1200:
        cf = xr.coders.CFDatetimeCoder(use_cftime=True)
    plain = Trajectories.from_xarray(raw, "u")
    with xr.open_dataset(tmp_path / "u.nc", engine="h5netcdf", decode_times=cf) as ds:
        assert ds.time.dtype.kind in "MO"
        found = Trajectories.from_xarray(ds, "u")
    assert (found.units, found.calendar) == (plain.units, plain.calendar)
    np.testing.assert_array_equal(found.times[0], plain.times[0])
    made = cftime.num2date(60.0, units, calendar=calendar)
    for time in (made, f"{made.year}-{made.month:02d}-{made.day:02d}"):
        assert len(found.until(time).times[0]) == 3
        assert len(found.after(time).times[0]) == 2
    back = Trajectories.from_xarray(found.to_xarray(), "u")
    assert (back.units, back.calendar) == (plain.units, plain.calendar)
    np.testing.assert_array_equal(back.times[0], plain.times[0])


def test_ragged_dates_of_cftimes_calendars_stay_numbers():
    make = cftime.DatetimeNoLeap
    times = [[make(2000, 2, 28), make(2000, 3, 1)], [make(2001, 1, 1)]]
    found = Trajectories(times, [np.ones((2, 3)), np.ones((1, 3))])
    ds = found.to_xarray()
    assert ds.time.attrs["calendar"] == "noleap"
    back = Trajectories.from_xarray(ds, "u")
    assert [t.tolist() for t in back.times] == [t.tolist() for t in found.times]


# where times enter


def dated_fit() -> Fit:
    own = Trajectories(np.array(["2000-01-01", "2000-01-03"], "M8[D]"), np.ones((1, 2, NUM_POINTS)))
    return Fit(*tiny_pair(0), Scaling((1.0,), 86400.0), metadata=Metadata.of(own))


def test_forecasts_take_dates():
    fit, y = dated_fit(), np.sin(np.arange(NUM_POINTS))
    dates = np.array(["2000-01-02T00", "2000-01-02T12", "2000-01-03T00"], "M8[h]")
    options = {"num_samples": 2, "max_step": 43200.0}
    by_dates = fit.predict(y, dates, t0=datetime.date(2000, 1, 1), **options)
    assert by_dates.times.tolist() == [86400.0, 129600.0, 172800.0]
    by_numbers = fit.predict(y, by_dates.times, t0=0.0, **options)
    assert torch.equal(by_dates.paths, by_numbers.paths)
    plain = Fit(*tiny_pair(0), Scaling((1.0,), 86400.0))
    with pytest.raises(ValueError, match="times: dates, but the data's times are plain numbers"):
        plain.predict(y, dates, **options)
    with pytest.raises(ValueError, match="t0: dates, but"):
        plain.predict(y, [1.0], t0=dates[0], **options)


@pytest.mark.parametrize(
    ("times", "t0", "start"),
    [
        ([0.3, 0.4], 0.1 + 0.2, 0.3),
        ([0.1 + 0.2, 0.4], 0.3, 0.1 + 0.2),
        ([0.3], 0.1 + 0.2, 0.3),
        ([1e6 + 0.3, 1e6 + 0.4], 1e6 + 0.1 + 0.2, 1e6 + 0.3),
        ([0.3, 0.4], 0.2, 0.2),
        ([0.3, 0.4], None, 0.3),
        ([1e-12], 0.0, 0.0),  # a small time is no rounding of zero
    ],
)
def test_t0_equal_but_for_rounding(times, t0, start):
    assert checked_times(times, t0, TimeUnits())[1] == start


@pytest.mark.parametrize(
    ("times", "t0", "message"),
    [
        ([0.3], 0.31, "before t0=0.31"),
        ([0.3], np.nan, "t0=nan"),
        ([0.3], [0.1, 0.2], "t0="),
        ([], None, "row of finite"),
        ([np.nan], None, "row of finite"),
        ([[0.1]], None, "row of"),
        ("a", None, "'a' is text"),
        (np.ma.masked_equal([1.0, 2.0], 2.0), None, "row of finite"),
    ],
)
def test_times_without_sense_are_refused(times, t0, message):
    with pytest.raises(ValueError, match=message):
        checked_times(times, t0, TimeUnits())


@pytest.mark.parametrize("unit", ["D", "h", "s", "ms", "us", "ns"])
def test_dates_of_any_resolution_count_in_the_standard_calendar(unit):
    dates = np.array(["2001-01-02", "2001-01-04"], f"M8[{unit}]")
    days = TimeUnits("days since 2001-01-01", "standard").numbers(dates, "times")
    assert days.tolist() == [1.0, 3.0]
