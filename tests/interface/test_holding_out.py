"""Where no validation data are given and paths are noisy, a part of the data validates."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from rotating_paths import APART, rotating_paths

import pyro_msde
from pyro_msde import Trajectories
from pyro_msde.guides import AmortizedGP
from pyro_msde.interface.holding_out import held_out
from pyro_msde.models import multiscale

POINTS = 16


def noisy(count, trajectories=1):
    x = 2 * np.pi * np.arange(POINTS) / POINTS
    rows = np.array([np.cos(x), np.sin(x)])
    values = rotating_paths(count, np.random.default_rng(0), trajectories) @ rows
    return Trajectories(np.arange(count) * APART, values)


def fitted(data, **options):
    model = multiscale.like(data, coarse=POINTS, boundary="periodic")
    options = {"steps": 2, "progress": False, "jackknife": False, **options}
    return pyro_msde.fit(model, AmortizedGP(model), data, **options)


def test_the_last_fifth_of_a_record_validates_in_windows():
    data = noisy(200)
    train, windows = held_out(data)
    np.testing.assert_array_equal(train.times[0], data.times[0][:160])
    assert all(len(t) == 11 and t[0] >= data.times[0][160] for t in windows.times)
    np.testing.assert_array_equal(windows.values[0], data.values[0][160:171])


def test_every_fifth_of_many_trajectories_validates():
    data = noisy(8, 12)
    train, windows = held_out(data)
    assert len(train) == 10
    found = {float(v[0, 3]) for v in windows.values}
    assert found <= {float(data.values[k][i, 3]) for k in (4, 9) for i in range(8)}


def test_short_records_are_kept_whole():
    assert held_out(noisy(50)) is None


def test_noisy_paths_validate_and_the_log_says_so(caplog):
    with caplog.at_level(logging.INFO, "pyro_msde"):
        fit = fitted(noisy(200))
    assert fit.history.validation_steps == [0, 2]
    assert "the last fifth of each trajectory validates" in caplog.text


def test_what_the_user_gives_validates_instead():
    data = noisy(300)
    given = fitted(data.until(4.0), validation=data.after(4.0).cut(length=11))
    assert given.history.validation_steps == [0, 2]
    assert given.training.identity["data"] != fitted(data.until(4.0)).training.identity["data"]


def test_smooth_paths_are_trained_on_as_a_whole():
    t = np.arange(200) * APART
    x = 2 * np.pi * np.arange(POINTS) / POINTS
    fit = fitted(Trajectories(t, [np.cos(x - 3 * t[:, None])]))
    assert not fit.history.validation_steps


def test_training_ends_where_nothing_is_gained():
    data = noisy(200)
    options = {"steps": 60, "validate_every": 1, "patience": 3, "learning_rate": 0.3}
    fit = fitted(data, **options)
    scores = fit.history.validation
    assert fit.steps < 60
    assert len(scores) - 1 - int(np.argmin(scores)) == 3
    assert not fit.training.interrupted


def test_a_run_that_ended_early_is_finished(tmp_path):
    data = noisy(200)
    options = {"steps": 60, "validate_every": 1, "patience": 2, "learning_rate": 0.3}
    fit = fitted(data, checkpoint=tmp_path, **options)
    again = fitted(data, checkpoint=tmp_path, **options)
    assert again.steps == fit.steps
    assert again.history.validation == fit.history.validation


def test_patience_is_a_whole_number_or_none():
    with pytest.raises(ValueError, match="patience"):
        pyro_msde.Recipe(patience=0)
    assert pyro_msde.Recipe(patience=None).patience is None
