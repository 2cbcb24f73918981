"""Forecasts and fits from several threads, each as it would be alone, with every global as before.

Threads are made to take turns far more often than usual, so that what they share shows.
"""

from __future__ import annotations

import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import pyro
import pytest
import torch
from problems import same, snapshot, tiny_data, tiny_model, tiny_pair
from pyro.infer.autoguide import AutoDelta, AutoNormal

from pyro_msde import fit
from pyro_msde.forecasts import posterior_predictive as forecasting
from pyro_msde.guides import AmortizedGP
from pyro_msde.inference import Trainer
from pyro_msde.priors import bayesian, fan_in_normal

QUICK = {"steps": 3, "length": 5, "stride": 1, "progress": False}
Y0 = tiny_data(seed=3).values[0][0]
TIMES = (0.0, 0.01, 0.03)  # ten steps
SEEDS = range(16)


def posterior_pair(theta=AutoNormal):
    """Drift, decoder and kernel are random: each kind of use that a forecast makes of a part."""
    model = tiny_model(2)
    for part in (model.drift, model.decoder, model.kernel):
        bayesian(part, fan_in_normal(1.0))
    return model, AmortizedGP(model, theta=theta)


@pytest.fixture(scope="module")
def fits():
    """By what is uncertain."""
    data = tiny_data()
    return {
        "nothing": fit(*tiny_pair(2), data, jackknife=False, **QUICK),
        "drift": fit(*tiny_pair(2), data, **QUICK),
        "theta": fit(*posterior_pair(), data, **QUICK),
        "delta": fit(*posterior_pair(AutoDelta), data, **QUICK),
    }


@pytest.fixture(autouse=True)
def _restless():
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def ask(result, seed):
    fc = result.predict(Y0, TIMES, seed=seed, num_samples=4, num_theta=2, max_step=0.05)
    return torch.stack([fc.mean, fc.sd, fc.parameter_var, fc.quantile(0.9)])


def globals_now():
    return (
        torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002
        random.getstate(),
        {name: value.tolist() for name, value in pyro.get_param_store().items()},
        torch.distributions.Distribution._validate_args,
        pyro.settings.get(),
        torch.is_grad_enabled(),
    )


def in_four_threads(function, arguments):
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(function, arguments))


@pytest.mark.parametrize(
    "kind", ["nothing", "drift", "theta", pytest.param("delta", marks=pytest.mark.slow)]
)
def test_forecasts_from_four_threads_are_those_of_one(fits, kind):
    result = fits[kind]
    assert result.is_point == (kind in ("nothing", "delta"))
    pyro.param("drift.net$$$macro.linear.weight", torch.tensor(3.0))  # as one of ours is called
    before = globals_now()
    expected = [ask(result, seed) for seed in SEEDS]
    assert globals_now() == before
    found = in_four_threads(lambda seed: ask(result, seed), SEEDS)
    assert [k for k in SEEDS if not torch.equal(found[k], expected[k])] == []
    assert globals_now() == before


def test_forecasts_of_several_fits_at_once_are_those_of_one_after_the_other(fits):
    jobs = [(result, seed) for seed in range(3) for result in fits.values()]
    expected = [ask(*job) for job in jobs]
    found = in_four_threads(lambda job: ask(*job), jobs)
    assert all(map(torch.equal, found, expected))


def test_a_point_is_forecast_without_pyro(fits, monkeypatch):
    """No store, no flag, no handler, no global random state: they belong to the process."""
    expected = ask(fits["drift"], 0)

    def forbidden(*_, **__):
        raise AssertionError("a switch of the process")

    for owner, name in (
        (torch.random, "fork_rng"),
        (torch, "manual_seed"),
        (torch, "set_rng_state"),
        (pyro, "validation_enabled"),
        (pyro, "module"),
        (pyro, "param"),
        (pyro, "sample"),
        (pyro.get_param_store(), "scope"),
    ):
        monkeypatch.setattr(owner, name, forbidden)
    assert torch.equal(ask(fits["drift"], 0), expected)


