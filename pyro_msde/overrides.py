"""Whether a network still does what the library's class of its kind does.

Some steps look inside a network: a regression that starts it, a jackknife of its last weights, a
variance put in place. They know what the library's own classes do there, not what a subclass does
that has its own forward pass.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

__all__ = ["overrides"]


def overrides(module: Any, kind: type, *names: str) -> bool:
    """Whether a network of a kind has methods of its own: by a subclass, by assignment, by hooks.

    A subclass that only has another constructor has none.

    Args:
        module: An instance of `kind`.
        kind: The library's class.
        names: The methods that matter; all of them unless given.
    """
    if module._forward_hooks or module._forward_pre_hooks:
        return True
    wanted = names or _methods(kind)
    own, there = type(module), vars(module)
    return any(name in there or getattr(own, name) is not getattr(kind, name) for name in wanted)


def _methods(kind: type) -> set[str]:
    """Names of the methods and properties that the library gives a class, and `forward`."""
    ours = [c for c in kind.__mro__ if c.__module__.partition(".")[0] == __package__]
    found = {
        name
        for c in ours
        for name, value in vars(c).items()
        if isinstance(value, FunctionType | property) and not name.startswith("__")
    }
    return found | {"forward"}
