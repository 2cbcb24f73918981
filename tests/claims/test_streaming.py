"""Fields of many samples stream: no tensor holds more than a window of time."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import pyro_msde
from pyro_msde import Fit, Forecast
from pyro_msde.data import Scaling
from pyro_msde.forecasts import posterior_predictive as forecasting
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import burgers2d

SAMPLES, TIMES, POINTS = 50, 15, 128 * 128  # 12 million numbers
WINDOW = 5 * SAMPLES * POINTS  # five times fit in 2²² numbers


class Largest(TorchDispatchMode):
    """How many numbers the largest tensor that any operation makes has in memory."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **kwargs or {})
        for x in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(x, torch.Tensor):
                held = x.untyped_storage().nbytes() // x.element_size()
                self.numbers = max(self.numbers, held)
        return out


@pytest.fixture(scope="module")
def plane():
    """Forecast of the published Burgers grid with paths that wander, and a truth."""
    model = burgers2d(0)
    guide = AmortizedGP(model)
    steps = 0.1 * torch.randn(1, SAMPLES, 1, TIMES, 64, generator=torch.Generator().manual_seed(0))
    fc = Forecast(
        times=np.linspace(0, 1, TIMES),
        paths=steps.cumsum(3),
        batched=False,
        has_channel=False,
        model=model,
        theta=[model.bind(guide.read_theta())],
        scaling=Scaling((2.0,), 1.0),
    )
    truth = np.random.default_rng(1).normal(size=fc.shape)
    return fc, truth


@pytest.mark.parametrize(
    "ask",
    [
        lambda fc, _: (fc.mean, fc.var, fc.reconstruction_var, fc.parameter_var),
        lambda fc, _: fc.quantile(0.95),
        lambda fc, truth: fc.cdf(truth),
        lambda fc, _: [draws.shape for _, draws in fc.chunks()],
        lambda fc, truth: pyro_msde.crps(fc, truth),
        pytest.param(
            lambda fc, truth: pyro_msde.calibration(fc, truth, levels=(0.9,)),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["moments", "quantile", "cdf", "chunks", "crps", "calibration"],
)
def test_samples_of_all_times_never_materialise(ask, plane, monkeypatch):
    monkeypatch.setattr(forecasting, "_KEEP", 0)
    with Largest() as largest:
        ask(*plane)
    assert SAMPLES * POINTS <= largest.numbers <= WINDOW
    assert not plane[0]._kept
    plane[0]._cache.clear()


@pytest.mark.parametrize("what", ["moments", "quantile", "cdf"])
def test_nothing_of_a_window_outlives_the_next(what, plane, monkeypatch):
    """What is kept lies in arrays made beforehand: between large ones, small ones hold memory."""
    fc, truth = plane
    monkeypatch.setattr(forecasting, "_KEEP", 0)
    seen, decode = [], Forecast._decode

    def watched(self):
        for window in decode(self):
            seen.append(weakref.ref(window.moments["mean"]))
            # the last one's are still in the caller's hands
            assert [r() is None for r in seen[:-2]] == [True] * len(seen[:-2])
            yield window

    def answer(window, *_):
        return window.moments["mean"]

    monkeypatch.setattr(Forecast, "_decode", watched)
    for name in ("quantile", "cdf"):
        monkeypatch.setattr(forecasting.Mixture, name, answer)
    fc.mean if what == "moments" else getattr(fc, what)(0.5 if what == "quantile" else truth)
    assert len(seen) == 3
    fc._cache.clear()


def test_a_fit_predicts_more_samples_without_decoding_any(monkeypatch):
    model = burgers2d(0)
    fit = Fit(model, AmortizedGP(model), Scaling((2.0,), 1.0))
    with Largest() as largest:
        fc = fit.predict(np.zeros((128, 128)), [0.0, 0.01, 0.02], num_samples=300)
    assert fc.shape == (3, 128, 128)
    assert largest.numbers < 300 * POINTS
