"""The loop of training: step after step, with what is logged, validated, saved and told of."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from pyro_msde.inference.callbacks import TrainingView
from pyro_msde.inference.trainer import Trainer
from pyro_msde.protocols import Callback

__all__ = ["train"]

_LOGGER = logging.getLogger("pyro_msde.inference")


def train(
    trainer: Trainer,
    *,
    validate: Callable[[], float] | None,
    validate_every: int,
    log_every: int = 50,
    callbacks: Sequence[Callback] = (),
    on_checkpoint: Callable[[], object] = bool,
    stop: Callable[[], bool] = bool,
) -> None:
    """Train to the end, or until nothing is gained, a stop is asked for or a callback says True.

    Args:
        trainer: At its start, or where it stopped.
        validate: Scores the current parameters, lower is better; the best are kept.
        validate_every: Steps between validations, and between checkpoints.
        log_every: Steps between entries of the history.
        callbacks: They are called when a step is whole and recorded, and its checkpoint written if
            one is due, in the caller's own random state. However training ends, the `end` of
            all of them is called; the first error is raised, later ones are logged.
        on_checkpoint: Called after each validation, and after a callback that failed.
        stop: Asked before each step.

    Raises:
        NonFiniteLossError: A term of the ELBO stopped being finite; the parameters of the last
            logging step or checkpoint are back in place.
    """
    stopped = due = validate is not None and trainer.gains_nothing  # it had ended, and is resumed
    with ExitStack() as ends:
        for callback in reversed(callbacks):  # the last one pushed is called first
            ends.push(partial(_end, callback, trainer))
        for callback in callbacks:
            callback.start(trainer.view())
        fresh = trainer.step == 0 and not trainer.history.validation_steps
        if trainer.drift_started and fresh and validate is not None:
            view = trainer.validate(validate)  # from where the drift started training can only gain
            for callback in callbacks:
                callback.validation(view)
        while trainer.step < trainer.steps and not stopped and not stop():
            trainer.window.append(trainer.one_step())
            last = trainer.step == trainer.steps
            logged = last or trainer.step % log_every == 0
            due = last or trainer.step % validate_every == 0
            view, validation = trainer.log() if logged else trainer.view(), None
            if logged or due:
                trainer.keep_good()
            if due:
                validation = None if validate is None else trainer.validate(validate)
                on_checkpoint()
            trainer.whole = True
            try:
                stopped = _tell(callbacks, view, validation)
            except Exception:
                on_checkpoint()
                raise
            if due and validate is not None and trainer.gains_nothing:
                stopped = True
                _LOGGER.info(
                    "step %d: %d validations without a better one, training ends. "
                    "fit(patience=None) goes on.",
                    trainer.step,
                    trainer.recipe.patience,
                )
        if stopped and trainer.window:
            trainer.log()
            trainer.keep_good()
        if stopped and validate is not None and not due:  # as where a run of this length ends
            view = trainer.validate(validate)
            for callback in callbacks:
                callback.validation(view)


def _tell(
    callbacks: Sequence[Callback], view: TrainingView, validation: TrainingView | None
) -> bool:
    """Call all of them; whether one asks for the end."""
    answers = [callback.step(view) for callback in callbacks]
    if validation is not None:
        answers += [callback.validation(validation) for callback in callbacks]
    return any(answers)


def _end(callback: Callback, trainer: Trainer, kind: object, error: object, trace: object) -> None:
    """Tell a callback of the end; its error is raised unless there is an earlier one."""
    try:
        callback.end(trainer.view())
    except BaseException:
        if error is None:
            raise
        _LOGGER.exception("callback %s: `end` failed", type(callback).__name__)
