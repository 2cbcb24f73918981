"""The last line of `fit`, beside the best simple forecast of the validation trajectories."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest
from problems import tiny_data, tiny_pair

import pyro_msde
from pyro_msde import baselines
from pyro_msde.interface import beside_baselines as module

pytestmark = pytest.mark.usefixtures("long_steps")

SHORT = {"length": 7, "stride": 1, "num_nodes": 5, "progress": False, "steps": 4}
TRAIN, HELD = tiny_data((17, 19)), tiny_data((11, 13, 11), seed=1)


def error_of(kind, train, held) -> float:
    """Mean over trajectories of √(mean ‖error‖² / mean ‖y‖²), forecast from first snapshots."""
    fitted = kind.fit(train, held)
    ratios = []
    for t, v in zip(held.times, held.values, strict=True):
        mean = fitted.forecast(v[0], t - t[0]).mean
        ratios.append(np.square(mean - v).mean() / np.square(v.astype(float)).mean())
    return float(np.sqrt(ratios).mean())


def last_line(caplog, **options):
    with caplog.at_level(logging.INFO, logger="pyro_msde"):
        fit = pyro_msde.fit(*tiny_pair(0), TRAIN, **{**SHORT, **options})
    told = [r for r in caplog.records if "simple forecast" in r.getMessage()]
    return fit, told[-1] if told else None


@pytest.mark.parametrize("best", ["linear inverse model", "climatology"])
def test_the_last_line_tells_the_best_and_warns_where_it_is_better(caplog, monkeypatch, best):
    kinds = [k for k in baselines.simple_baselines() if k.name in (best, "persistence")]
    monkeypatch.setattr(module, "simple_baselines", lambda period: kinds)
    fit, last = last_line(caplog, validation=HELD)
    own = min(fit.history.validation)
    errors = {k.name: error_of(k, TRAIN, HELD) for k in kinds}
    better = errors[best] < own
    assert min(errors, key=errors.get) == best
    assert last.levelno == (logging.WARNING if better else logging.INFO)
    ours, theirs = f"{100 * own:.3g}%", f"{100 * errors[best]:.3g}%"
    assert last.getMessage().startswith(
        f"validation NRMSE {ours}, but {best} has {theirs}: a simple forecast does better."
        if better
        else f"validation NRMSE {ours}; best simple forecast: {best}, {theirs}"
    )


def test_of_many_validation_trajectories_some_are_forecast(caplog, monkeypatch):
    monkeypatch.setattr(module, "_MOST", 2)
    fit, last = last_line(caplog, validation=HELD)
    some = HELD[[0, 2]]
    errors = [error_of(k, TRAIN, some) for k in baselines.simple_baselines()]
    own = module.validation_score(fit, some)
    assert own != min(fit.history.validation)
    assert f"{100 * min(errors):.3g}%" in last.getMessage()
    assert f"validation NRMSE {100 * own:.3g}%" in last.getMessage()


def test_nothing_is_told_without_validation_or_of_a_run_that_is_read(caplog, tmp_path):
    assert last_line(caplog)[1] is None
    _, last = last_line(caplog, validation=HELD, checkpoint=tmp_path)
    assert last is not None
    caplog.clear()
    assert last_line(caplog, validation=HELD, checkpoint=tmp_path)[1] is None


def test_simple_forecasts_know_the_cycle_of_the_reference(caplog):
    """A standing wave with noise: without the cycle, simple forecasts err many times the noise."""
    t = 0.5 * np.arange(36)
    values = np.cos(2 * np.pi * t / 6)[:, None] * tiny_data((2,)).values[0][:1]
    noise = 0.01 * np.random.default_rng(0).normal(size=(2, *values.shape))
    data = pyro_msde.Trajectories(t, values + noise)
    options = {**SHORT, "reference": pyro_msde.Cycle(6.0), "jackknife": False}
    with caplog.at_level(logging.INFO, logger="pyro_msde"):
        pyro_msde.fit(*tiny_pair(0), data, validation=data.until(5.0), **options)
    told = [r.getMessage() for r in caplog.records if "simple forecast" in r.getMessage()]
    best = re.findall(r"([\d.e+]+)%", told[-1])[1]
    assert float(best) < 150  # of the noise, all that is left beside the cycle
