"""Data that are brought to a fit: compared with those that it was trained on."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
import xarray as xr
from problems import NUM_POINTS, tiny_data, tiny_fields, tiny_pair

import pyro_msde
from pyro_msde import Fit, Grid, Trajectories
from pyro_msde.data.metadata import Metadata, matched
from pyro_msde.data.units import Scaling
from pyro_msde.grid import BOUNDARIES, check_on_grid
from pyro_msde.plot import coverage_by_lead, forecast_snapshots
from pyro_msde.scores.innovation_test import innovations

pytestmark = pytest.mark.usefixtures("long_steps")

X = np.arange(NUM_POINTS) / NUM_POINTS
DATES = np.datetime64("2000-01-01") + np.arange(4) * np.timedelta64(1, "D")


def heights(x=X, dims=("x",), units=None, times=DATES, **options):
    values = np.random.default_rng(0).normal(size=(2, 4, NUM_POINTS))
    units = {"h": "K", "x": "km"} if units is None else units
    return Trajectories(
        times, values, name="h", dims=dims, coords={dims[0]: x}, units=units, **options
    )


def square(dims=("x", "y"), **coords):
    return Trajectories([0.0, 1.0], np.ones((1, 2, 5, 5)), dims=dims, coords=coords)


def driven(name):
    """Fields under one control, which may have a name."""
    names = None if name is None else [name]
    return heights(controls=[np.ones((len(t), 1)) for t in heights().times], control_names=names)


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        (heights(), heights(units={"h": "degC", "x": "km"}), "test: h in 'degC', .* have 'K'."),
        (heights(), heights(units={"h": "K", "x": "m"}), "test: x in 'm', .* have 'km'"),
        (heights(), heights(X[::-1]), r"test: coords\['x'\] are in another order.*0.96.* to 0 ag"),
        (heights(), heights(10 - X), r"test: coords\['x'\] are in another order"),
        (heights(), heights(np.roll(X, 5)), r"test: coords\['x'\] are in another order"),
        (square(), square(("y", "x")), r"test: dims \('y', 'x'\), but .* \('x', 'y'\). Transpose"),
        (
            square(("c", "x"), c=list("abcde")),
            square(("c", "x"), c=list("bacde")),
            r"test: coords\['c'\] are in another order",
        ),
        (
            heights(),
            heights(times=[0.0, 1.0, 2.0, 3.0], units={"time": "s"}),
            "test: times in 's', but the data of the fit have 'seconds since 2000-01-01",
        ),
        (
            heights(covariates=np.ones((2, 2)), covariate_names=["a", "b"]),
            heights(covariates=np.ones((2, 2)), covariate_names=["b", "a"]),
            "test: covariates",
        ),
    ],
)
def test_other_units_and_orders_are_refused(ours, theirs, message):
    with pytest.raises(ValueError, match=message):
        matched(Metadata.of(ours), "test", theirs)


@pytest.mark.parametrize(
    ("ours", "theirs", "message"),
    [
        (heights(), heights(10 * X), r"test: other coords\['x'\] 0 to 9.66667 against 0 to 0.9666"),
        (heights(), heights(X + 0.01), r"test: other coords\['x'\] 0.01 to"),
        (heights(), heights(dims=("s",)), r"test: other axes \('s',\) against \('x',\)"),
        (square(("c", "x"), c=list("abcde")), square(("c", "x"), c=list("vwxyz")), "v, w, x, y ag"),
        (driven("heating"), driven("wind"), r"controls \('wind',\) against \('heating',\)"),
    ],
)
def test_other_positions_are_warned_about(ours, theirs, message):
    with pytest.warns(UserWarning, match=message):
        assert matched(Metadata.of(ours), "test", theirs) is theirs or ours.calendar


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (heights(), heights()),
        (heights(), heights(X.astype(np.float32))),
        (heights(), heights(units={})),
        (driven("heating"), driven(None)),
        (driven(None), driven("heating")),
        (heights(units={}), heights()),
        (heights(), Trajectories(DATES, np.ones((1, 4, NUM_POINTS)))),
        (Trajectories(np.arange(4.0), np.ones((1, 4, NUM_POINTS))), heights()),
    ],
)
def test_what_one_side_does_not_know_is_not_compared(ours, theirs):
    assert matched(Metadata.of(ours), "test", theirs) is not None
    assert matched(None, "test", theirs) is theirs


def test_times_are_recounted_from_the_fits_origin():
    later = heights(times=DATES + np.timedelta64(36, "h"))
    assert later.units["time"] == "seconds since 2000-01-02 12:00:00"
    found = matched(Metadata.of(heights()), "test", later)
    assert found.times[0].tolist() == [36 * 3600.0 + 86400.0 * k for k in range(4)]
    assert found.units["time"] == "seconds since 2000-01-01 00:00:00"
    assert later.times[0][0] == 0.0
    assert np.shares_memory(found.values[0], later.values[0])


def test_json_holds_it():
    own = Metadata.of(square(("c", "x"), c=list("abcde"), x=0.1 * np.arange(5)))
    assert Metadata.from_json(json.loads(json.dumps(own.to_json()))) == own
    own = Metadata.of(heights(covariates=[1, 2]))
    assert Metadata.from_json(json.loads(json.dumps(own.to_json()))) == own


@pytest.mark.parametrize(
    "change",
    [
        {"name": 1},
        {"dims": "x"},
        {"dims": [1]},
        {"coords": []},
        {"coords": {"x": "abc"}},
        {"coords": {"x": [1, "a"]}},
        {"coords": {"x": [float("nan")]}},
        {"units": {"x": 1}},
        {"calendar": 3},
        {"calendar": "maya"},
        {"covariates": None},
        {"more": 1},
    ],
)
def test_damaged_json_is_refused(change):
    own = Metadata.of(heights()).to_json()
    with pytest.raises((TypeError, ValueError), match=r"metadata: |calendar: "):
        Metadata.from_json(own | change)
    with pytest.raises(TypeError, match="metadata: "):
        Metadata.from_json([])


# the model's grid


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.roll(X, 5), r"data: coords\['x'\] are not in order: 0 after 0.96.* at index 5.*Sort"),
        (X**2, r"data: coords\['x'\] are not evenly spaced: 0.00111.* before index 1"),
    ],
)
def test_positions_in_another_order_than_the_grid_are_refused(x, message):
    with pytest.raises(ValueError, match=message):
        check_on_grid("data", heights(x), Grid(NUM_POINTS, 5))


@pytest.mark.parametrize("x", [10 * X, X + 1, X[::-1], np.linspace(0, 1, NUM_POINTS)])
def test_another_extent_is_warned_about(x):
    with pytest.warns(UserWarning, match=r"data: coords\['x'\] run from .*lower=.* and upper=.*"):
        check_on_grid("data", heights(x), Grid(NUM_POINTS, 5))


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("ends", [(100.0, 348.75), (90.0, -89.0)])
def test_the_ends_that_the_warning_gives_are_right(boundary, ends):
    x = np.linspace(*ends, NUM_POINTS)
    with pytest.warns(UserWarning, match="Build the model with") as caught:
        check_on_grid("data", heights(x), Grid(NUM_POINTS, 5, boundary=boundary))
    assert caught[0].filename == __file__  # not a line of the library
    lower, upper = re.findall(r"(?:lower|upper)=(-?[\d.]+\d)", str(caught[0].message))
    right = Grid(NUM_POINTS, 5, boundary=boundary, lower=float(lower), upper=float(upper))
    np.testing.assert_allclose(right.coordinates[0], x, rtol=1e-5)  # of six digits


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_the_grids_own_positions_pass(boundary):
    grid = Grid((NUM_POINTS, 6), (5, 3), boundary=boundary, lower=(-3.0, 1.0), upper=(9.0, 2.0))
    x, y = (c.astype(np.float32) for c in grid.coordinates)
    data = Trajectories(
        [0.0], np.ones((1, 1, NUM_POINTS, 6)), dims=("x", "y"), coords={"x": x, "y": y}
    )
    check_on_grid("data", data, grid)
    named = Trajectories([0.0], np.ones((1, 1, 3)), dims=["x"], coords={"x": list("abc")})
    check_on_grid("data", named, Grid(3, 3))


# whatever brings data to a fit


def trained(**options):
    rng = np.random.default_rng(3)
    times = DATES[0] + np.arange(24) * np.timedelta64(2, "h")
    values = [tiny_fields(0.05 * np.arange(24), rng) for _ in range(2)]
    own = {"name": "h", "dims": ("x",), "coords": {"x": X}, "units": {"h": "K"}, **options}
    return Trajectories(times, values, **own)


def test_a_fit_keeps_it_and_everything_compares(tmp_path):
    data = trained()
    celsius = trained(units={"h": "degC"})
    learn = {"steps": 1, "length": 5, "stride": 1, "progress": False}
    with pytest.raises(ValueError, match="validation: h in 'degC'"):
        pyro_msde.fit(*tiny_pair(0), data, validation=celsius, **learn)
    with pytest.raises(ValueError, match=r"data: coords\['x'\] are not evenly spaced"):
        pyro_msde.fit(*tiny_pair(0), trained(coords={"x": X**2}), **learn)
    fit = pyro_msde.fit(*tiny_pair(0), data, validation=data, jackknife=False, **learn)
    assert fit.metadata == Metadata.of(data)
    fit.save(tmp_path)
    assert pyro_msde.load(tmp_path, *tiny_pair(0)).metadata == fit.metadata
    fc = fit.predict(data.values[0][0], data.times[0], num_samples=64)
    assert fc.metadata == fit.metadata
    one = celsius[0]
    for argument, ask in {
        "validation": lambda: fit.calibrated(celsius),
        "train": lambda: fit.jackknifed(celsius),
        "test": lambda: fit.to_arviz(celsius),
        "data": lambda: innovations(fit, celsius),
        "truth": lambda: pyro_msde.nrmse(fc, one),
    }.items():
        with pytest.raises(ValueError, match=f"{argument}: h in 'degC'"):
            ask()
    for ask in (pyro_msde.calibration, forecast_snapshots, coverage_by_lead):
        with pytest.raises(ValueError, match="truth: h in 'degC'"):
            ask(fc, one)


def test_an_initial_field_of_xarray_is_compared():
    data = trained()
    fit = Fit(*tiny_pair(0), Scaling((1.0,), 86400.0), metadata=Metadata.of(data))
    ds = data.to_xarray()["h"].isel(trajectory=0, time=0)
    options = {"times": [0.0, 3600.0], "num_samples": 2, "max_step": 3600.0}
    expected = fit.predict(ds.values, **options)
    assert torch.equal(fit.predict(ds, **options).paths, expected.paths)
    assert torch.equal(fit.predict(ds.drop_attrs().drop_vars("x"), **options).paths, expected.paths)
    with pytest.raises(ValueError, match=r"y0: coords\['x'\] are in another order"):
        fit.predict(ds[::-1], **options)
    with pytest.raises(ValueError, match=r"y0: fields in 'degC', .* have 'K'"):
        fit.predict(ds.assign_attrs(units="degC"), **options)
    with pytest.raises(ValueError, match=r"y0: Trajectories is no array .*their `values` are"):
        fit.predict(data, **options)
    with pytest.raises(ValueError, match=r"y0: its largest value is"):
        fit.predict(1e40 * ds, **options)


def test_fits_without_it_say_nothing():
    fit = Fit(*tiny_pair(0), Scaling((1.0,), 1.0))
    data = tiny_data((5,), units="K", dims=("x",), coords={"x": 10 * X})
    fc = fit.predict(data.values[0][0], data.times[0], num_samples=2)
    assert fc.metadata is None
    assert np.isfinite(pyro_msde.nrmse(fc, data))  # a warning would be an error


def test_the_time_of_an_initial_field_is_where_its_forecast_starts():
    data = trained()
    fit = Fit(*tiny_pair(0), Scaling((1.0,), 86400.0), metadata=Metadata.of(data))
    ds = data.to_xarray()["h"].isel(trajectory=0)
    options = {"num_samples": 2, "max_step": 3600.0}
    start, later = data.times[0][1], data.times[0][3]
    expected = fit.predict(ds[1].values, [later], t0=start, **options)
    assert torch.equal(fit.predict(ds[1], [later], **options).paths, expected.paths)
    with pytest.raises(ValueError, match=r"times: begin at \d{4}-.*, before t0=\d{4}-"):
        fit.predict(ds[3], [start], **options)


@pytest.mark.parametrize("name", ["time", "valid_time"])
def test_snapshots_of_xarray_bring_their_times(name):
    """As `t0` of one and `times0` of several, under the name that the training data's times had."""
    made = trained().to_xarray()["h"].isel(trajectory=0, drop=True).rename(time=name)
    data = Trajectories.from_xarray(made.expand_dims("trajectory"), time=name)
    saved = Metadata.from_json(json.loads(json.dumps(Metadata.of(data).to_json())))
    assert saved == Metadata.of(data)
    fit = Fit(*tiny_pair(0), Scaling((1.0,), 86400.0), metadata=saved)
    ask = {"num_samples": 8, "max_step": 3600.0}
    clock, v, later = data.times[0], data.values[0], [data.times[0][3]]

    def paths(y0, times=later, **options):
        return fit.predict(y0, times, **ask, **options).paths

    one = paths(v[1], t0=clock[1])
    for y0 in (made[1], made[[1]], made[[1]].transpose(name, "x")):
        assert torch.equal(paths(y0), one)
    assert fit.predict(made[[1]], later, **ask).mean.shape == (1, 1, NUM_POINTS)  # a batch of one
    past = paths(v[:3], times0=clock[:3])
    assert torch.equal(paths(made[:3]), past)
    members = xr.concat([made[:3], made[:3] + 1], "member")
    both = np.stack([v[:3], v[:3] + 1])
    assert torch.equal(paths(members), paths(both, times0=clock[:3]))
    assert torch.equal(paths(members[:, :1]), paths(both[:, :1], times0=clock[:1]))
    # what is given counts before
    assert torch.equal(paths(made[[1]], t0=clock[0]), paths(v[[1]], t0=clock[0]))
    assert torch.equal(paths(made[:3], times0=clock[1:4]), paths(v[:3], times0=clock[1:4]))
    leads = np.array([86400.0])
    each = paths(made[:3], leads, t0=clock[:3])
    assert torch.equal(each, paths(v[:3], leads, t0=clock[:3]))
    bare = made.drop_vars(name)
    assert torch.equal(paths(bare[[1]]), paths(v[[1]]))
    windows = made[:3].swap_dims({name: "window"})
    assert torch.equal(paths(windows, leads, t0=windows[name]), each)

    for y0, options, message in (
        (made[:3], {"t0": clock[0]}, rf"y0: 3 snapshots along '{name}', but one t0\. Pass times0"),
        (bare[:3], {}, rf"y0: 3 snapshots along '{name}', but no times\. Pass times0"),
        (windows, {}, rf"y0: 3 times '{name}' along 'window'\. Pass them as times0 .* or as t0"),
        (made[2::-1], {}, "times0: not increasing"),
        (made[:3].T, {}, rf"with the times '{name}' along.*transpose\('{name}', 'x'\)"),
        (members.transpose(name, "member", "x"), {}, rf"transpose\('member', '{name}', 'x'\)"),
        (made[[3]], {"times": [clock[1]]}, "times: begin at .*, before t0="),
        (made[:3], {"times": [clock[1]]}, "times: begin at .*, before t0="),
    ):
        with pytest.raises(ValueError, match=message):
            paths(y0, **options)


