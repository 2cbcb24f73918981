"""Forecasts beyond the data, in groups of their own."""

from __future__ import annotations

import numpy as np
import pytest
from named_fields import named_data, untrained_fit
from problems import tiny_data

from pyro_msde import Trajectories
from pyro_msde.io.arviz import to_arviz

CLOCK = 4.0 + 0.25 * np.arange(11)  # until 6.5


def test_predictions_go_on_where_the_data_end():
    fit, test = untrained_fit(), named_data(3, CLOCK)
    idata = to_arviz(fit, test, num_samples=5, seed=7, times=6, horizon=7.6)
    later = np.array([6.5 + 1.1 * k / 3 for k in (1, 2, 3)])  # spaced by no more than 0.5
    y0 = np.stack([v[0] for v in test.values])
    fc = fit.predict(y0, np.concatenate([CLOCK[::2], later]), num_samples=5, seed=7)
    pp, ahead = idata.posterior_predictive, idata.predictions
    assert np.array_equal(pp["time"], CLOCK[::2])
    assert np.allclose(ahead["time"], later, rtol=1e-15, atol=0)
    assert ahead["time"].attrs["units"] == "day"
    assert set(ahead.data_vars) == set(pp.data_vars)
    for name, value in {"h_mean": fc.mean, "h_sd": fc.sd, "h_q95": fc.quantile(0.95)}.items():
        assert np.array_equal(pp[name], value[:, :6]), name
        assert np.array_equal(ahead[name], value[:, 6:]), name
    assert ahead["h"].dims == pp["h"].dims
    assert ahead["h"].shape == (1, 5, 3, 3, 5)
    given = idata.predictions_constant_data
    assert np.array_equal(given["h_initial"], y0)
    assert given["h_initial"].attrs["units"] == "m"
    assert given["time_initial"].values.tolist() == [4.0] * 3
    assert given["time_end"].values.tolist() == [6.5] * 3
    assert np.array_equal(given["time"], ahead["time"])


def test_a_whole_number_of_spacings_is_kept():
    idata = to_arviz(
        untrained_fit(), named_data(1, CLOCK), num_samples=2, horizon=7.0, log_likelihood=False
    )
    assert np.allclose(idata.predictions["time"], [6.75, 7.0], rtol=1e-15, atol=0)
    one = to_arviz(
        untrained_fit(),
        named_data(1, CLOCK),
        num_samples=2,
        times=1,
        horizon=7.0,
        log_likelihood=False,
    )
    assert one.predictions["time"].values.tolist() == [7.0]


def test_trajectories_that_end_at_different_times():
    """The longer one has fewer times left, NaN after them; and parameters, which are kept."""
    data = tiny_data((7, 11), irregular=True)
    test = Trajectories(data.times, data.values)
    idata = to_arviz(untrained_fit(), test, num_samples=3, times=4, horizon=1.0)
    ahead, k = idata.predictions, int(np.argmax([t[-1] for t in test.times]))
    assert ahead["time"].dims == ("trajectory", "snapshot")
    counts = np.isfinite(ahead["time"]).sum("snapshot").values
    for own, n, picked in zip(test.times, counts, idata.posterior_predictive["time"], strict=True):
        spacing = np.diff(picked.values).mean()
        assert n == np.ceil((1.0 - own[-1]) / spacing)
    assert counts[k] < counts[1 - k]
    last = ahead["time"].values[np.arange(2), counts - 1]
    assert np.allclose(last, 1.0, rtol=1e-12, atol=0)
    padding = ahead["u_mean"].isel(trajectory=k, snapshot=slice(int(counts[k]), None))
    assert np.isnan(padding).all()
    assert np.isfinite(ahead["u_mean"][k, : counts[k]]).all()


@pytest.mark.parametrize("horizon", [6.5, 4.0, np.nan])
def test_a_horizon_within_the_data_is_refused(horizon):
    with pytest.raises(ValueError, match=r"horizon: .*trajectory 0 ends at 6\.5"):
        to_arviz(untrained_fit(), named_data(2, CLOCK), horizon=horizon)
