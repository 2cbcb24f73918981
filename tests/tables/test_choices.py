"""The comparison of architectural choices: what is trained, and how errors are divided in time."""

from __future__ import annotations

import argparse
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from benchmarks import table
from benchmarks.studies import choices
from examples.cases import CASES
from pyro_msde import Trajectories
from pyro_msde.datasets.problem import Splits

TIMES = np.array([0.0, 0.5, 1.0, 1.5, 2.0])


def splits():
    """One point of value two; trained up to time 1, tested up to 2."""
    short = Trajectories(TIMES[:3], np.full((2, 3, 1), 2.0))
    return Splits(short, short, Trajectories(TIMES, np.full((2, 5, 1), 2.0)))


def forecasting(asked, error_beyond):
    """In the place of training: forecasts that err by a tenth, and by more beyond time 1."""

    def train(setting, n_eta, *_):
        asked.append((setting.options | setting.options_at.get(n_eta, {}), n_eta))

        def predict(y0, times, **_):
            error = torch.where(torch.as_tensor(times) > 1, error_beyond, 0.1)
            mean = (2 * (1 + error))[None, :, None].expand(2, -1, 1)
            return SimpleNamespace(mean=mean, diverged=torch.tensor([0.0, 0.5]))

        fit = SimpleNamespace(predict=predict, training=SimpleNamespace(seconds=1.0), steps=7)
        fit.without = lambda name: fit
        return fit

    return train


def test_both_ways_are_trained_once_and_scored_within_and_beyond(tmp_path, monkeypatch):
    asked: list = []
    monkeypatch.setattr(choices, "one_shot", forecasting(asked, 0.3))
    monkeypatch.setattr(type(CASES["kdv"]["hard"].problem), "splits", lambda *_, **__: splits())
    path = tmp_path / "choices.csv"
    monkeypatch.setattr(sys, "argv", ["choices", "--choices", "clock", "--results", str(path)])
    choices.main()
    choices.main()  # nothing is left to do
    assert [(o["time_features"], o["half_width"], n) for o, n in asked] == [
        (False, 6, 2),
        (True, 6, 2),
    ]
    rows = table.read(path, choices.COLUMNS)
    assert [r["value"] for r in rows] == ["False", "True"]
    for found in rows:
        assert float(found["nrmse_within"]) == pytest.approx(0.1)
        assert float(found["nrmse_beyond"]) == pytest.approx(0.3)
        assert float(found["diverged"]) == pytest.approx(0.25)


def test_nothing_is_beyond_where_test_trajectories_end_with_the_others(monkeypatch, tmp_path):
    monkeypatch.setattr(choices, "one_shot", forecasting([], 0.3))
    args = argparse.Namespace(steps=None, out=tmp_path, device="cpu")
    long = splits().test
    found = choices.row(choices.CHOICES["boundary"], "periodic", Splits(long, long, long), 0, args)
    assert "nrmse_beyond" not in found
    assert found["split"] == "published"


def test_an_option_of_training_reaches_fit_and_leaves_the_model_alone():
    tube = choices.CHOICES["tube"]
    changed = tube.setting_with(1.0)
    assert changed.recipe(3).tube_width == 1.0
    assert changed.options == tube.setting.options


@pytest.mark.slow
def test_the_tube_is_tried_on_trajectories_whose_initial_states_spread_wider():
    u = np.stack([v[0] for v in choices.outlying(splits()).values])
    a = u[:, 800] * np.exp(0.25)  # a cos(8π) exp(−.25/s), but for noise and s about 1
    assert len(a) == 30
    # sd .2 or so, against .1 of the published law: 4 standard errors of the latter are .05
    assert a.std(ddof=1) > 0.15
