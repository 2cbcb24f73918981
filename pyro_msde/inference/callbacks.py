"""Who follows training: what they see, and those that `fit` has itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tqdm import tqdm

from pyro_msde.checks import check_kind
from pyro_msde.protocols import Callback, Guide, Model
from pyro_msde.runs import History

__all__ = ["Log", "ProgressBar", "Recorder", "TrainingView", "check_callbacks"]

_LOGGER = logging.getLogger("pyro_msde.inference")


@dataclass(frozen=True)
class TrainingView:
    """What a callback sees of a run.

    Attributes:
        step: Steps that have been taken.
        steps: Length of the run.
        model: With the parameters of now, to be read only.
        guide: Likewise.
        terms: Of the ELBO by name, averaged since they were logged last, in nats for data in the
            user's units. None at steps that are not logged: an accelerator would have to wait.
        score: Of the validation at this step, lower is better. None at other steps.
    """

    step: int
    steps: int
    model: Model
    guide: Guide
    terms: Mapping[str, float] | None = None
    score: float | None = None


class Recorder(Callback):
    """Puts terms and scores into a history."""

    def __init__(self, history: History) -> None:
        self.history = history

    def step(self, view: TrainingView) -> None:
        """Record the terms of a logged step."""
        if view.terms is not None:
            self.history.record(view.step, view.terms)

    def validation(self, view: TrainingView) -> None:
        """Record the score."""
        if view.score is not None:
            self.history.validation_steps.append(view.step)
            self.history.validation.append(view.score)


class Log(Callback):
    """Tells Python's logger `pyro_msde.inference` of validations and stops, at level INFO."""

    def validation(self, view: TrainingView) -> None:
        """Tell the score."""
        self.tell(f"step {view.step}: validation NRMSE {view.score:.2%}")

    def end(self, view: TrainingView) -> None:
        """Tell of an end before the last step."""
        if view.step < view.steps:
            self.tell(f"step {view.step}: training stopped before step {view.steps}")

    def tell(self, message: str, level: int = logging.INFO) -> None:
        """Pass a message on."""
        _LOGGER.log(level, message)


class ProgressBar(Log):
    """Shows a bar, and above it what goes to the log."""

    bar: Any = None

    def start(self, view: TrainingView) -> None:
        """Show the bar."""
        self.bar = tqdm(total=view.steps, initial=view.step, unit="step")

    def step(self, view: TrainingView) -> None:
        """Move it on."""
        self.bar.update()
        if view.terms is not None:
            self.bar.set_postfix_str(f"elbo {view.terms['elbo']:.4g}", refresh=False)

    def end(self, view: TrainingView) -> None:
        """Close it."""
        super().end(view)
        self.bar.close()

    def tell(self, message: str, level: int = logging.INFO) -> None:
        """Pass a message on, and write it above the bar; Python itself shows warnings."""
        super().tell(message, level)
        if level < logging.WARNING:
            self.bar.write(message)


def check_callbacks(callbacks: Any) -> list[Callback]:
    """The callbacks as a list.

    Raises:
        ValueError: They are no list or tuple, or one of them is no callback.
    """
    check_kind("callbacks", callbacks, Sequence, "a list of callbacks")
    for k, callback in enumerate(callbacks):
        if isinstance(callback, type) or not isinstance(callback, Callback):
            raise ValueError(
                f"callbacks: number {k} is {callback!r}. Pass an object of a class derived from "
                "pyro_msde.Callback."
            )
    return list(callbacks)
