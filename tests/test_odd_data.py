"""Data that are degenerate in some way: trained on with finite forecasts, refused, or warned of."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from problems import NUM_POINTS, tiny_data, tiny_fields, tiny_grid, tiny_model

import pyro_msde
from pyro_msde import Trajectories, fit
from pyro_msde.data import warn_of_outliers
from pyro_msde.guides import AmortizedGP
from pyro_msde.networks import PrincipalDecoder, PrincipalEncoder

TIMES = 0.05 * np.arange(12)
X = np.arange(NUM_POINTS) / NUM_POINTS


def waves(count=2, times=TIMES):
    rng = np.random.default_rng(2)
    return np.stack([tiny_fields(times, rng) for _ in range(count)])


def trained(values, times=TIMES, *, n_eta=1, channels=1, length=5, **options):
    """A fit of three steps, with everything that `fit` does before and after them.

    Microscale networks work on principal components, as those of the registered cases do.
    """
    grid = tiny_grid(channels)
    decoder = PrincipalDecoder(grid, n_eta, rank=4, widths=(7,)) if n_eta else None
    model = tiny_model(n_eta, grid=grid, decoder=decoder)
    encoder = PrincipalEncoder(grid, n_eta, rank=4, widths=(7,)) if n_eta else None
    guide = AmortizedGP(model, encoder=encoder)
    options = {"steps": 3, "stride": 1, "num_nodes": 5, "progress": False} | options
    return fit(model, guide, Trajectories(times, values), length=length, **options)


def forecast_of(result, values, times=TIMES):
    """At the first three times: what is not finite is so from the start."""
    y0 = np.stack([v[0] for v in values])
    return result.predict(y0, times[:3], num_samples=8, max_step=0.05)


SPACE = np.ones((2, 1, NUM_POINTS))
TRAINS = {
    "uniform in space": np.cos(7 * TIMES)[None, :, None] * SPACE,
    "uniform in space and time": np.ones((2, len(TIMES), 1)) * SPACE,
    "constant in time": np.ones((2, len(TIMES), 1)) * np.sin(2 * np.pi * X),
    "equal trajectories": waves(1).repeat(2, 0),
    "a single trajectory": waves(1),
    "a zero snapshot": np.where(np.arange(12)[:, None] == 4, 0.0, waves()),
    "a zero trajectory": np.concatenate([waves(1), 0 * waves(1)]),
    "zero at first": np.maximum(TIMES - 0.2, 0)[:, None] * waves(),
}


@pytest.mark.parametrize(
    ("name", "n_eta"),
    [*((name, 1) for name in TRAINS), ("uniform in space", 0), ("uniform in space and time", 0)],
)
def test_trains_and_forecasts_are_finite(name, n_eta):
    values = TRAINS[name]
    result = trained(values, n_eta=n_eta)
    weights = [*result.model.state_dict().values(), *result.guide.state_dict().values()]
    assert all(v.isfinite().all() for v in weights)
    fc = forecast_of(result, values)
    assert fc.mean.isfinite().all()
    assert fc.sd.isfinite().all()
    assert (fc.sd > 0).all()
    assert np.isfinite(pyro_msde.crps(fc, values[:, :3])).all()
    assert fc.diverged.isfinite().all()


def test_two_snapshots_are_enough():
    values, times = waves(times=TIMES[:2]), TIMES[:2]
    fc = forecast_of(trained(values, times, length=2), values, times)
    assert np.isfinite(pyro_msde.nrmse(fc, values)).all()


def test_a_constant_channel_among_others_trains():
    values = np.stack([waves(), np.ones_like(waves())], 2)
    fc = forecast_of(trained(values, channels=2), values)
    assert fc.mean.isfinite().all()
    assert fc.sd.isfinite().all()


def test_a_zero_channel_is_refused_by_name():
    values = np.stack([waves(), 0 * waves()], 2)
    with pytest.raises(ValueError, match=r"channel 1 is zero in every snapshot\. Leave it out"):
        trained(values, channels=2)


def test_nothing_but_zeros_is_refused():
    with pytest.raises(ValueError, match=r"the field is zero in every snapshot\. There is nothing"):
        trained(0 * waves())


def test_single_snapshots_are_refused():
    with pytest.raises(ValueError, match=r"data: every trajectory is a single snapshot\..*two"):
        trained(waves()[:, :1], TIMES[:1], length=2)
    whole = waves()
    with pytest.raises(ValueError, match="trajectory 1 has 1 observations; a segment of 5 at"):
        trained([whole[0], whole[1][:1]], [TIMES, TIMES[:1]])


# outliers


def test_one_value_a_million_times_too_large_is_named():
    values = waves()
    values[1, 7, 13] = 1e6
    middle = np.median(values.mean(2))
    times = f"{(1e6 - middle) / np.median(np.abs(values - middle).max(2)):.2g}"
    message = re.escape(
        f"values: trajectory 1, index 7 (t=0.35) reaches 1e+06, {times} times the median over "
        "snapshots; 1 of 24 are more than 5000 times"
    )
    with pytest.warns(UserWarning, match=message):
        result = trained(values)
    fc = forecast_of(result, values)
    assert fc.mean.isfinite().all()
    assert fc.sd.isfinite().all()


def test_the_channel_of_an_outlier_is_named():
    fields = [np.stack([v, 1e5 * v], 1) for v in waves()]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_outliers(fields, [TIMES, TIMES])  # channels of different sizes are usual
    fields[0][3, 0, 2] = -1e6
    with pytest.warns(UserWarning, match=r"values: channel 0 of trajectory 0, index 3 \(t=0\.15\)"):
        warn_of_outliers(fields, [TIMES, TIMES])


@pytest.mark.parametrize("kind", ["bursts", "decay", "mostly zero", "ordinary"])
def test_intermittent_fields_are_no_outliers(kind):
    rng = np.random.default_rng(5)
    fields = rng.standard_normal((3, 200, 1, 9))
    if kind == "bursts":  # of a log-normal size over five decades
        fields *= np.exp(2 * rng.standard_normal((3, 200, 1, 1)))
    if kind == "decay":  # by a thousand over the horizon
        fields *= np.exp(-7 * np.linspace(0, 1, 200)).reshape(1, 200, 1, 1)
    if kind == "mostly zero":
        fields *= rng.uniform(size=(3, 200, 1, 1)) < 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_outliers(list(fields), [np.arange(200.0)] * 3)


def test_ordinary_data_are_not_warned_of():
    data = tiny_data()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_outliers([v[:, None] for v in data.values], data.times)
