"""A training run to its `Fit`: checkpoints on the way, and whatever stops it.

What is saved on the way is where training stands after a whole step. What is made of it for a `Fit`
that is wanted before the end, such as another validation, is no part of that: the run goes on from
there as if it had not been stopped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pyro_msde.data import Trajectories
from pyro_msde.errors import SavedRunError, warn
from pyro_msde.forecasts import learned_region
from pyro_msde.inference import (
    Trainer,
    all_finite,
    close_observation_variances,
    each_trajectory,
    has_observation_variances,
    jackknife,
)
from pyro_msde.interface.description import description_of, weights_of
from pyro_msde.interface.fitted import Fit
from pyro_msde.interruption import Interruption
from pyro_msde.isolation import Isolation
from pyro_msde.networks import offers
from pyro_msde.protocols import LastLayer
from pyro_msde.runs import State, write_run

__all__ = ["TrainingRun"]


@dataclass
class TrainingRun:
    """One run and what it writes.

    Args:
        trainer: At its start, or restored.
        result: The fit, filled in as training goes on.
        data: Training trajectories.
        score: Of the fit as it is, lower is better; None: nothing validates.
        every: Steps between validations, and between checkpoints.
        folder: Where to save; None: nowhere.
        stop: Whether and how to stop.
    """

    trainer: Trainer
    result: Fit
    data: Trajectories
    score: Callable[[Fit], float] | None
    every: int
    folder: Path | None
    stop: Interruption
    _told: set[Any] = field(default_factory=set)  # causes of failed writes that were warned of

    def learn(self, *, resumed: bool, progress: bool, measure: bool) -> Fit:
        """Train, then put Σ_y in place and measure what the drift owes to single trajectories.

        Args:
            resumed: The trainer is where an earlier run stopped.
            progress: Show a progress bar.
            measure: Do the latter, unless a stop is asked for.

        Returns:
            The fit; when stopped, what was learned till then.
        """
        self._train(resumed, progress)
        trainer, stopped = self.trainer, self.stop.requested
        torn = not (trainer.whole and all_finite(trainer.weights()))
        if torn and stopped:
            trainer.load_weights(trainer.good)
        state = None if self.folder is None else trainer.state()
        try:
            self._finish(stopped, measure)
        except KeyboardInterrupt:
            self.stop.note()
        self.result.interrupted = self.stop.requested
        if self.folder is not None and not (torn and stopped):
            self._save_in_the_end(self.folder, state if self.stop.requested else None)
        return self.result

    def _train(self, resumed: bool, progress: bool) -> None:
        began, before = time.perf_counter(), self.result.seconds

        def keep() -> None:
            self.result.seconds = before + time.perf_counter() - began
            if self.folder is not None:
                self._save_on_the_way(self.folder)

        try:
            if not resumed:
                self.trainer.warm_start()
            self.trainer.run(
                validate=None if self.score is None else self._validated,
                every=self.every,
                on_checkpoint=keep,
                progress=progress,
                stop=lambda: self.stop.requested,
            )
        except KeyboardInterrupt:  # of the model's own, or from a handler of the user's
            self.stop.note()
        self.result.seconds = before + time.perf_counter() - began

    def _finish(self, stopped: bool, measure: bool) -> None:
        """From the last parameters to the fit; a stop asked for within it leaves out the rest."""
        trainer, result = self.trainer, self.result
        if stopped and self.score is not None and not self.stop.terminated:
            if trainer.history.validation_steps[-1:] != [trainer.step]:
                trainer.validate(self._validated)
        trainer.keep_best()
        self._describe()
        if self.stop.terminated:
            return
        trainer.measure_variances()
        if has_observation_variances(result.model):
            with trainer.isolation.turn():
                pieces = each_trajectory(result, self.data)
                close_observation_variances(result.model, result.guide, pieces)
        if measure and offers(result.model, LastLayer) and len(self.data) > 1:
            self._measure()

    def _measure(self) -> None:
        """As `Fit.jackknifed` does, unless a stop has been asked for before the last trajectory."""
        result = self.result
        pieces = self.stop.each(each_trajectory(result, self.data))
        with Isolation(0, self.trainer.device).turn():
            result.uncertainty = jackknife(result.model, result.guide, pieces)

    def _validated(self) -> float:
        self._describe()
        return 0.0 if self.score is None else self.score(self.result)

    def _describe(self) -> None:
        """Let the fit be of the parameters as they are now."""
        trainer, result = self.trainer, self.result
        result.steps, result.history = trainer.step, trainer.history
        with trainer.aside():
            result.region = learned_region(result.model, result.guide, trainer.segments)

    def _save_on_the_way(self, folder: Path) -> None:
        """The best parameters till now and where training stands; a full disk stops nothing."""
        state = self.trainer.state()
        with self.trainer.best_in_place():
            self._describe()
            error = _written(folder, replace(self.result, interrupted=True), state)
        if error is None:
            return
        cause = type(error.__cause__), getattr(error.__cause__, "errno", None)
        if cause not in self._told:
            self._told.add(cause)
            warn(
                f"checkpoint: step {self.trainer.step} could not be saved; training goes on. "
                f"{error}"
            )

    def _save_in_the_end(self, folder: Path, state: State | None) -> None:
        error = _written(folder, self.result, state)
        if error is not None:
            warn(
                f"checkpoint: the fit could not be saved, but is returned: keep it with "
                f"fit.save(another folder). {error}"
            )


def _written(folder: Path, fit: Fit, state: State | None) -> SavedRunError | None:
    """Write a generation; what went wrong, if it did."""
    try:
        write_run(folder, description_of(fit), weights_of(fit), state)
    except SavedRunError as error:
        return error
    return None
