"""Stochastic variational inference: the loop that maximises the ELBO (27)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from pyro_msde.data import SegmentBatch, Segments
from pyro_msde.errors import NonFiniteLossError, NotPositiveDefiniteError
from pyro_msde.inference.closed_form_variance import observes_normals, variance_optima
from pyro_msde.inference.elbo import MultiscaleELBO
from pyro_msde.inference.optimiser import GradientClipping, parameter_groups
from pyro_msde.inference.program_checks import check_program
from pyro_msde.inference.training_state import all_finite, restore, stacked, state_of
from pyro_msde.inference.weak_form_start import start_macroscale_drift
from pyro_msde.isolation import Isolation
from pyro_msde.networks import start_principal_components
from pyro_msde.runs import History, Recipe, State

__all__ = ["Trainer"]

_MEASURED = 32  # minibatches over which the optima of variances are taken


class Trainer:
    """State of one training run: parameters, optimiser, position, history.

    Model and guide run in turns (`pyro_msde.isolation`), with a random state of the run's own;
    between them Pyro and torch are as they were found.

    Args:
        model: Pyro model of a `SegmentBatch`.
        guide: Its guide.
        segments: Training segments, in scaled units.
        recipe: How to train.
        steps: Length of the run.
        seed: Of minibatches and noise.
        device: Where minibatches go.
        log_volume: Nats to subtract from the log likelihood to express it in the user's units.

    Attributes:
        whole: Whether all is as some number of steps leaves it, with what follows each of them: it
            is not while parameters are started or moved, logged or validated.
    """

    def __init__(
        self,
        model: nn.Module,
        guide: nn.Module,
        segments: Segments,
        recipe: Recipe,
        *,
        steps: int,
        seed: int,
        device: torch.device,
        log_volume: float = 0.0,
    ) -> None:
        self.model, self.guide, self.segments, self.recipe = model, guide, segments, recipe
        self.modules = {"model": model, "guide": guide}
        self.steps, self.device, self.log_volume = steps, device, log_volume
        self.rng = np.random.default_rng(seed)
        self.isolation = Isolation(seed, device)
        self.elbo = MultiscaleELBO(
            recipe.num_nodes, antithetic=recipe.antithetic, spread=recipe.spread
        )
        self.loss: Any = self.elbo(model, guide)
        self.step = 0
        self.history = History()
        self.best: tuple[float, dict[str, Any]] | None = None
        self.window: list[dict[str, Tensor]] = []  # terms since they were logged
        self.whole = self.drift_started = False
        self.dry_run()
        self.optimiser = torch.optim.AdamW(parameter_groups(model, guide, recipe))
        self.good = self.weights()
        self.anneal = recipe.anneal
        self.clip = None if recipe.clip is None else GradientClipping(recipe.clip)
        numbers = segments.values[0][0].numel()
        self.beta = float(numbers) if recipe.beta is None else recipe.beta
        own = recipe.beta_parameters
        self.elbo.beta_parameters = max(1.0, self.beta) if own is None else own

    def warm_start(self) -> None:
        """Read off the data what training does not find, or finds slowly.

        Principal components of the fine scale, where networks use them; a guide's free nodes; and,
        if the recipe says so and it can be, a start of the macroscale drift. β is not annealed
        after the latter: the drift would lose its start while its residual is ignored.
        """
        with self.aside():
            if start_principal_components(self.model, self.guide, self.segments):
                self.good = self.weights()
            guide: Any = self.guide
            if hasattr(guide, "start_nodes"):
                guide.start_nodes(self.segments)
                self.good = self.weights()
            if self.recipe.warm_start and start_macroscale_drift(self.model, self.segments):
                self.anneal, self.drift_started = 0, True
                self.good = self.weights()
        self.whole = True

    def dry_run(self) -> None:
        """One validated evaluation: checks model against guide, creates autoguide parameters."""
        batch = self._batch(np.random.default_rng(0))
        with self.isolation.turn(validate=True):
            self.loss(batch)
        with Isolation(0, self.device).turn(validate=True):
            check_program(self.model, self.guide, batch)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """A turn for what is no part of training: the run's random state is left alone."""
        before = self.isolation.state
        try:
            with self.isolation.turn():
                yield
        finally:
            self.isolation.restore(before)

    def weights(self) -> dict[str, Any]:
        """Copies of all parameters and buffers."""
        return {k: deepcopy(m.state_dict()) for k, m in self.modules.items()}

    def load_weights(self, weights: Mapping[str, Any]) -> None:
        """Put copies that `weights` made back in place."""
        for owner, module in self.modules.items():
            module.load_state_dict(weights[owner])

    def state(self) -> State:
        """All that resuming needs, in copies."""
        return state_of(self)

    def restore(self, state: State) -> None:
        """Go on from where `state()` was taken, as `training_state.restore` does."""
        restore(self, state)

    def measure_variances(self) -> None:
        """Put into the history how far the variances now are from where the ELBO wants them."""
        diagonal = getattr(self.guide, "axes", None) is None
        if not (diagonal and hasattr(self.model, "var_zeta") and observes_normals(self.model)):
            return
        rng = np.random.default_rng(0)
        with self.aside():
            batches = (self._batch(rng) for _ in range(_MEASURED))
            self.history.variance_gaps = variance_optima(self.model, self.guide, batches).gaps

    def keep_best(self) -> None:
        """Put the parameters that validated best in place; without validation, the last ones."""
        if self.best is not None:
            self.load_weights(self.best[1])

    @contextmanager
    def best_in_place(self) -> Iterator[None]:
        """The best parameters in place within, the current ones after."""
        current = self.weights()
        self.keep_best()
        try:
            yield
        finally:
            self.load_weights(current)

    def run(
        self,
        *,
        validate: Callable[[], float] | None,
        every: int,
        log_every: int = 50,
        on_checkpoint: Callable[[], None] | None = None,
        progress: bool = True,
        stop: Callable[[], bool] = bool,
    ) -> None:
        """Train to the end, or until a stop is asked for.

        Args:
            validate: Scores the current parameters, lower is better; the best are kept.
            every: Steps between validations, and between checkpoints.
            log_every: Steps between entries of the history.
            on_checkpoint: Called after each validation.
            progress: Show a progress bar.
            stop: Asked before each step.

        Raises:
            NonFiniteLossError: A term of the ELBO stopped being finite; the parameters of the last
                logging step or checkpoint are back in place.
        """
        bar = tqdm(total=self.steps, initial=self.step, disable=not progress, unit="step")
        with bar:
            while self.step < self.steps and not stop():
                self.window.append(self.one_step())
                bar.update()
                due = self.step % every == 0 or self.step == self.steps
                if self.step % log_every == 0 or self.step == self.steps:
                    self._log(bar)
                elif due:
                    self._keep_good()
                if due:
                    self.validate(validate, bar)
                    if on_checkpoint is not None:
                        on_checkpoint()
                self.whole = True
            if self.step < self.steps and not bar.disable:
                bar.write(f"step {self.step}: stopping, as asked for")

    def one_step(self) -> dict[str, Tensor]:
        """One minibatch and one Adam step; the ELBO's terms, detached.

        Interrupted before the parameters move, the step has not been.
        """
        before = self.rng.bit_generator.state, self.isolation.state
        try:
            with self.isolation.turn():
                self._set_gradients()
        except KeyboardInterrupt:
            self.rng.bit_generator.state = before[0]
            self.isolation.restore(before[1])
            raise
        self.whole = False
        if self.clip is not None:
            self.clip(p for group in self.optimiser.param_groups for p in group["params"])
        self.optimiser.step()
        self.step += 1
        return self.elbo.terms

    def _set_gradients(self) -> None:
        """Those of one minibatch's loss."""
        self.elbo.beta = self._beta()
        self._set_rates()
        self.optimiser.zero_grad(set_to_none=True)
        try:
            loss = self.loss(self._batch(self.rng))
        except NotPositiveDefiniteError:
            self.load_weights(self.good)
            raise
        if self.device.type == "cpu" and not math.isfinite(float(loss.detach())):
            self._fail()
        loss.backward()

    def _beta(self) -> float:
        """Weight of the drift residual now."""
        progress = (self.step + 1) / self.anneal if self.anneal else 1.0
        return self.beta * min(1.0, progress)

    def _batch(self, rng: np.random.Generator) -> SegmentBatch:
        batch = self.segments.draw(self.recipe.segments_per_step, rng)
        return batch if self.device.type == "cpu" else batch.to(self.device)

    def _set_rates(self) -> None:
        if self.recipe.schedule == "cosine":
            shape = 0.5 * (1 + math.cos(math.pi * self.step / self.steps))
        else:
            shape = 0.9 ** (self.step // 2000)
        for group in self.optimiser.param_groups:
            group["lr"] = self.recipe.learning_rate * shape * group["factor"]

    def _log(self, bar: Any) -> None:
        mean = {k: float(values.mean()) for k, values in stacked(self.window).items()}
        self.window = []
        if not all(math.isfinite(v) for v in mean.values()):
            self._fail(mean)
        mean["log_likelihood"] -= self.log_volume
        mean["elbo"] = mean["log_likelihood"] - mean["drift_residual"] - mean["kl_parameters"]
        self.history.record(self.step, mean)
        self._keep_good()
        bar.set_postfix_str(f"elbo {mean['elbo']:.4g}", refresh=False)

    def _keep_good(self) -> None:
        weights = self.weights()
        if not all_finite(weights):
            self._fail({"parameters": math.nan})
        self.good = weights

    def validate(self, score: Callable[[], float] | None, bar: Any = None) -> None:
        """Score the parameters, keep them if they are the best so far.

        A score that is not finite counts as infinite, and is never the best.
        """
        if score is None:
            return
        value = score()
        value = value if math.isfinite(value) else math.inf
        self.history.validation_steps.append(self.step)
        self.history.validation.append(value)
        if value < math.inf and (self.best is None or value <= self.best[0]):
            self.best = (value, self.weights())
        if bar is not None and not bar.disable:
            bar.write(f"step {self.step}: validation NRMSE {value:.2%}")

    def _fail(self, terms: Mapping[str, Any] | None = None) -> None:
        values = {k: float(v) for k, v in (terms or self.elbo.terms).items()}
        bad = next((k for k, v in values.items() if not math.isfinite(v)), "loss")
        self.load_weights(self.good)
        others = " or clip" if self.drift_started else " or clip, or raise anneal"
        raise NonFiniteLossError(
            self.step,
            bad,
            f"step {self.step}: {bad} is {values.get(bad, math.nan)}. The parameters of the last "
            f"logged step are back in place. Lower learning_rate{others}; with its checkpoint the "
            "run goes on from there with the values given then.",
        )
