"""Names under which models and guides register, so that saved runs can be rebuilt from JSON.

The library never imports its models; importing a model's module registers it here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

__all__ = ["build", "rebuild", "register"]

_FACTORIES: dict[str, Callable[..., Any]] = {}

F = TypeVar("F", bound=Callable[..., Any])


def register(name: str) -> Callable[[F], F]:
    """Decorator: make a factory known under `name`; the last one to register a name wins."""

    def keep(factory: F) -> F:
        _FACTORIES[name] = factory
        return factory

    return keep


def build(name: str, *args: Any, **config: Any) -> Any:
    """Call the factory registered under `name`.

    Raises:
        ValueError: Nothing is registered under this name.
    """
    if name not in _FACTORIES:
        known = ", ".join(sorted(_FACTORIES)) or "none (import pyro_msde.models first)"
        raise ValueError(f"{name!r} is not a registered case; known: {known}.")
    return _FACTORIES[name](*args, **config)


def rebuild(config: Mapping[str, Any], *args: Any) -> Any:
    """Build from a saved config {"case": name, **arguments}."""
    arguments = dict(config)
    return build(arguments.pop("case"), *args, **arguments)
