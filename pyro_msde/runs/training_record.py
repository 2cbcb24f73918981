"""How a fit came about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pyro_msde.runs.history import History
from pyro_msde.runs.recipes import Recipe

__all__ = ["TrainingRecord"]


@dataclass(frozen=True)
class TrainingRecord:
    """How a fit came about.

    Attributes:
        history: The ELBO's terms and the validation scores over the steps.
        steps: Steps trained.
        seconds: Time spent training.
        interrupted: Training was stopped before its end.
        segment: Observations and mean duration of the segments it was trained on, the latter in the
            data's time units; None: not known.
        recipe: How it was trained; None: not known.
        identity: By which `fit(checkpoint=…)` knows the run again; None: not known.
    """

    history: History = field(default_factory=History)
    steps: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    segment: tuple[int, float] | None = None
    recipe: Recipe | None = None
    identity: dict[str, Any] | None = None
