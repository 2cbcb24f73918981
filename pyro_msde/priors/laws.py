"""Random attributes of a part whose laws are made of its buffers, and so go where it goes.

A distribution has no `to` of its own. Its tensors therefore are buffers of the part, which follow
it to a device or a dtype, and whenever Pyro asks for the law it is made of them anew. They belong
to no saved state, as a prior does not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pyro.nn import PyroModule, PyroSample
from torch import Tensor
from torch.distributions import Distribution, Transform

__all__ = ["add_site"]


def add_site(part: PyroModule, name: str, law: Any) -> None:
    """Give a part a random attribute, and so a site `<part>.<name>`.

    Args:
        part: It gets buffers `<name>_law0`, `<name>_law1`, … beside the attribute.
        name: Of the attribute.
        law: Its distribution, made of others or of transforms as it may be.
    """
    tensors: list[Tensor] = []

    def noted(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    law = _rebuilt(law, noted, {})  # a copy of our own: whoever uses theirs may cache more in it
    for k, tensor in enumerate(tensors):
        part.register_buffer(f"{name}_law{k}", tensor, persistent=False)
    # a partial, as functions within functions cannot be pickled
    setattr(part, name, PyroSample(partial(_law_of, name=name, law=law)))


def _law_of(part: PyroModule, name: str, law: Any) -> Any:
    """The law of a part's random attribute, of the buffers as they are now."""
    count = 0

    def buffer(_: Tensor) -> Any:
        nonlocal count
        count += 1
        return part._buffers[f"{name}_law{count - 1}"]

    return _rebuilt(law, buffer, {})


def _rebuilt(value: Any, change: Callable[[Tensor], Tensor], copies: dict[int, Any]) -> Any:
    """A copy of a distribution with its tensors changed, one after the other in a fixed order.

    Args:
        value: The distribution, or what it is made of.
        change: From a tensor to the one in its place.
        copies: By identity, those that have been made: a transform and its inverse know each other.
    """
    if id(value) in copies:
        return copies[id(value)]
    if isinstance(value, Tensor):
        copies[id(value)] = change(value)
    elif type(value) in (list, tuple):
        return type(value)(_rebuilt(x, change, copies) for x in value)
    elif isinstance(value, Distribution | Transform):
        copied = copies[id(value)] = object.__new__(type(value))
        copied.__dict__.update({k: _rebuilt(x, change, copies) for k, x in vars(value).items()})
    return copies.get(id(value), value)
