"""Fixtures for all tests: the seed, the guard on globals, `dtype` and `device`.

Public calls are under watch (`watched_calls`), before any test imports them.
"""

from __future__ import annotations

import os

# One thread a process, set before torch is imported: two OpenMP threads beside another busy process
# wait for each other, which made a step fifty times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import signal
from collections.abc import Iterator
from typing import Any

import pyro
import pytest
import torch
from pyro.poutine.runtime import _PYRO_STACK
from watched_calls import watch

import pyro_msde
import pyro_msde.guides
import pyro_msde.models

# A shell that starts the tests in the background lets them ignore Ctrl-C, which some send.
signal.signal(signal.SIGINT, signal.default_int_handler)

watch(pyro_msde)
watch(pyro_msde.models)
for _kind in (pyro_msde.Fit, pyro_msde.Forecast, pyro_msde.Ensemble):
    watch(_kind)
watch(pyro_msde.guides.AmortizedGP, "__init__")
watch(pyro_msde.guides.UnamortizedGP, "__init__", "start_nodes")


def _globals() -> dict[str, Any]:
    return {
        "default dtype": torch.get_default_dtype(),
        "torch validation flag": torch.distributions.Distribution._validate_args,
        "gradient mode": torch.is_grad_enabled(),
        "Pyro's stack of effects": len(_PYRO_STACK),
        **{f"pyro setting {name}": value for name, value in pyro.settings.get().items()},
    }


def _restore(state: dict[str, Any]) -> None:
    torch.set_default_dtype(state["default dtype"])
    torch.set_grad_enabled(state["gradient mode"])
    _PYRO_STACK.clear()  # what a test left there would be in all that follow
    prefix = "pyro setting "
    pyro.settings.set(
        **{k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    )
    # after Pyro's settings, which set this one too
    torch.distributions.Distribution.set_default_validate_args(state["torch validation flag"])


@pytest.fixture(autouse=True)
def _seeded_and_guarded() -> Iterator[None]:
    """Seed torch, numpy and Pyro; no test may leave a global changed.

    A test has a parameter store of its own, for the programs that it runs itself.
    """
    before = _globals()
    pyro.set_rng_seed(0)  # torch's, numpy's and Python's generators as well
    with pyro.get_param_store().scope():
        yield
    after = _globals()
    _restore(before)
    changed = [f"{k}: {before[k]} -> {after[k]}" for k in before if before[k] != after[k]]
    if changed:
        pytest.fail(f"the test left globals changed (restored now): {'; '.join(changed)}")


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    """State dtype."""
    return request.param


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Device; CUDA is skipped where there is none."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device(request.param)


@pytest.fixture
def cuda() -> torch.device:
    """The CUDA device; skipped where there is none. For what the CPU has other tests of."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device("cuda")


_STEPS = {
    "pyro_msde.forecasts.readings.FORECAST_STEP": 1 / 50,
    "pyro_msde.interface.adjusting.CHOOSING_STEP": 1 / 50,
    "pyro_msde.interface.validation_steps.VALIDATION_STEP": 1 / 50,
}


@pytest.fixture(scope="module")
def long_steps() -> Iterator[None]:
    """Paths in up to twenty times fewer steps, where modules do not ask how exact they are.

    Most of what such modules take would be integration.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, step in _STEPS.items():
            patch.setattr(name, step)
        yield
