from __future__ import annotations

import numpy as np
import pytest

from benchmarks.errors import noise_floor, trajectory_error


def test_points_that_are_nan_in_the_truth_do_not_count():
    rng = np.random.default_rng(0)
    y, forecast = rng.standard_normal((2, 5, 2, 7))
    holes = y.copy()
    holes[:, :, 3] = np.nan
    seen = [0, 1, 2, 4, 5, 6]
    known = trajectory_error(forecast[..., seen], y[..., seen])
    assert trajectory_error(forecast, holes) == pytest.approx(known, rel=1e-12)
    forecast[:, :, 3] = np.inf
    assert trajectory_error(forecast, holes) == pytest.approx(known, rel=1e-12)
    forecast[2, 1, 4] = np.nan
    assert trajectory_error(forecast, holes) == np.inf


def test_a_solid_at_rest_counts_nothing_in_forecasts_that_know_it():
    rng = np.random.default_rng(1)
    y, forecast = rng.standard_normal((2, 5, 2, 7))
    y[..., 3] = np.nan
    still = np.nan_to_num(y), np.where(np.isnan(y), 0.0, forecast)
    assert trajectory_error(forecast, y) == pytest.approx(trajectory_error(*still[::-1]), rel=1e-12)


def test_the_noise_of_points_that_are_nan_does_not_count():
    y = np.full((3, 8), 2.0)
    y[:, 5:] = np.nan
    assert noise_floor(y, 0.1) == pytest.approx(0.05)


def test_a_snapshot_without_a_value_but_zero_is_refused():
    y = np.ones((3, 4))
    y[1] = [0.0, np.nan, 0.0, 0.0]
    with pytest.raises(ValueError, match="snapshot at index 1 is zero everywhere"):
        trajectory_error(np.ones((3, 4)), y)
