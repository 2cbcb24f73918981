"""Which models belong to a `Fit`, so that training them again does not change it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from pyro_msde.errors import warn
from pyro_msde.protocols import Guide, Model

if TYPE_CHECKING:
    from pyro_msde.interface.fitted import Fit

__all__ = ["belongs", "free_of_fits", "with_copies"]

_OWNED: WeakSet[Any] = WeakSet()


def belongs(model: Model) -> None:
    """Note that a model belongs to a fit."""
    _OWNED.add(model)


def free_of_fits(model: Model, guide: Guide) -> tuple[Model, Guide]:
    """The model and its guide, or copies where the model belongs to a fit."""
    return deepcopy((model, guide)) if model in _OWNED else (model, guide)


def with_copies(fit: Fit) -> Fit:
    """The fit with copies of its model and guide, which belong to it.

    What cannot be copied is shared with the user, and a warning says so: training is not lost.
    """
    try:
        model, guide = deepcopy((fit.model, fit.guide))
    except Exception as error:  # whatever a module of the user's own may raise
        warn(
            f"fit: its model or guide cannot be copied ({error!r}), so that the Fit shares them "
            "with you. Training them again would change it."
        )
        return fit
    belongs(model)
    return replace(fit, model=model, guide=guide)
