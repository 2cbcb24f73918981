"""The one conversion of arrays: what holds numbers is read right, what does not is refused."""

from __future__ import annotations

import datetime
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from problems import NUM_POINTS, tiny_pair

from pyro_msde import Fit, Trajectories, nrmse
from pyro_msde.baselines import mean_trajectory, nearest_trajectory, persistence
from pyro_msde.data.arrays import to_numpy
from pyro_msde.data.units import Scaling
from pyro_msde.grid import adjacency_table
from pyro_msde.scores import shell_spectrum

PLAIN = np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
NAN = np.where(PLAIN == 2, np.nan, PLAIN)
MASKED = np.ma.masked_equal(PLAIN, 2.0)


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def on_disk(x):
    """As netCDF keeps it: int16 of tenths, with a number for what is missing."""
    attrs = {"scale_factor": 0.1, "add_offset": 0.0, "_FillValue": np.int16(20)}
    return xr.DataArray((10 * x).astype(np.int16), dims=("a", "b"), attrs=attrs)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (PLAIN.tolist(), PLAIN),
        (PLAIN[::-1, ::-1], PLAIN[::-1, ::-1]),  # negative strides, which torch does not take
        (PLAIN[:, ::2], PLAIN[:, ::2]),
        (np.asfortranarray(PLAIN), PLAIN),
        (PLAIN.astype(">f8"), PLAIN),
        (PLAIN.astype(">i2"), PLAIN),
        (read_only(PLAIN), PLAIN),
        (np.broadcast_to(PLAIN[0], (2, 3)), np.stack([PLAIN[0]] * 2)),
        (PLAIN.astype(np.longdouble), PLAIN),
        (PLAIN.astype(object), PLAIN),
        ([[Fraction(1, 4), Decimal("0.5")]], np.array([[0.25, 0.5]])),
        (PLAIN > 2, np.array(PLAIN > 2, dtype=float)),
        (torch.tensor(PLAIN, requires_grad=True), PLAIN),
        (torch.tensor(PLAIN).T.conj(), PLAIN.T),
        ([torch.tensor(row, requires_grad=True) for row in PLAIN], PLAIN),
        (pd.DataFrame(PLAIN), PLAIN),
        (pd.Series([1, 2]), np.array([1.0, 2.0])),
        (xr.DataArray(PLAIN, dims=("value", "b"), name="value"), PLAIN),
        (np.ma.array(PLAIN), PLAIN),
        (MASKED, NAN),
        (np.ma.masked_equal(PLAIN.astype(int), 2), NAN),
        (list(MASKED), NAN),
        ([1.0, np.ma.masked], np.array([1.0, np.nan])),
        (on_disk(PLAIN), NAN),
        (xr.DataArray(PLAIN, attrs={"missing_value": 2.0}), NAN),
        (
            xr.DataArray(PLAIN, attrs={"valid_range": [0.0, 4.0]}),
            np.where(PLAIN > 4, np.nan, PLAIN),
        ),
        (
            xr.DataArray(PLAIN, attrs={"valid_min": 1.0, "valid_max": 9.0}),
            np.where(PLAIN < 1, np.nan, PLAIN),
        ),
    ],
)
def test_numbers_are_read(given, expected):
    found = to_numpy(given, "y")
    assert found.dtype == np.float64
    assert found.flags.c_contiguous
    # packed values are computed with one rounding
    np.testing.assert_allclose(found, expected, rtol=1e-15)
    torch.as_tensor(found)  # neither refuses it nor warns


@pytest.mark.parametrize(
    "given",
    [
        PLAIN.astype(np.float16),
        PLAIN.astype(">f4"),
        torch.tensor(PLAIN).to(torch.bfloat16),
        np.ma.masked_equal(PLAIN.astype(np.float32), 99),
    ],
)
def test_single_precision_stays(given):
    found = to_numpy(given, "y")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, PLAIN)


def test_nothing_is_copied_or_changed_without_need():
    assert np.shares_memory(to_numpy(PLAIN, "y"), PLAIN)
    masked = MASKED.copy()
    to_numpy(masked, "y")
    assert masked.mask.sum() == 1
    assert masked.data[0, 2] == 2.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "y: got None"),
        ("a", "y: dtype <U1 is text"),
        ([1, "a"], "is text"),
        ([1, None], "None of type NoneType is no number"),
        ([[1, 2], [3]], r"parts of shapes \(1,\), \(2,\). Pass a list"),
        (PLAIN + 0j, "complex128 is not real"),
        (torch.ones(2) * 1j, "complex64 is not real"),
        (np.array(["2000"], "M8[D]"), "holds dates"),
        ([np.timedelta64(1, "s")], "holds durations"),
        (datetime.date(2000, 1, 1), "of type date is no number"),
        ({1: 2}, "of type dict is no number"),
        (xr.Dataset({"a": 1.0}), "take one of its variables"),
        (Trajectories([0.0, 1.0], np.ones((1, 2, 3))), "their `values` are, one for each"),
        (torch.ones(2, 2).to_sparse(), "no array of numbers .*to_dense"),
        ([10**400], "too large"),
        (np.zeros(2, dtype=[("a", float)]), "is not real"),
        (xr.DataArray(PLAIN, attrs={"scale_factor": "a"}), "no array of numbers"),
    ],
)
def test_what_holds_no_numbers_is_refused(given, message):
    with pytest.raises(ValueError, match=f"^y: .*{message.removeprefix('y: ')}"):
        to_numpy(given, "y")


