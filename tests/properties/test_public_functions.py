"""Public functions with arguments spoilt at random: right, or one clear error that names them.

Each case takes a right call, replaces one or two arguments by what a user might pass by mistake,
and holds the call to what every docstring promises:

* it returns, or raises ValueError, TypeError or what it documents, with an argument's name;
* nothing that it returns is NaN;
* none of the arrays that it was given has changed;
* it ends within `SECONDS`.
"""

from __future__ import annotations

import copy
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from properties.calls import Call, calls
from properties.hostile import ANYTHING, BROKEN, DISGUISES

import pyro_msde

SECONDS = 60  # that any of these calls may take, on a machine that does other things too

CALLS = calls()


class TookTooLong(BaseException):
    """No Exception, so that nothing catches it."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Stop the body from the outside."""

    def stop(*_: Any) -> None:
        raise TookTooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


Change = tuple[str, str, Any]  # an argument, how it is spoilt, and a number or word for it


@st.composite
def changes(draw: st.DrawFn, call: Call) -> list[Change]:
    """What is done to one or two arguments."""
    names = sorted(call.arguments)
    arrays = {name for name in names if isinstance(call.arguments[name](), np.ndarray)}
    found: list[Change] = []
    for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)):
        kinds = [*ANYTHING, *ANYTHING, *(BROKEN if name in arrays else ()), *_DRAWN]
        how = draw(st.sampled_from(kinds))
        found.append((name, how, draw(_DRAWN[how]) if how in _DRAWN else None))
    return found


_DRAWN = {
    "a whole number": st.integers(-(10**6), 10**6),
    "a number": st.floats(width=32),
    "letters": st.text(max_size=3),
}


def spoilt(call: Call, done: list[Change]) -> dict[str, Any]:
    """The arguments with the changes made."""
    arguments = {name: make() for name, make in call.arguments.items()}
    for name, how, drawn in done:
        if how in _DRAWN:
            arguments[name] = drawn
        elif how in BROKEN:
            arguments[name] = BROKEN[how](arguments[name])
        else:
            arguments[name] = ANYTHING[how]()
    return arguments


def check(call: Call, done: list[Change]) -> None:
    """Hold one call to the promises above."""
    said = f"with {done}"
    arguments = spoilt(call, done)
    before = {name: fingerprint(value) for name, value in arguments.items()}
    try:
        with at_most(SECONDS):
            result = call.function(**arguments)
    except TookTooLong:
        pytest.fail(f"took more than {SECONDS} s {said}")
    except (ValueError, TypeError, *call.errors) as error:
        if not names_an_argument(error, call):
            pytest.fail(f"{type(error).__name__} {said}: {error}")
    except Exception as error:  # any other is a fault
        raise AssertionError(f"{type(error).__name__} {said}: {error}") from error
    else:
        where = nan_in(result)
        assert not where, f"NaN in {where} {said}"
    finally:
        plt.close("all")
    after = {name: fingerprint(value) for name, value in arguments.items()}
    changed = [name for name in before if before[name] != after[name]]
    assert not changed, f"changed {', '.join(changed)} {said}"


def names_an_argument(error: Exception, call: Call) -> bool:
    """Whether the message has the name of an argument, or of a part of one."""
    text = str(error)
    # `kdv(n_coarse=3)` is refused by the grid, which says coarse
    return any(name.removeprefix("n_") in text for name in call.arguments) or isinstance(
        error, pyro_msde.NonFiniteLossError
    )


def fingerprint(value: Any) -> Any:
    """Bytes of arrays and tensors; nothing for other things."""
    if isinstance(value, np.ma.MaskedArray):
        return value.data.tobytes(), np.ma.getmaskarray(value).tobytes()
    if isinstance(value, np.ndarray):
        return repr(value.tolist()) if value.dtype == object else value.tobytes()
    if isinstance(value, torch.Tensor):
        return value.detach().numpy().tobytes(), value.requires_grad
    if isinstance(value, list | dict):
        return repr(value)
    return None


