"""A training run to its `Fit`: checkpoints on the way, and whatever stops it.

What is saved on the way is where training stands after a whole step. What is made of it for a `Fit`
that is wanted before the end, such as another validation, is no part of that: the run goes on from
there as if it had not been stopped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pyro_msde.data import (
    Metadata,
    Scaling,
    Segments,
    Trajectories,
    each_trajectory,
    time_blocks,
)
from pyro_msde.errors import SavedRunError, warn
from pyro_msde.forecasts import PathNoise, Trust, learned_region, residual_memory
from pyro_msde.inference import (
    CoefficientDraws,
    FinishingStep,
    JackknifeStep,
    ObservationVarianceStep,
    Trainer,
    all_finite,
    encoded_segments,
    equation_of,
    has_observation_variances,
    is_equation_alone,
    refine_drift,
    scale_observation_variances,
    train,
)
from pyro_msde.interface.description import description_of, weights_of
from pyro_msde.interface.fitted import Fit
from pyro_msde.interruption import Interruption
from pyro_msde.isolation import Isolation
from pyro_msde.protocols import Adjustment, Callback
from pyro_msde.runs import State, TrainingRecord, write_run

__all__ = ["TrainingRun"]

_LOG = logging.getLogger(__name__)

_ROUNDS = 2
_SHORT = 1.2  # times what Σ_y and paths explain: less may be chance


@dataclass
class TrainingRun:
    """One run and what it writes.

    Args:
        trainer: At its start, or restored.
        scaling: Scaled against user's units.
        data: Training trajectories.
        identity: By which the run is known again.
        score: Of a fit, lower is better; None: nothing validates.
        judge: What validates, in scaled units; None likewise.
        usual: Of a fit, what its validation forecasts are like; None likewise.
        choose_noise: Of a fit with an equation, how much path noise its forecasts take.
        shortfall: Of such a fit, (channel,) by how much Σ_y is too small for their errors.
        validate_every: Steps between validations, and between checkpoints.
        folder: Where to save; None: nowhere.
        stop: Whether and how to stop.
        seconds: Spent training till now.
    """

    trainer: Trainer
    scaling: Scaling
    data: Trajectories
    identity: dict[str, Any]
    score: Callable[[Fit], float] | None
    judge: Segments | None
    usual: Callable[[Fit], Trust | None] | None
    choose_noise: Callable[[Fit], PathNoise | None]
    shortfall: Callable[[Fit], Any]
    validate_every: int
    folder: Path | None
    stop: Interruption
    seconds: float = 0.0
    _described: tuple[tuple[Adjustment, ...], int] = ((), 0)  # of the parameters at a step
    _told: set[Any] = field(default_factory=set)  # causes of failed writes that were warned of

    def learn(self, *, resumed: bool, callbacks: Sequence[Callback], measure: bool) -> Fit:
        """Train, then take the steps that follow training.

        Args:
            resumed: The trainer is where an earlier run stopped.
            callbacks: Who follows training.
            measure: Measure what the drift owes to parts of the data, unless a stop is asked for.

        Returns:
            The fit; when stopped, what was learned till then.
        """
        self._train(resumed, callbacks)
        trainer, stopped = self.trainer, self.stop.requested
        torn = not (trainer.whole and all_finite(trainer.weights()))
        if torn and stopped:
            trainer.load_weights(trainer.good)
        state = None if self.folder is None else trainer.state()
        adjustments: list[Adjustment] = []
        try:
            adjustments = self._finish(stopped or trainer.step < trainer.steps, measure)
        except KeyboardInterrupt:
            self.stop.note()
        result = self._fit(interrupted=self.stop.requested)
        for adjustment in adjustments:
            result = result.adjusted(adjustment, first=True)
        if trainer.has_equation and not self.stop.requested:
            result = self._with_path_noise(result)
        if self.usual is not None and not self.stop.requested:
            result = self._with_trust(result, self.usual)
        if self.folder is not None and not (torn and stopped):
            self._save_in_the_end(self.folder, result, state if self.stop.requested else None)
        return result

    def _train(self, resumed: bool, callbacks: Sequence[Callback]) -> None:
        began, before = time.perf_counter(), self.seconds

        def keep() -> None:
            self.seconds = before + time.perf_counter() - began
            if self.folder is not None:
                self._save_on_the_way(self.folder)

        try:
            if not resumed:
                self.trainer.warm_start(self.judge)
            train(
                self.trainer,
                validate=None if self.score is None else self._validated,
                validate_every=self.validate_every,
                on_checkpoint=keep,
                callbacks=callbacks,
                stop=lambda: self.stop.requested,
            )
        except KeyboardInterrupt:  # of the model's own, or from a handler of the user's
            self.stop.note()
        self.seconds = before + time.perf_counter() - began

    def _finish(self, early: bool, measure: bool) -> list[Adjustment]:
        """From the last parameters to the fit's; a stop asked for within it leaves out the rest."""
        trainer = self.trainer
        if early and self.score is not None and not self.stop.terminated:
            if trainer.history.validation_steps[-1:] != [trainer.step]:
                trainer.validate(self._validated)
        trainer.keep_best()
        if trainer.recipe.refine and not trainer.has_equation and not self.stop.requested:
            self._refine()
        self._describe()
        if self.stop.terminated:
            return []
        if not self.stop.requested:
            self._judge_memory()
        trainer.measure_variances()
        steps: list[FinishingStep] = []
        encoder = trainer.guide if trainer.has_equation else None
        if has_observation_variances(trainer.model):
            steps.append(ObservationVarianceStep(trainer.model, encoder=encoder))
        if measure and not is_equation_alone(trainer.model):
            blocks = time_blocks(self._fit(), self.data)
            steps.append(JackknifeStep(Isolation(0, trainer.device), blocks))
        found = self._take(steps)
        path = equation_of(trainer.model)
        if trainer.has_equation and path is not None and bool(path.directions.any()):
            found.append(CoefficientDraws())
        return found

    def _judge_memory(self) -> None:
        """Leave the residual's memory out if validation forecasts are better without."""
        fit = self._fit()
        if self.score is None or fit.adjustment("memory") is None:
            return
        without, with_memory = self.score(fit.without("memory")), self.score(fit)
        if without < with_memory:
            adjustments, step = self._described
            self._described = tuple(a for a in adjustments if a.name != "memory"), step
            told = (
                "forecasts do not remember residuals: validation NRMSE %.3g%% with, %.3g%% without"
            )
            _LOG.info(told, 100 * with_memory, 100 * without)

    def _refine(self) -> None:
        """Solve for the drift's last weights; what validates better is kept."""
        trainer, began = self.trainer, time.perf_counter()
        _LOG.info("solving for the drift's last weights")
        with trainer.isolation.turn():
            refined = refine_drift(
                trainer.model,
                trainer.guide,
                trainer.segments,
                stop=lambda: self.stop.requested,
            )
        if refined and self.score is not None:
            trainer.validate(self._validated, once=True)
            score = trainer.history.validation[-1]
            _LOG.info("after refining the drift: validation NRMSE %.3g%%", 100 * score)
            trainer.keep_best()
        self.seconds += time.perf_counter() - began

    def _with_path_noise(self, result: Fit) -> Fit:
        """With as much path noise as validation forecasts are better for."""
        try:
            noise = self.choose_noise(result.without("path_noise"))
            for _ in range(_ROUNDS):  # the one and the other explain the same errors
                if noise is None or not self._widened(self.shortfall(result.adjusted(noise))):
                    break
                noise = self.choose_noise(result.without("path_noise"))
        except KeyboardInterrupt:
            self.stop.note()
            return result
        if noise is None:
            return result
        told = (
            "forecasts take %g times the path noise and %g times the start's spread, by their CRPS"
        )
        _LOG.info(told, noise.scale, noise.start)
        return result.adjusted(noise)

    def _widened(self, shortfall: Any) -> bool:
        """Whether Σ_y was multiplied: it is what forecasts err by, where that is clearly more.

        Encoding leaves nothing of the noise where coarse points are as many as fine ones, and the
        equation takes it away on the way.
        """
        ratios = np.where(shortfall > _SHORT, shortfall, 1.0)
        if (ratios == 1).all() or not has_observation_variances(self.trainer.model):
            return False
        scale_observation_variances(self.trainer.model, ratios)
        told = "forecasts err by more: the variance of observations is %s times as large"
        _LOG.info(told, " ".join(f"{ratio:.3g}" for ratio in ratios))
        return True

    def _with_trust(self, result: Fit, usual: Callable[[Fit], Trust | None]) -> Fit:
        """With what its forecasts are like, unless a stop is asked for."""
        try:
            trust = usual(result)
        except KeyboardInterrupt:
            self.stop.note()
            return result
        return result if trust is None else result.adjusted(trust)

    def _take(self, steps: list[FinishingStep]) -> list[Adjustment]:
        """Encode the training data once for all steps; a stop leaves only those of the estimate."""
        trainer = self.trainer
        trajectories = each_trajectory(self._fit(), self.data)
        with trainer.isolation.turn():
            for part in encoded_segments(trainer.model, trainer.guide, trajectories):
                steps = self._wanted(steps)
                if not steps:
                    break
                for step in steps:
                    step.add(part)
        ends = (step.end() for step in steps if self._wanted([step]))
        return [adjustment for adjustment in ends if adjustment is not None]

    def _wanted(self, steps: list[FinishingStep]) -> list[FinishingStep]:
        return [step for step in steps if step.changes_weights or not self.stop.requested]

    def _validated(self) -> float:
        self._describe()
        return 0.0 if self.score is None else self.score(self._fit())

    def _describe(self) -> None:
        """Measure the region of the parameters as they are now, and what residuals remember."""
        trainer = self.trainer
        parts = trainer.model, trainer.guide, trainer.segments
        with trainer.isolation.aside():
            region, memory = learned_region(*parts), residual_memory(*parts)
        quiet = (PathNoise(0.0),) if trainer.has_equation else ()  # till it is chosen
        found = (region, *quiet) if memory is None else (region, memory, *quiet)
        self._described = found, trainer.step

    def _fit(self, *, interrupted: bool = False) -> Fit:
        """The parameters as they are now, and region and memory as they were described last."""
        trainer, data = self.trainer, self.data
        grid = trainer.model.grid
        adjustments, steps = self._described
        return Fit(
            trainer.model,
            trainer.guide,
            self.scaling,
            has_channel=data.has_channel_axis(grid.channels, grid.data_shape),
            metadata=Metadata.of(data),
            adjustments=adjustments,
            training=TrainingRecord(
                trainer.history,
                steps,
                self.seconds,
                interrupted,
                segment=(trainer.recipe.length, trainer.segments.duration * self.scaling.time),
                recipe=trainer.recipe,
                identity=self.identity,
            ),
        )

    def _save_on_the_way(self, folder: Path) -> None:
        """The best parameters till now and where training stands; a full disk stops nothing."""
        state = self.trainer.state()
        with self.trainer.best_in_place():
            self._describe()
            error = _written(folder, self._fit(interrupted=True), state)
        if error is None:
            return
        cause = type(error.__cause__), getattr(error.__cause__, "errno", None)
        if cause not in self._told:
            self._told.add(cause)
            warn(
                f"checkpoint: step {self.trainer.step} could not be saved; training goes on. "
                f"{error}"
            )

    def _save_in_the_end(self, folder: Path, result: Fit, state: State | None) -> None:
        error = _written(folder, result, state)
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
