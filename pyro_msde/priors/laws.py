"""Random attributes of a part whose laws are made of its buffers, and so go where it goes.

A distribution has no `to` of its own. Its tensors therefore are buffers of the part, which follow
it to a device or a dtype, and whenever Pyro asks for the law it is made of them anew. They belong
to no saved state, as a prior does not.
"""

from __future__ import annotations

from copy import deepcopy
from functools import partial
from typing import Any

from pyro.nn import PyroModule, PyroSample
from torch import Tensor

__all__ = ["add_site"]


def add_site(part: PyroModule, name: str, law: Any) -> None:
    """Give a part a random attribute, and so a site `<part>.<name>`.

    Args:
        part: It gets buffers `<name>_law0`, `<name>_law1`, … beside the attribute.
        name: Of the attribute.
        law: Its distribution, made of others or of transforms as it may be.
    """
    copies: dict[int, Any] = {}
    law = deepcopy(law, copies)
    tensors = [x for x in copies.values() if isinstance(x, Tensor)]
    for k, tensor in enumerate(tensors):
        part.register_buffer(f"{name}_law{k}", tensor, persistent=False)
    # a partial, as functions within functions cannot be pickled
    setattr(part, name, PyroSample(partial(_law_of, name=name, law=law, tensors=tensors)))


def _law_of(part: PyroModule, name: str, law: Any, tensors: list[Tensor]) -> Any:
    """A copy of a law in which buffers take the place of the tensors that it was made of."""
    return deepcopy(law, {id(x): part._buffers[f"{name}_law{k}"] for k, x in enumerate(tensors)})