@pytest.mark.parametrize("kind", [pytest.param("nothing", marks=pytest.mark.slow), "theta"])
def test_one_forecast_may_be_asked_from_several_threads(fits, kind, monkeypatch):
    monkeypatch.setattr(forecasting, "_CHUNK", 2**12)  # several windows of time

    def forecast():
        return fits[kind].predict(Y0, np.linspace(0, 0.05, 30), num_samples=40, max_step=0.05)

    def read(fc, what):
        if what == 0:
            return fc.mean
        return fc.quantile(0.8) if what == 1 else torch.cat([draws for _, draws in fc.chunks()], 1)

    alone = forecast()
    expected = [read(alone, what) for what in range(3)]
    for _ in range(3):
        fc = forecast()
        found = in_four_threads(lambda k, fc=fc: read(fc, k % 3), range(9))
        assert all(torch.equal(found[k], expected[k % 3]) for k in range(9))


@pytest.mark.parametrize("kind", [pytest.param("nothing", marks=pytest.mark.slow), "theta"])
def test_later_training_does_not_reach_into_a_forecast(kind):
    """Nor is the drift that paths were made with another one afterwards."""
    pair = tiny_pair(2) if kind == "nothing" else posterior_pair()
    result = fit(*pair, tiny_data(), jackknife=False, **QUICK)
    fc = result.predict(Y0, TIMES, num_samples=6, max_step=0.05)
    z = torch.randn(1, 1, 1, 7)
    clock = torch.zeros(1, 1, dtype=torch.float64)
    with torch.no_grad():
        drift = fc.theta[0].drift(z, clock)
        expected = deepcopy(fc).mean
        for owner in pair:
            for value in owner.state_dict().values():
                if value.is_floating_point():
                    value.mul_(1.5)
        assert torch.equal(fc.theta[0].drift(z, clock), drift)
    assert torch.equal(fc.mean, expected)


def finished(result):
    return {**snapshot(result.model), **snapshot(result.guide)}


@pytest.mark.parametrize("pair", [pytest.param(tiny_pair, marks=pytest.mark.slow), posterior_pair])
def test_two_fits_at_once_are_those_of_one_after_the_other(pair):
    def train(seed):
        result = fit(*pair(), tiny_data(seed=seed), seed=seed, **{**QUICK, "steps": 6})
        return finished(result), ask(result, 0)

    before = globals_now()
    expected = [train(seed) for seed in range(3)]
    found = in_four_threads(train, range(3))
    for (weights, forecast), (own, other) in zip(found, expected, strict=True):
        assert same(weights, own)
        assert torch.equal(forecast, other)
    assert globals_now() == before


@pytest.mark.parametrize("kind", ["drift", "theta"])
def test_forecasts_while_another_model_is_trained(fits, kind):
    def train():
        return finished(fit(*tiny_pair(2), tiny_data(), **{**QUICK, "steps": 10}))

    expected, alone = [ask(fits[kind], seed) for seed in range(6)], train()
    with ThreadPoolExecutor(2) as pool:
        training = pool.submit(train)
        found = [ask(fits[kind], seed) for seed in range(6)]
        assert same(training.result(), alone)
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("kind", [pytest.param("nothing", marks=pytest.mark.slow), "theta"])
def test_forecasts_of_a_model_that_is_being_trained_do_not_disturb_it(kind):
    """What they forecast is the model between two of its steps."""
    make = tiny_pair if kind == "nothing" else posterior_pair
    data, long = tiny_data(), {**QUICK, "steps": 20}
    pairs = [make(2) if kind == "nothing" else make() for _ in range(2)]
    results = [fit(*pair, data, **QUICK) for pair in pairs]
    alone = finished(fit(*pairs[0], data, **long))
    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(fit, *pairs[1], data, **long)
        while not training.done():
            assert ask(results[1], 0).isfinite().all()
        assert same(finished(training.result()), alone)


@pytest.mark.parametrize("kind", ["drift", pytest.param("theta", marks=pytest.mark.slow)])
def test_a_forecast_does_not_wait_for_the_end_of_a_fit(fits, kind, monkeypatch):
    begun, enough, one_step = threading.Event(), threading.Event(), Trainer.one_step

    def watched(self):
        begun.set()
        if enough.is_set():
            raise KeyboardInterrupt
        return one_step(self)

    monkeypatch.setattr(Trainer, "one_step", watched)
    with ThreadPoolExecutor(2) as pool:
        training = pool.submit(fit, *tiny_pair(2), tiny_data(), **{**QUICK, "steps": 10**7})
        try:
            assert begun.wait(60)
            pool.submit(ask, fits[kind], 0).result(60)
            assert not training.done()
        finally:
            enough.set()
        assert training.result(60).training.interrupted
