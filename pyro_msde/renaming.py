"""Old names of arguments and attributes: they go on working for a while, with a FutureWarning.

`CHANGELOG.md` has the table of them all, old and new.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from pyro_msde.errors import warn

__all__ = ["renamed_arguments", "renamed_attribute", "tell_renamed"]

_SINCE, _GONE_IN = "0.1", "0.3"  # versions between which both names work

F = TypeVar("F", bound=Callable[..., Any])


def renamed_arguments(**new_names: str) -> Callable[[F], F]:
    """Decorator: a function, or a class, takes keyword arguments by their old names, too.

    Args:
        **new_names: Today's name by old name, as in `renamed_arguments(parameters="covariates")`.

    Raises:
        TypeError: When the function is called with an argument by both of its names.
    """

    def decorate(function: F) -> F:
        if isinstance(function, type):
            setattr(function, "__init__", decorate(vars(function)["__init__"]))  # noqa: B010
            return function

        @wraps(function)
        def accept(*args: Any, **arguments: Any) -> Any:
            for old in new_names.keys() & arguments.keys():
                new = new_names[old]
                if new in arguments:
                    raise TypeError(f"{old}: the old name of {new}, given too. Give {new} alone.")
                tell_renamed(old, new)
                arguments[new] = arguments.pop(old)
            return function(*args, **arguments)

        return cast(F, accept)

    return decorate


def renamed_attribute(old: str, new: str) -> Any:
    """A property that reads an attribute by its old name."""

    def read(owner: Any) -> Any:
        tell_renamed(old, new)
        return getattr(owner, new)

    return property(read, doc=f"The old name of `{new}`.")


def tell_renamed(old: str, new: str) -> None:
    """Warn the user, at the line that used the old name."""
    warn(
        f"{old} is called {new} since version {_SINCE}; the old name goes in {_GONE_IN}.",
        FutureWarning,
    )
