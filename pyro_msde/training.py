"""Stochastic variational inference: the loop that maximises the ELBO (27)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor, nn
from tqdm import tqdm

from pyro_msde.clipping import GradientClipping
from pyro_msde.elbo import MultiscaleELBO
from pyro_msde.errors import NonFiniteLossError, NotPositiveDefiniteError
from pyro_msde.forecast_score import forecast_score
from pyro_msde.history import History
from pyro_msde.isolation import Isolation
from pyro_msde.parameter_groups import parameter_groups
from pyro_msde.principal import start_principal_components
from pyro_msde.program_checks import check_program
from pyro_msde.recipes import Recipe
from pyro_msde.segments import SegmentBatch, Segments
from pyro_msde.variance_optima import variance_optima
from pyro_msde.warm_start import start_macroscale_drift

__all__ = ["Trainer", "pyro_settings"]

_MEASURED = 32  # minibatches over which the optima of variances are taken


class Trainer:
    """State of one training run: parameters, optimiser, position, history.

    Args:
        model: Pyro model of a `SegmentBatch`.
        guide: Its guide.
        segments: Training segments, in scaled units.
        recipe: How to train.
        steps: Length of the run.
        rng: Draws the minibatches.
        device: Where minibatches go.
        log_volume: Nats to subtract from the log likelihood to express it in the user's units.

    Raises:
        ValueError: The diffusion has a prior and is to be learned from a score.
    """

    def __init__(
        self,
        model: nn.Module,
        guide: nn.Module,
        segments: Segments,
        recipe: Recipe,
        *,
        steps: int,
        rng: np.random.Generator,
        device: torch.device,
        log_volume: float = 0.0,
    ) -> None:
        if recipe.score_every is not None and getattr(model.diffusion, "is_random", False):
            raise ValueError("score_every: the diffusion has a prior. Leave one of them out.")
        self.model, self.guide, self.segments, self.recipe = model, guide, segments, recipe
        self.steps, self.rng, self.device, self.log_volume = steps, rng, device, log_volume
        self.elbo = MultiscaleELBO(
            recipe.num_nodes, antithetic=recipe.antithetic, spread=recipe.spread
        )
        self.loss: Any = self.elbo(model, guide)
        self.step = 0
        self.history = History()
        self.best: tuple[float, dict[str, Any]] | None = None
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
        after the latter: the drift would lose its start while its residual is ignored. The random
        state is left alone.
        """
        devices = [] if self.device.type == "cpu" else [self.device]
        with torch.random.fork_rng(devices=devices):
            if start_principal_components(self.model, self.guide, self.segments):
                self.good = self.weights()
            guide: Any = self.guide
            if hasattr(guide, "start_nodes"):
                guide.start_nodes(self.segments)
                self.good = self.weights()
            if self.recipe.warm_start and start_macroscale_drift(self.model, self.segments):
                self.anneal = 0
                self.good = self.weights()

    def dry_run(self) -> None:
        """One validated evaluation: checks model against guide, creates autoguide parameters."""
        batch = self._batch(np.random.default_rng(0))
        with pyro_settings(validate=True):
            self.loss(batch)
        with Isolation(0, self.device).turn(validate=True):
            check_program(self.model, self.guide, batch)

    def weights(self) -> dict[str, Any]:
        """Copies of all parameters and buffers."""
        modules = {"model": self.model, "guide": self.guide}
        return {k: deepcopy(m.state_dict()) for k, m in modules.items()}

    def load_weights(self, weights: Mapping[str, Any]) -> None:
        """Put copies that `weights` made back in place."""
        self.model.load_state_dict(weights["model"])
        self.guide.load_state_dict(weights["guide"])

    def state(self) -> dict[str, Any]:
        """All that resuming needs."""
        return {
            "step": self.step,
            "weights": self.weights(),
            "anneal": self.anneal,
            "usual_length": None if self.clip is None else self.clip.usual,
            "best": self.best,
            "optimiser": self.optimiser.state_dict(),
            "rng": self.rng.bit_generator.state,
            "torch_rng": torch.get_rng_state(),
            "history": self.history,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from where `state()` was taken.

        Raises:
            RuntimeError: The state is of another model.
        """
        self.load_weights(state["weights"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.history = state["step"], state["history"]
        self.anneal, self.best = state["anneal"], state["best"]
        if self.clip is not None:
            self.clip.usual = state["usual_length"]
        self.rng.bit_generator.state = state["rng"]
        torch.set_rng_state(state["torch_rng"])
        self.good = self.weights()

    def measure_variances(self) -> None:
        """Put into the history how far the variances now are from where the ELBO wants them."""
        diagonal = getattr(self.guide, "axes", None) is None
        if not (diagonal and hasattr(self.model, "expert_means")):
            return
        rng = np.random.default_rng(0)
        devices = [] if self.device.type == "cpu" else [self.device]
        with torch.random.fork_rng(devices=devices), pyro_settings(validate=False):
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
    ) -> bool:
        """Train to the end; False if interrupted from the keyboard, with the state kept.

        Args:
            validate: Scores the current parameters, lower is better; the best are kept.
            every: Steps between validations, and between checkpoints.
            log_every: Steps between entries of the history.
            on_checkpoint: Called after each validation.
            progress: Show a progress bar.

        Raises:
            NonFiniteLossError: A term of the ELBO stopped being finite; the parameters of the last
                logging step are back in place.
        """
        bar = tqdm(total=self.steps, initial=self.step, disable=not progress, unit="step")
        try:
            with pyro_settings(validate=False), bar:
                window: list[dict[str, Tensor]] = []
                while self.step < self.steps:
                    window.append(self.one_step())
                    bar.update()
                    if self.step % log_every == 0 or self.step == self.steps:
                        self._log(window, bar)
                        window = []
                    if self.step % every == 0 or self.step == self.steps:
                        self._validate(validate, bar)
                        if on_checkpoint is not None:
                            on_checkpoint()
        except KeyboardInterrupt:
            self._validate(validate, bar)
            return False
        return True

    def one_step(self) -> dict[str, Tensor]:
        """One minibatch and one Adam step; the ELBO's terms, detached."""
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
        if self.recipe.score_every is not None:
            self._score_diffusion(self.recipe.score_every)
        if self.clip is not None:
            self.clip(p for group in self.optimiser.param_groups for p in group["params"])
        self.optimiser.step()
        self.step += 1
        return self.elbo.terms

    def _score_diffusion(self, every: int) -> None:
        """Put the score's gradient, or none, in the place of the ELBO's for the diffusion."""
        model: Any = self.model
        own = list(model.diffusion.parameters())
        gradients: Any = [None] * len(own)
        if self.step % every == 0 and self.step >= self.anneal:
            score = forecast_score(model, self.guide, self._batch(self.rng))
            gradients = torch.autograd.grad(score, own)
        for p, gradient in zip(own, gradients, strict=True):
            p.grad = gradient

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

    def _log(self, window: list[dict[str, Tensor]], bar: Any) -> None:
        mean = {k: float(torch.stack([w[k] for w in window]).mean()) for k in window[0]}
        if not all(math.isfinite(v) for v in mean.values()):
            self._fail(mean)
        mean["log_likelihood"] -= self.log_volume
        mean["elbo"] = mean["log_likelihood"] - mean["drift_residual"] - mean["kl_parameters"]
        self.history.record(self.step, mean)
        weights = self.weights()
        if not all(v.isfinite().all() for state in weights.values() for v in state.values()):
            self._fail({"parameters": math.nan})
        self.good = weights
        bar.set_postfix_str(f"elbo {mean['elbo']:.4g}", refresh=False)

    def _validate(self, validate: Callable[[], float] | None, bar: Any) -> None:
        if validate is None:
            return
        score = validate()
        self.history.validation_steps.append(self.step)
        self.history.validation.append(score)
        if self.best is None or score <= self.best[0]:
            self.best = (score, self.weights())
        bar.write(f"step {self.step}: validation NRMSE {score:.2%}") if not bar.disable else None

    def _fail(self, terms: Mapping[str, Any] | None = None) -> None:
        values = {k: float(v) for k, v in (terms or self.elbo.terms).items()}
        bad = next((k for k, v in values.items() if not math.isfinite(v)), "loss")
        self.load_weights(self.good)
        raise NonFiniteLossError(
            self.step,
            bad,
            f"step {self.step}: {bad} is {values.get(bad, math.nan)}. The parameters of the last "
            "logged step are back in place. Lower learning_rate or raise anneal.",
        )


@contextmanager
def pyro_settings(*, validate: bool) -> Iterator[None]:
    """Pyro's checks on or off, and a parameter store of its own, within.

    In the global store a parameter of the same name from another model would take our place.
    """
    with pyro.get_param_store().scope(), pyro.validation_enabled(validate):
        yield