def test_one_parameter_of_several_fields_may_be_a_row():
    fit = Fit(*tiny_pair(0, num_covariates=1), Scaling((1.0,), 1.0))
    y0 = np.stack([v[0] for v in tiny_data().values])
    ask = {"times": [0.0, 0.1], "num_samples": 2, "max_step": 0.05}
    row = fit.predict(y0, **ask, covariates=np.array([1.0, 2.0, 3.0]))
    column = fit.predict(y0, **ask, covariates=np.array([[1.0], [2.0], [3.0]]))
    assert torch.equal(row.paths, column.paths)
    with pytest.raises(ValueError, match=r"covariates: shape \(2,\) for 3 initial fields"):
        fit.predict(y0, **ask, covariates=np.array([1.0, 2.0]))


def test_truth_of_xarray_is_compared():
    data = trained()
    fit = Fit(*tiny_pair(0), Scaling((1.0,), 86400.0), metadata=Metadata.of(data))
    truth = data.to_xarray()["h"]
    y0 = np.stack([v[0] for v in data.values])
    fc = fit.predict(y0, data.times[0], num_samples=2, max_step=3600.0)
    assert np.isfinite(pyro_msde.nrmse(fc, truth)).all()
    with pytest.raises(ValueError, match=r"truth: fields in 'degC', .* have 'K'"):
        pyro_msde.nrmse(fc, truth.assign_attrs(units="degC"))
    with pytest.raises(ValueError, match=r"truth: coords\['x'\] are in another order"):
        pyro_msde.nrmse(fc, truth[..., ::-1])
