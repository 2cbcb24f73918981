"""The process's random state, Pyro's parameter store and its checks, borrowed and given back.

Pyro runs one program at a time: its stack of effects, its store and its validation flag belong to
the process, and so does the random state that it draws from. Whatever runs model or guide as a
program therefore takes a turn: for as long as it lasts other turns wait, the store is empty, and
draws come from a random state of its own. Afterwards everything is as it was.

What only reads a model that others may be training needs no turn: it is `exclusive`, and switches
nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyro
import torch
from pyro.poutine.runtime import _PYRO_STACK
from torch import Tensor

if TYPE_CHECKING:
    from pyro_msde.protocols import Module

__all__ = ["Isolation", "cuda_devices", "exclusive", "place_of"]

_LOCK = threading.RLock()


class Isolation:
    """A random state of one's own, kept from one turn to the next.

    Args:
        seed: Of the random state.
        device: Whose random state is isolated beside the CPU's.
    """

    def __init__(self, seed: int, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        places = [torch.device("cpu"), *cuda_devices(self.device)]
        self._states = [torch.Generator(place).manual_seed(seed).get_state() for place in places]

    @property
    def state(self) -> list[Tensor]:
        """Bytes of the random state on the CPU, and on the device if it is another."""
        return list(self._states)

    def restore(self, state: Sequence[Tensor]) -> None:
        """Go on from a `state`; a device that it lacks keeps its own."""
        self._states = [*state, *self._states[len(state) :]][: len(self._states)]

    @contextmanager
    def turn(self, *, validate: bool = False) -> Iterator[None]:
        """Hold Pyro for the body, with an empty store.

        Args:
            validate: Whether Pyro and torch check their arguments.
        """
        devices = cuda_devices(self.device)
        with (
            _LOCK,
            torch.random.fork_rng(devices=devices),
            pyro.get_param_store().scope(),
            pyro.validation_enabled(validate),
        ):
            handlers = _PYRO_STACK[:]  # of a program of the user's in which we are called
            _PYRO_STACK.clear()
            torch.set_rng_state(self._states[0])
            for device, state in zip(devices, self._states[1:], strict=True):
                torch.cuda.set_rng_state(state, device)
            try:
                yield
            finally:
                _PYRO_STACK[:] = handlers
                on_devices = [torch.cuda.get_rng_state(device) for device in devices]
                self._states = [torch.get_rng_state(), *on_devices]

    @contextmanager
    def aside(self) -> Iterator[None]:
        """A turn after which the random state is as before it."""
        before = self.state
        try:
            with self.turn():
                yield
        finally:
            self.restore(before)


@contextmanager
def exclusive() -> Iterator[None]:
    """No turn begins in another thread during the body: networks are read between two steps."""
    with _LOCK:
        yield


def place_of(model: Module) -> tuple[torch.dtype, torch.device]:
    """Dtype and device of the model's tensors."""
    like = next(v for v in model.state_dict().values() if v.is_floating_point())
    return like.dtype, like.device


def cuda_devices(device: torch.device) -> list[torch.device]:
    """The device as `fork_rng` wants it: an empty list for the CPU."""
    return [] if device.type == "cpu" else [device]