def nan_in(result: Any) -> str:
    """Where a result holds NaN, in words; nothing where it does not."""
    if isinstance(result, float | np.floating):
        return "the number" if np.isnan(result) else ""
    if isinstance(result, torch.Tensor):
        result = result.detach().cpu().numpy()
    if isinstance(result, np.ndarray):
        if result.size > 10**7:  # views of little memory
            return ""
        return "the array" if result.dtype.kind == "f" and np.isnan(result).any() else ""
    if isinstance(result, pyro_msde.Forecast):
        return nan_in(result.mean) or nan_in(result.sd)
    if isinstance(result, pyro_msde.Trajectories):
        return next((w for v in result.values if (w := nan_in(v))), "")
    if isinstance(result, pyro_msde.CalibrationReport):
        return next((k for k, v in vars(result).items() if nan_in(v)), "")
    if isinstance(result, tuple | list):
        return next((w for v in result if (w := nan_in(v))), "")
    if isinstance(result, Mapping) and not isinstance(result, xr.Dataset):
        return next((f"{k}" for k, v in result.items() if nan_in(v)), "")
    return ""


@pytest.mark.filterwarnings("ignore")  # a warning is no fault here
@pytest.mark.parametrize("name", CALLS)
def test_right_arguments_are_taken(name):
    call = CALLS[name]
    if name in ("splits", "generate", "Fit.calibrated"):
        pytest.skip("takes seconds, and has tests of its own")
    check(call, [])


def _property(examples: int) -> Any:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_spoilt_arguments_are_refused_by_name(name):
    @_property(4)
    @given(changes(CALLS[name]))
    def holds(done: list[Change]) -> None:
        check(CALLS[name], done)

    holds()


@pytest.mark.slow  # 11 000 cases, about half an hour on one core
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_ten_thousand_spoilt_calls_are_refused_by_name(name):
    @_property(10_000 // len(CALLS) + 20)
    @given(changes(CALLS[name]))
    def holds(done: list[Change]) -> None:
        check(CALLS[name], done)

    holds()


TAKES_ARRAYS = [
    (name, argument)
    for name, call in CALLS.items()
    for argument, make in call.arguments.items()
    if isinstance(make(), np.ndarray) and make().dtype.kind == "f"
]


# all forms of all arguments take minutes; two of each go round by default
DISGUISED = [
    pytest.param(*place, how, marks=[] if (i + j) % 5 == 0 else pytest.mark.slow)
    for i, place in enumerate(TAKES_ARRAYS)
    for j, how in enumerate(DISGUISES)
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "argument", "how"), DISGUISED)
def test_the_form_of_an_array_does_not_matter(name, argument, how):
    call = CALLS[name]
    plain = {k: make() for k, make in call.arguments.items()}
    other = {**copy.copy(plain), argument: DISGUISES[how](plain[argument])}
    with at_most(SECONDS):
        expected, found = call.function(**plain), call.function(**other)
    for a, b in zip(numbers_in(expected), numbers_in(found), strict=True):
        np.testing.assert_array_equal(a, b)
    plt.close("all")


def numbers_in(result: Any) -> list[np.ndarray]:
    """Every number that a result is made of."""
    if isinstance(result, pyro_msde.Forecast):
        return [result.mean.numpy(), result.sd.numpy()]
    if isinstance(result, pyro_msde.Trajectories):
        own = result.covariates, *(result.controls or ()), *result.coords.values()
        return [*result.times, *result.values, *(np.asarray(a) for a in own if a is not None)]
    if isinstance(result, pyro_msde.CalibrationReport):
        return [v for v in vars(result).values() if isinstance(v, np.ndarray)]
    if isinstance(result, tuple | list):
        return [a for part in result for a in numbers_in(part)]
    if isinstance(result, torch.Tensor):
        return [result.numpy()]
    if isinstance(result, np.ndarray) and result.dtype == object:  # of axes
        return []
    return [np.asarray(result)] if isinstance(result, np.ndarray | float) else []
