"""Public calls under watch: none may change what belongs to the process, whatever comes of it.

The tests themselves draw and run Pyro's programs as they like; the library draws from states of its
own, and leaves nothing in Pyro's parameter store.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from functools import wraps
from inspect import isfunction
from typing import Any

import numpy as np
import pyro
import torch
from pyro.poutine.runtime import _PYRO_STACK

__all__ = ["process_state", "watch"]


def process_state() -> dict[str, Any]:
    """What a call has to leave as it was, by name, in a form that can be compared."""
    numpy_state = np.random.get_state()  # noqa: NPY002
    return {
        "torch's random state": torch.get_rng_state().numpy().tobytes(),
        "numpy's random state": (numpy_state[1].tobytes(), *numpy_state[2:]),
        "Python's random state": random.getstate(),
        "Pyro's parameter store": {k: id(v) for k, v in pyro.get_param_store()._params.items()},
        "Pyro's stack of effects": [id(handler) for handler in _PYRO_STACK],
        "Pyro's settings": pyro.settings.get(),
        "torch's validation flag": torch.distributions.Distribution._validate_args,
        "gradient mode": torch.is_grad_enabled(),
    }


def watch(owner: Any, *names: str) -> None:
    """Replace functions of a module, or methods of a class, by the same under watch.

    Args:
        owner: Where they are looked up.
        names: Theirs; all public functions of the owner unless given.
    """
    for name in names or [n for n, f in vars(owner).items() if isfunction(f) and n[0] != "_"]:
        setattr(owner, name, _watched(getattr(owner, name)))


def _watched(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if _others_run():  # whose turn it may be
            return function(*args, **kwargs)
        before = process_state()
        try:
            return function(*args, **kwargs)
        finally:
            after = process_state()
            changed = [name for name in before if before[name] != after[name]]
            if changed:
                raise AssertionError(f"{function.__qualname__} changed {', '.join(changed)}")

    return call


def _others_run() -> bool:
    own = threading.current_thread()
    return any(t is not own and not t.daemon for t in threading.enumerate())
