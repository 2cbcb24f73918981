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

pytestmark = pytest.mark.usefixtures("long_steps")

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
    assert held_out(noisy(19)) is None


def test_noisy_paths_validate_and_the_log_says_so(caplog):
    with caplog.at_level(logging.INFO, "pyro_msde"):
        fit = fitted(noisy(200))
    assert fit.history.validation_steps == [0, 2]
    assert "40 of 200 snapshots validate, in 15 windows of 11" in caplog.text


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


def test_a_long_trajectory_among_short_ones_is_cut_and_not_left_out():
    times = [np.arange(n) * APART for n in (12, 12, 12, 12, 200)]
    values = [noisy(len(t)).values[0] for t in times]
    train, windows = held_out(Trajectories(times, values))
    assert [len(t) for t in train.times] == [12, 12, 12, 12, 160]
    assert all(len(t) == 11 for t in windows.times)


def test_windows_are_as_long_as_holes_leave_them():
    data = noisy(60)
    values = np.array(data.values)
    values[0, 53] = np.nan
    fit = fitted(Trajectories(data.times, values, missing="mask"))
    assert fit.history.validation_steps == [0, 2]
    holes = Trajectories(data.times, values, missing="mask").snapshots([np.delete(range(60), 53)])
    assert {len(t) for t in held_out(holes)[1].times} == {6}


def test_segments_that_were_asked_for_go_first(caplog):
    with caplog.at_level(logging.INFO, "pyro_msde"):
        fit = fitted(noisy(60), steps=1, length=50, stride=1)
    assert not fit.history.validation_steps
    assert "too short to keep some" in caplog.text


def test_what_is_resumed_after_it_ended_trains_no_further(tmp_path):
    class Fails(pyro_msde.Callback):
        def validation(self, view):
            if len(fit_scores) and view.step == fit_scores[-1]:
                raise RuntimeError("killed")

    data = noisy(200)
    options = {"steps": 60, "validate_every": 1, "patience": 2, "learning_rate": 0.3}
    fit_scores = []
    whole = fitted(data, **options)
    fit_scores = whole.history.validation_steps
    with pytest.raises(RuntimeError, match="killed"):
        fitted(data, checkpoint=tmp_path, callbacks=[Fails()], **options)
    resumed = fitted(data, checkpoint=tmp_path, **options)
    assert resumed.steps == whole.steps
    assert resumed.history.validation == whole.history.validation
