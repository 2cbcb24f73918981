"""Trajectories: shapes, checks, xarray there and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from pyro_msde.data.trajectories import Trajectories


def ragged(lengths=(3, 5, 2), field=(7,), dtype=np.float32):
    rng = np.random.default_rng(0)
    times = [np.cumsum(rng.uniform(0.1, 1.0, n)) for n in lengths]
    values = [rng.normal(size=(n, *field)).astype(dtype) for n in lengths]
    return times, values


def assert_same(a: Trajectories, b: Trajectories) -> None:
    assert len(a) == len(b)
    assert a.name == b.name
    for x, y in zip(a.times + a.values, b.times + b.values, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def test_ragged_list_keeps_dtype_and_lengths():
    times, values = ragged()
    data = Trajectories([t.astype(np.float32) for t in times], values)
    assert len(data) == 3
    assert data.num_observations == 10
    assert data.field_shape == (7,)
    assert [t.dtype for t in data.times] == [np.float64] * 3
    assert [v.shape for v in data.values] == [(3, 7), (5, 7), (2, 7)]
    assert all(v.dtype == np.float32 and v.flags.c_contiguous for v in data.values)
    assert data.common_times() is None


@pytest.mark.parametrize("convert", [np.asarray, torch.as_tensor])
@pytest.mark.parametrize("shared", [True, False])
def test_rectangular_array_equals_list(convert, shared):
    values = np.random.default_rng(1).normal(size=(2, 3, 5, 7))
    times = np.array([0.0, 0.5, 2.0])
    given = times if shared else np.stack([times, times])
    data = Trajectories(convert(given), convert(values))
    assert_same(data, Trajectories([times, times], list(values)))
    np.testing.assert_array_equal(data.common_times(), times)
    assert data.horizon == 2.0


def test_other_types_become_float():
    t = [0, 1, 2]
    assert Trajectories(t, np.arange(30).reshape(2, 3, 5)).values[0].dtype == np.float64
    half = torch.zeros(2, 3, 5, dtype=torch.bfloat16)
    assert Trajectories(t, half).values[0].dtype == np.float32
    with pytest.raises(ValueError, match=r"values: dtype complex128"):
        Trajectories(t, np.zeros((2, 3, 5), dtype=complex))


def test_fortran_order_is_stored_row_major():
    values = np.asfortranarray(np.random.default_rng(2).normal(size=(2, 3, 5, 7)))
    data = Trajectories(np.arange(3.0), values)
    assert all(v.flags.c_contiguous for v in data.values)
    np.testing.assert_array_equal(np.stack(data.values), values)


def test_common_times_within_rounding_and_horizon():
    t = 1e5 + np.arange(4) * 0.1
    _, values = ragged((4, 4))
    assert Trajectories([t, t + 1e-11], values).common_times() is not None
    assert Trajectories([t, t + 1e-6], values).common_times() is None
    assert Trajectories([t, 2 * t], values).horizon == pytest.approx(0.6)


def test_selection():
    times, values = ragged()
    data = Trajectories(times, values, covariates=[1.0, 2.0, 3.0], controls=[t**2 for t in times])
    for index, chosen in ((1, [1]), (-1, [2]), (slice(0, 2), [0, 1]), ([2, 0], [2, 0])):
        part = data[index]
        assert_same(part, Trajectories([times[k] for k in chosen], [values[k] for k in chosen]))
        np.testing.assert_array_equal(part.covariates[:, 0], [k + 1.0 for k in chosen])
        np.testing.assert_array_equal(part.controls[0][:, 0], times[chosen[0]] ** 2)
    assert np.shares_memory(data[1].values[0], data.values[1])
    assert [len(part) for part in data] == [1, 1, 1]
    with pytest.raises(IndexError):
        data[3]
    with pytest.raises(ValueError, match="selects no trajectory"):
        data[3:]


@pytest.mark.parametrize(
    "index",
    [
        np.array([False, False, True]),
        [False, False, True],
        torch.tensor([True, False, True]),
        [-1, 0],
        np.array([2, 2]),
        (slice(None, None, -1)),
        np.int64(1),
        torch.tensor([1]),
        np.uint8(2),
        slice(-2, None),
        [1],
    ],
)
def test_selection_means_what_numpy_means(index):
    times, values = ragged()
    data = Trajectories(times, values, covariates=[0, 1, 2])
    expected = np.atleast_1d(np.arange(3)[np.asarray(index) if torch.is_tensor(index) else index])
    found = data[index]
    assert found.covariates[:, 0].tolist() == expected.tolist()
    assert [len(t) for t in found.times] == [len(times[k]) for k in expected]


@pytest.mark.parametrize(
    "index",
    [
        [0.9],
        0.5,
        [True, False],
        "a",
        ["a"],
        np.zeros(4, bool),
        [3],
        -4,
        True,
        (0, 1),
        np.ma.array([True, False, True], mask=[False, True, False]),
        {},
    ],
)
def test_other_selections_are_refused(index):
    times, values = ragged()
    with pytest.raises(IndexError, match=r"^index: "):
        Trajectories(times, values)[index]


@pytest.mark.parametrize("index", [[], slice(3, None), np.zeros(3, bool), [[0, 1]], None])
def test_selections_of_no_row_are_refused(index):
    times, values = ragged()
    with pytest.raises(ValueError, match=r"^index: "):
        Trajectories(times, values)[index]


def test_trajectories_are_no_array():
    """numpy and torch would take them for a sequence of sequences without end."""
    times, values = ragged()
    with pytest.raises(TypeError, match="Trajectories are no array; their `values` are"):
        np.asarray(Trajectories(times, values))


def test_fields_mirror_the_channel_axis():
    t = np.arange(3.0)
    flat = Trajectories(t, np.zeros((2, 3, 5, 7)))
    assert not flat.has_channel_axis(1, (5, 7))
    assert [f.shape for f in flat.fields(1, (5, 7))] == [(3, 1, 5, 7)] * 2
    assert np.shares_memory(flat.fields(1, (5, 7))[0], flat.values[0])
    assert flat.has_channel_axis(5, (7,))
    assert [f.shape for f in flat.fields(5, (7,))] == [(3, 5, 7)] * 2
    for channels, shape in ((2, (5, 7)), (1, (7, 5)), (7, (5,))):
        with pytest.raises(ValueError, match=r"values: field of shape \(5, 7\)"):
            flat.fields(channels, shape)


def test_repr_is_one_short_line():
    times, values = ragged()
    text = repr(Trajectories(times, values, name="h", dims=["x"], covariates=[1, 2, 3]))
    for part in ("h: 3", "2-5 snapshots", "(7,) x", "float32", "covariates "):
        assert part in text
    assert len(text) < 120
    assert "\n" not in text


def broken(**changes):
    times, values = ragged()
    arguments = {"times": times, "values": values}
    for key, change in changes.items():
        arguments[key] = change(times, values)
    return arguments


def with_entry(arrays, k, index, number):
    out = [a.copy() for a in arrays]
    out[k][index] = number
    return out


def two_bad(values):
    return with_entry(with_entry(values, 1, (3, 2), np.nan), 1, (4, 0), np.inf)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (broken(values=lambda t, v: []), "values: no trajectories"),
        (broken(values=lambda t, v: v[0]), r"values: shape \(3, 7\).*Pass \[values\]"),
        (broken(values=lambda t, v: [v[0], v[1][:, 0], v[2]]), "values: trajectory 1 has shape"),
        (broken(values=lambda t, v: [v[0], v[1][:, :5], v[2]]), "values: the field of traj.* 1"),
        (broken(values=lambda t, v: [v[0], v[1][:0], v[2]]), "values: trajectory 1.*Drop empty"),
        (broken(values=lambda t, v: v[:2]), "times: given for 3 trajectories, values for 2"),
        (broken(times=lambda t, v: [t[0], t[1][1:], t[2]]), r"times: shape \(4,\) in trajectory 1"),
        (broken(times=lambda t, v: np.zeros((2, 3, 5))), r"times: shape \(2, 3, 5\)"),
        (
            broken(times=lambda t, v: with_entry(t, 1, 3, t[1][2])),
            "times: not strictly increasing in trajectory 1, index 3 .*1 such steps.*Sort",
        ),
        (
            broken(times=lambda t, v: with_entry(t, 2, 1, np.nan)),
            "times: NaN in trajectory 2, index 1, 1 in all",
        ),
        (
            broken(values=lambda t, v: two_bad(v)),
            r"values: NaN in trajectory 1, index 3 \(t=.*\), and in 2 of \d+ snapshots altogether",
        ),
        (
            broken(values=lambda t, v: with_entry(v, 0, (1, 6), -np.inf)),
            "values: infinity in trajectory 0, index 1",
        ),
        (broken(covariates=lambda t, v: np.zeros((2, 5))), r"covariates: shape \(2, 5\) for 3"),
        (
            broken(covariates=lambda t, v: [[1.0, 2.0], [3.0, np.nan], [5.0, 6.0]]),
            "covariates: NaN in trajectory 1, covariate 1",
        ),
        (broken(controls=lambda t, v: t[:2]), "controls: given for 2 trajectories"),
        (
            broken(controls=lambda t, v: [t[0], t[1][1:], t[2]]),
            r"controls: shape \(4,\) in trajectory 1 with 5 times",
        ),
        (
            broken(controls=lambda t, v: with_entry(t, 1, 2, np.nan)),
            "controls: NaN in trajectory 1, index 2",
        ),
        (broken(controls=lambda t, v: 1.0), "controls: given for 1 trajectories"),
        (broken(dims=lambda t, v: ["x", "y"]), r"dims: \('x', 'y'\) for a field of shape \(7,\)"),
        (broken(coords=lambda t, v: {"x": np.arange(7)}), "coords: 'x' is no axis"),
    ],
)
def test_errors_name_argument_place_and_mend(arguments, message):
    with pytest.raises(ValueError, match=message):
        Trajectories(**arguments)


def test_coords_must_fit_their_axis():
    times, values = ragged()
    with pytest.raises(ValueError, match=r"coords: 'x' has shape \(5,\) on an axis of length 7"):
        Trajectories(times, values, dims=["x"], coords={"x": np.arange(5)})


@pytest.mark.parametrize("kind", ["common times", "prefixes", "own times"])
def test_xarray_round_trip(kind):
    lengths = (3, 3) if kind == "common times" else (3, 5, 2)
    times, values = ragged(lengths, field=(2, 7))
    if kind != "own times":
        longest = max(times, key=len)
        times = [longest[: len(t)] for t in times]
    data = Trajectories(
        times,
        values,
        covariates=np.arange(2.0 * len(lengths)).reshape(-1, 2),
        controls=[np.stack([np.sin(t), t], axis=1) for t in times],
        name="h",
        dims=["channel", "x"],
        coords={"x": np.linspace(0, 1, 7), "channel": ["depth", "speed"]},
        units={"h": "m", "time": "s", "x": "km"},
    )
    ds = data.to_xarray()
    assert ds.h.attrs["units"] == "m"
    assert ("snapshot" in ds.dims) == (kind == "own times")
    back = Trajectories.from_xarray(
        ds, "h", covariates=["covariate_0", "covariate_1"], controls=["control_0", "control_1"]
    )
    assert_same(back, data)
    assert back.dims == data.dims
    assert back.units == data.units
    np.testing.assert_array_equal(back.covariates, data.covariates)
    for a, b in zip(back.controls, data.controls, strict=True):
        np.testing.assert_array_equal(a, b)
    for key in data.coords:
        np.testing.assert_array_equal(back.coords[key], data.coords[key])


def everything(own_times, dates):
    """Trajectories of different lengths with all that they can have."""
    rng = np.random.default_rng(5)
    longest = np.array([0.0, 0.5, 2.0, 2.5])
    times = [longest[:2] + 0.25 * own_times, longest, longest[:3] - own_times]
    if dates:
        first = np.datetime64("2500-03-01T06:30")
        times = [first + (86400 * t).astype("m8[s]") for t in times]
    return Trajectories(
        times,
        [rng.normal(size=(len(t), 2, 7, 5)) for t in times],
        covariates=rng.normal(size=(3, 2)),
        covariate_names=["re", "nu"],
        controls=[rng.normal(size=(len(t), 1)) for t in times],
        control_names=["wind"],
        name="h",
        dims=["part", "day", "x"],
        coords={
            "part": ["depth", "speed"],
            "day": np.datetime64("2000-01-01") + np.arange(7),
            "x": np.arange(5, dtype=np.int16),
        },
        units={"h": "m", "x": "km", "re": "1", "nu": "m2/s", "wind": "m/s"}
        | ({"time": "hours since 2500-02-28"} if dates else {"time": "s"}),
    )


@pytest.mark.parametrize("own_times", [False, True])
@pytest.mark.parametrize("dates", [False, True])
def test_xarray_keeps_everything(own_times, dates, tmp_path):
    data = everything(own_times, dates)
    data.to_xarray().to_netcdf(tmp_path / "all.nc", engine="h5netcdf")
    seconds = xr.coders.CFDatetimeCoder(time_unit="s")
    with xr.open_dataset(tmp_path / "all.nc", engine="h5netcdf", decode_times=False) as raw:
        for ds in (data.to_xarray(), raw, xr.decode_cf(raw, decode_times=seconds)):
            back = Trajectories.from_xarray(
                ds, "h", channel="part", covariates=["re", "nu"], controls=["wind"]
            )
            decoded = dates and ds.time.dtype.kind == "M"
            if decoded:  # whose units are those of the file no more
                back = back.in_time_units(data.time_units)
            for a, b in zip(back.times, data.times, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-15)
            for a, b in zip(back.values + back.controls, data.values + data.controls, strict=True):
                np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(back.covariates, data.covariates)
            units = {key: unit for key, unit in back.units.items() if key != "day"}
            assert (back.dims, units, back.name) == (data.dims, data.units, data.name)
            assert back.calendar == data.calendar
            assert (back.covariate_names, back.control_names) == (("re", "nu"), ("wind",))
            assert back.coords["part"].tolist() == ["depth", "speed"]
            assert back.coords["x"].dtype == np.int16
            np.testing.assert_array_equal(back.coords["x"], data.coords["x"])
    np.testing.assert_array_equal(
        Trajectories.from_xarray(data.to_xarray(), "h").coords["day"], data.coords["day"]
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({"name": "x"}, "dims: 'x' is what the field is called"),
        ({"name": "time"}, "name: 'time' is what an axis of time is called"),
        ({"name": "trajectory"}, "name: 'trajectory'"),
        ({"name": "snapshot"}, "name: 'snapshot'"),
        ({"name": "covariate_0", "covariates": [1, 2, 3]}, "names: 'covariate_0' is what"),
        ({"covariates": [1, 2, 3], "covariate_names": ["x"]}, "names: 'x' is what an axis of"),
        ({"covariates": [1, 2, 3], "covariate_names": ["a", "b"]}, "covariate_names: .* Pass 1"),
        ({"dims": ["snapshot"]}, "dims: 'snapshot'"),
        ({"name": None}, "name: got NoneType"),
        ({"name": ""}, "name: '' is no name"),
        ({"calendar": "maya", "units": {"time": "s since 2000"}}, "calendar: 'maya' is unknown"),
        ({"coords": {"x": [0, 1, 2, np.nan, 4, 5, 6]}}, "coords: 'x' is NaN at index 3"),
    ],
)
def test_names_that_xarray_cannot_tell_apart_are_refused(names, message):
    times, values = ragged()
    with pytest.raises(ValueError, match=message):
        Trajectories(times, values, **{"dims": ["x"], **names})


def packed(**attrs):
    """Tenths in int16 as netCDF4 gives them with `decode_cf=False`."""
    values = 10 * np.arange(2 * 5 * 3).reshape(2, 5, 3).astype(np.int16)
    ds = xr.Dataset({"u": (("trajectory", "time", "x"), values)}, coords={"time": np.arange(5.0)})
    ds["u"].attrs = attrs
    return ds


PLAIN = np.arange(30.0).reshape(2, 5, 3)


@pytest.mark.parametrize(
    ("attrs", "expected"),
    [
        ({"scale_factor": 0.1}, PLAIN),
        ({"scale_factor": 0.1, "add_offset": 4.0}, PLAIN + 4),
        ({"scale_factor": 0.1, "_FillValue": np.int16(-999)}, PLAIN),
        ({"valid_range": [0, 290]}, 10 * PLAIN),
        ({"scale_factor": 0.1, "valid_range": [0, 290]}, PLAIN),
    ],
)
def test_packed_variables_are_unpacked(attrs, expected):
    found = Trajectories.from_xarray(packed(**attrs), "u")
    np.testing.assert_allclose(np.stack(found.values), expected, rtol=1e-12)


@pytest.mark.parametrize(
    "attrs",
    [
        {"_FillValue": np.int16(40)},
        {"missing_value": np.int16(40), "scale_factor": 0.1},
        {"valid_min": 50},
        {"scale_factor": -0.1, "valid_range": [41, 300]},
    ],
)
def test_missing_values_are_refused_by_name(attrs):
    ds = packed(**attrs)
    with pytest.raises(ValueError, match=r"values: NaN in trajectory 0, index \d .*\(Masked"):
        Trajectories.from_xarray(ds, "u")
    assert ds["u"].dtype == np.int16  # unchanged
    assert dict(ds["u"].attrs) == attrs


def test_variables_that_are_not_read_may_be_anything():
    ds = packed().assign(v=("x", ["a", "b", "c"], {"_FillValue": 3.5, "valid_min": "low"}))
    assert len(Trajectories.from_xarray(ds, "u")) == 2
    with pytest.raises(ValueError, match=r"covariates: no variable 'w'\. The data hold u, v"):
        Trajectories.from_xarray(ds, "u", covariates=["w"])


def test_fill_values_after_the_end_are_dropped():
    ds = packed(_FillValue=np.int16(-1))
    ds["u"][0, 3:] = -1
    assert [len(t) for t in Trajectories.from_xarray(ds, "u").times] == [3, 5]
    again = ds.assign_coords(time=("time", [0.0, 1.0, 2.0, 1e20, 1e20], {"_FillValue": 1e20}))
    assert [len(t) for t in Trajectories.from_xarray(again, "u").times] == [3, 3]


def test_what_is_no_data_is_refused():
    for ds in (None, 3, np.ones((2, 3, 4))):
        with pytest.raises(ValueError, match=r"ds: got .* Pass an xarray Dataset or DataArray"):
            Trajectories.from_xarray(ds, "u")
    with pytest.raises(ValueError, match=r"covariates='re': give a list"):
        Trajectories.from_xarray(packed(), "u", covariates="re")


def test_round_trip_through_a_file(tmp_path):
    times, values = ragged()
    data = Trajectories(times, values, dims=["x"], units={"time": "s"})
    data.to_xarray().to_netcdf(tmp_path / "u.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "u.nc", engine="h5netcdf") as ds:
        assert_same(Trajectories.from_xarray(ds, "u"), data)


def test_from_xarray_sorts_dimensions_and_renames():
    raw = np.random.default_rng(3).normal(size=(7, 2, 5, 3))
    array = xr.DataArray(
        raw, dims=("x", "species", "run", "t"), coords={"t": [0.0, 1.0, 4.0]}, name="u"
    )
    data = Trajectories.from_xarray(array, "c", trajectory="run", time="t", channel="species")
    assert data.name == "c"
    assert data.dims == ("species", "x")
    np.testing.assert_array_equal(np.stack(data.values), raw.transpose(2, 3, 1, 0))
    data = Trajectories.from_xarray(array, trajectory="run", time="t", channel="species")
    assert data.name == "u"
    with pytest.raises(ValueError, match="name: missing, and the DataArray has none"):
        Trajectories.from_xarray(array.rename(None), time="t")


def test_from_xarray_without_trajectories_is_one():
    ds = xr.Dataset(
        {"u": (("time", "x"), np.ones((3, 7))), "wind": ("time", [1.0, 2.0, 3.0])},
        coords={"time": [0.0, 1.0, 2.0], "re": 160.0},
    )
    data = Trajectories.from_xarray(ds, "u", covariates=["re"], controls=["wind"])
    assert len(data) == 1
    assert data.covariates.tolist() == [[160.0]]
    assert data.controls[0].tolist() == [[1.0], [2.0], [3.0]]


def test_only_empty_snapshots_at_the_end_are_dropped():
    values = np.ones((2, 5, 7))
    values[0, 3:] = np.nan
    times = np.tile(np.arange(5.0), (2, 1))
    times[1, 4] = np.nan
    ds = xr.Dataset(
        {"u": (("trajectory", "i", "x"), values)}, coords={"time": (("trajectory", "i"), times)}
    )
    assert [len(t) for t in Trajectories.from_xarray(ds, "u").times] == [3, 4]
    values[1, 1] = np.nan
    with pytest.raises(ValueError, match=r"values: NaN in trajectory 1, index 1 \(t=1\)"):
        Trajectories.from_xarray(ds, "u")
    values[1] = np.nan
    with pytest.raises(ValueError, match="values: trajectory 1 holds only NaN"):
        Trajectories.from_xarray(ds, "u")


def test_calendar_times_become_seconds():
    start = np.datetime64("2020-02-28T12:00", "ns")
    times = start + np.array([0, 1, 3]) * np.timedelta64(12, "h")
    array = xr.DataArray(np.ones((3, 7)), dims=("time", "x"), coords={"time": times})
    data = Trajectories.from_xarray(array, "u")
    assert data.times[0].tolist() == [0.0, 43200.0, 129600.0]
    assert data.units["time"].startswith("seconds since 2020-02-28 12:00:00")
    np.testing.assert_array_equal(xr.decode_cf(data.to_xarray()).time.values, times)
    late = array.assign_coords(time=[times[0], times[1], np.datetime64("NaT", "ns")])
    assert len(Trajectories.from_xarray(late, "u").times[0]) == 2


def test_from_xarray_names_what_is_missing():
    ds = xr.Dataset({"u": (("time", "x"), np.ones((3, 7))), "p": ("x", np.ones(7))})
    with pytest.raises(ValueError, match=r"time: no times 'time'.*one of time, x, or assign"):
        Trajectories.from_xarray(ds, "u")
    members = xr.DataArray(np.ones((2, 3, 7)), dims=("Member", "time", "x"))
    members = members.assign_coords(time=[0.0, 1.0, 2.0])
    with pytest.warns(UserWarning, match=r"dimension 'Member' .* pass trajectory='Member'"):
        assert Trajectories.from_xarray(members, "u").field_shape == (2, 7)
    assert len(Trajectories.from_xarray(members, "u", trajectory="Member")) == 2
    ds = ds.assign_coords(time=[0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match=r"name: no variable .v.\. The data hold u, p"):
        Trajectories.from_xarray(ds, "v")
    with pytest.raises(ValueError, match=r"name: missing\. Pass one, or several, of u, p"):
        Trajectories.from_xarray(ds)
    with pytest.raises(ValueError, match="covariates: 'p' has dimensions"):
        Trajectories.from_xarray(ds, "u", covariates=["p"])
    with pytest.raises(ValueError, match="time: 'u' has dimensions"):
        Trajectories.from_xarray(ds.assign_coords(s=("k", [0.0, 1.0])), "u", time="s")


def test_thinned_takes_every_stride_th_snapshot_without_a_copy():
    times = [np.arange(7.0), np.arange(4.0)]
    values = [np.arange(7 * 3.0).reshape(7, 3), np.arange(4 * 3.0).reshape(4, 3)]
    data = Trajectories(times, values, controls=[np.arange(7.0), np.arange(4.0)], covariates=[1, 2])
    thin = data.thinned(3)
    assert [t.tolist() for t in thin.times] == [[0, 3, 6], [0, 3]]
    assert [c.ravel().tolist() for c in thin.controls] == [[0, 3, 6], [0, 3]]
    assert np.shares_memory(thin.values[0], data.values[0])
    np.testing.assert_array_equal(thin.values[1], values[1][::3])
    np.testing.assert_array_equal(thin.covariates, data.covariates)
    for stride in (0, 0.5, True, "a", None):
        with pytest.raises(ValueError, match="stride="):
            data.thinned(stride)
    with pytest.warns(FutureWarning, match="every is called thinned"):
        assert len(data.every(3).times[0]) == 3


def test_snapshots_takes_those_of_each_trajectory():
    times, values = [np.arange(7.0), np.arange(4.0)], [np.eye(7, 3), np.eye(4, 3)]
    some = Trajectories(times, values, controls=times).snapshots([[0, 2, 6], slice(1, 3)])
    assert [t.tolist() for t in some.times] == [[0, 2, 6], [1, 2]]
    assert [c.ravel().tolist() for c in some.controls] == [[0, 2, 6], [1, 2]]
    np.testing.assert_array_equal(some.values[0], values[0][[0, 2, 6]])
    with pytest.raises(ValueError, match="chosen: 1 choices for 2 trajectories"):
        some.snapshots([slice(1)])


def test_until_takes_the_snapshots_up_to_a_time_without_a_copy():
    times = [0.1 * np.arange(8), 0.1 * np.arange(4)]
    values = [np.arange(8 * 3.0).reshape(8, 3), np.arange(4 * 3.0).reshape(4, 3)]
    data = Trajectories(times, values, covariates=[1, 2])
    cut = data.until(0.3)  # 0.1 · 3 is a little more
    assert [len(t) for t in cut.times] == [4, 4]
    assert np.shares_memory(cut.values[0], data.values[0])
    np.testing.assert_array_equal(cut.values[0], values[0][:4])
    np.testing.assert_array_equal(cut.covariates, data.covariates)
    with pytest.raises(ValueError, match="time: -1 is before trajectory 0 begins"):
        data.until(-1.0)
    assert data.until(np.inf).num_observations == 12
    for time in (np.nan, "a", None, [0.1, 0.2], np.datetime64("2000"), 1j):
        with pytest.raises(ValueError, match=r"^time: "):
            data.until(time)
