"""What the library asks of replaceable parts: any object with a protocol's methods will do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pyro_msde.inference import TrainingView

__all__ = ["Callback"]


@runtime_checkable
class Callback(Protocol):
    """Follows training: `fit(callbacks=[…])` calls it. Derive from it and write what you need."""

    def start(self, view: TrainingView) -> None:
        """Called once, before the first step of a run or of what is left of it."""
        return

    def step(self, view: TrainingView) -> bool | None:
        """Called after each step; training ends with this step if the answer is True."""
        return None

    def validation(self, view: TrainingView) -> bool | None:
        """Called after each validation, and after `step`; ends training as well."""
        return None

    def end(self, view: TrainingView) -> None:
        """Called once, after the last step or an error, before Σ_y and the best are in place."""
        return
