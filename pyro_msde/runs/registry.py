"""Names under which models, guides and adjustments register, so that saved runs can be rebuilt.

Importing a model's module registers it here. The library never imports its models, but in one
place: where a name is asked for that nobody has registered, it looks among the package's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from pyro_msde.checks import check_choice
from pyro_msde.protocols import Adjustment, Model

__all__ = [
    "adjustments_of_users",
    "build",
    "check_adjustment_names",
    "check_size",
    "config_of",
    "is_registered",
    "limited",
    "rebuild",
    "rebuild_adjustment",
    "register",
    "register_adjustment",
]

_FACTORIES: dict[str, Callable[..., Any]] = {}
_ADJUSTMENTS: dict[str, type[Adjustment]] = {}
_MOST: ContextVar[int] = ContextVar("_MOST", default=2**28)  # numbers, a gigabyte in float32

F = TypeVar("F", bound=Callable[..., Any])
A = TypeVar("A", bound=type[Adjustment])


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
        _register_own()
    if name not in _FACTORIES:
        known = ", ".join(sorted(_FACTORIES))
        raise ValueError(f"{name!r} is not a registered case; known: {known}.")
    return _FACTORIES[name](*args, **config)


def rebuild(config: Mapping[str, Any], *args: Any) -> Any:
    """Build from a saved config {"case": name, **arguments}."""
    arguments = dict(config)
    return build(arguments.pop("case"), *args, **arguments)


def config_of(module: object) -> dict[str, Any] | None:
    """What `rebuild` builds a model or guide again from; None: it is of the user's own making."""
    return getattr(module, "config", None)


def register_adjustment(kind: A) -> A:
    """Class decorator: `load` makes adjustments of this class again.

    Raises:
        ValueError: Its `name` is none, or another class's.
    """
    taken = _ADJUSTMENTS.get(kind.name, kind)
    if (taken.__module__, taken.__qualname__) != (kind.__module__, kind.__qualname__):
        raise ValueError(f"name: {kind.name!r} is that of {taken.__qualname__}. Choose another.")
    if not kind.name.isidentifier():
        raise ValueError(f"name: {kind.name!r}. Use letters, digits and underscores.")
    _ADJUSTMENTS[kind.name] = kind
    return kind


def check_adjustment_names(names: Iterable[str], others: Iterable[Adjustment]) -> None:
    """Refuse names that neither are registered nor belong to one of the others.

    Raises:
        ValueError: One is not known.
    """
    known = sorted({*_ADJUSTMENTS, *(adjustment.name for adjustment in others)})
    for name in names:
        check_choice("names", name, known)


def is_registered(adjustment: Adjustment) -> bool:
    """Whether `load` makes adjustments of this class again."""
    return _ADJUSTMENTS.get(adjustment.name) is type(adjustment)


def adjustments_of_users(adjustments: Iterable[Adjustment]) -> list[str]:
    """Names of those whose classes are none of the library's."""
    return [a.name for a in adjustments if not type(a).__module__.startswith("pyro_msde.")]


def rebuild_adjustment(name: str, saved: Mapping[str, Any], model: Model) -> Adjustment:
    """An adjustment from what a saved run holds of it, the `to_dict` of one of this name.

    Raises:
        ValueError: Nothing is registered under this name, or it does not fit the model.
    """
    if name not in _ADJUSTMENTS:
        raise ValueError(
            f"adjustments: {name!r} is not registered; known: {', '.join(sorted(_ADJUSTMENTS))}. "
            "Import the module that registers it before loading"
        )
    return _ADJUSTMENTS[name].from_dict(saved, model)


@contextmanager
def limited(numbers: int) -> Iterator[None]:
    """Have factories refuse, within, to build what holds more than so many numbers.

    Outside they refuse what takes more than a gigabyte.
    """
    token = _MOST.set(numbers)
    try:
        yield
    finally:
        _MOST.reset(token)


def check_size(what: str, numbers: int) -> None:
    """What a factory calls before it makes something as large.

    Raises:
        ValueError: It is more than `limited` allows.
    """
    most = _MOST.get()
    if numbers > most:
        raise ValueError(f"{what}: takes {numbers:,} numbers, and at most {most:,} can be right.")


def _register_own() -> None:
    """Import the package's models and guides; what the user has registered stays."""
    users = dict(_FACTORIES)
    from pyro_msde import guides, models  # noqa: F401, TID251

    _FACTORIES.update(users)