# every entry point


def tiny_fit() -> Fit:
    return Fit(*tiny_pair(2, num_covariates=1), Scaling((1.7,), 3.0, (1.0,)))


def forms(x):
    learned = torch.tensor(x, requires_grad=True)
    return [
        x[::-1].copy()[::-1],
        x.astype(">f8"),
        read_only(x),
        learned,
        xr.DataArray(x),
        np.ma.array(x),
        x.tolist(),
    ]


@pytest.mark.parametrize("form", range(7))
def test_forecasts_take_every_form(form):
    rng = np.random.default_rng(1)
    y, p, t = rng.normal(size=(2, NUM_POINTS)), np.array([[0.3], [0.4]]), np.array([0.0, 0.5, 1.0])
    options = {"num_samples": 2, "max_step": 1.0}
    fit = tiny_fit()
    expected = fit.predict(y, t, covariates=p, **options)
    given = [forms(x)[form] for x in (y, t, p)]
    found = fit.predict(given[0], given[1], covariates=given[2], **options)
    assert torch.equal(found.paths, expected.paths)
    truth = rng.normal(size=expected.shape)
    assert torch.equal(found.cdf(forms(truth)[form]), expected.cdf(truth))
    np.testing.assert_array_equal(nrmse(found, forms(truth)[form]), nrmse(expected, truth))


def test_masked_values_are_refused_by_name_and_number():
    fit, t = tiny_fit(), [0.0, 0.5]
    one = np.ma.array(np.ones(NUM_POINTS), mask=np.arange(NUM_POINTS) < 3, fill_value=1e20)
    with pytest.raises(ValueError, match=r"y0: holds NaN or infinite values, 3 of 30.*Masked"):
        fit.predict(one, t, covariates=[1.0])
    with pytest.raises(ValueError, match="covariates: hold NaN or infinite values, 1 of 1"):
        fit.predict(one.data, t, covariates=np.ma.masked_equal([1.0], 1.0))
    fc = fit.predict(one.data, t, covariates=[1.0], num_samples=2)
    truth = np.ma.stack([np.ma.array(one.data), one])
    with pytest.raises(ValueError, match=r"truth: NaN or infinite in index 1 .*1 snap.*Masked"):
        nrmse(fc, truth)
    with pytest.raises(ValueError, match="values: NaN, 3 in all"):
        fc.cdf(truth)
    with pytest.raises(
        ValueError, match=r"values: NaN in traj.* 0, index 1 .*1 of 2 snap.*\(Masked"
    ):
        Trajectories(t, truth[None])
    with pytest.raises(ValueError, match=r"y0: shape \(0, 30\) holds no field"):
        fit.predict(np.ones((0, NUM_POINTS)), t, covariates=[1.0])


def test_baselines_spectra_and_graphs_take_the_same():
    values = np.random.default_rng(2).normal(size=(3, 4, 5))
    train = Trajectories(np.arange(4.0), values)
    y0 = values[:2, 0] + 0.01
    for given in forms(y0):
        np.testing.assert_array_equal(persistence(given, 2), np.stack([y0, y0], 1))
        np.testing.assert_array_equal(nearest_trajectory(train, given), values[:2])
        assert mean_trajectory(train, given).shape == (2, 4, 5)
        for one, two in zip(
            shell_spectrum(given, ["periodic"], [0.2]),
            shell_spectrum(y0, ["periodic"], [0.2]),
            strict=True,
        ):
            np.testing.assert_array_equal(one, two)
    for function in (lambda y: persistence(y, 2), lambda y: nearest_trajectory(train, y)):
        with pytest.raises(ValueError, match="y0: NaN or infinite, 1 of 10"):
            function(np.ma.masked_equal(y0, y0[0, 0]))
    table = np.array([[1, 2], [2, 0], [0, 1]])
    negative = table[:, ::-1].copy()[:, ::-1]
    for given in (negative, table.astype(">i4"), torch.tensor(table), table.tolist()):
        assert adjacency_table(given).tolist() == table.tolist()
    for given, message in (
        ("ab", "adjacency: <U2"),
        (None, "adjacency: got None"),
        (np.ma.masked_equal(table, 2), "neither indices"),
    ):
        with pytest.raises(ValueError, match=message):
            adjacency_table(given)
