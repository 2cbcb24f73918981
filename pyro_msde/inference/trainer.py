"""Stochastic variational inference: where a run stands, and its steps up the ELBO (27)."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from pyro_msde.data import SegmentBatch, Segments
from pyro_msde.errors import NonFiniteLossError, NotPositiveDefiniteError
from pyro_msde.inference.callbacks import Recorder, TrainingView
from pyro_msde.inference.closed_form_variance import observes_normals, variance_optima
from pyro_msde.inference.elbo import MultiscaleELBO
from pyro_msde.inference.equation_of_model import equation_of, fitted_equation
from pyro_msde.inference.equation_start import TOLERANCE, start_equation, start_noise
from pyro_msde.inference.linear_start import found_noisy, start_linear_path
from pyro_msde.inference.microscale_start import start_linear_microscale, start_microscale
from pyro_msde.inference.optimiser import GradientClipping, parameter_groups, set_rates
from pyro_msde.inference.program_checks import check_program
from pyro_msde.inference.training_state import all_finite, restore, stacked, state_of
from pyro_msde.inference.weak_form_start import start_macroscale_drift
from pyro_msde.isolation import Isolation
from pyro_msde.networks import drift_of, start_principal_components
from pyro_msde.priors import part_of
from pyro_msde.protocols import FreeNodes, Guide, Model, Module
from pyro_msde.runs import History, Recipe, State

__all__ = ["Trainer"]

_LOG = logging.getLogger("pyro_msde.inference")
_LEAST_GAIN = 0.01  # in validation scores of noisy paths
_MEASURED = 32  # minibatches at most, one a step, over which variances' optima are taken


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
        equation_misfit: Why an equation in the drift can not be used; None: it can.

    Attributes:
        whole: Whether all is as some number of steps leaves it, with what follows each of them: it
            is not while parameters are started or moved, logged or validated.
    """

    def __init__(
        self,
        model: Model,
        guide: Guide,
        segments: Segments,
        recipe: Recipe,
        *,
        steps: int,
        seed: int,
        device: torch.device,
        log_volume: float = 0.0,
        equation_misfit: str | None = None,
    ) -> None:
        self.model, self.guide, self.segments, self.recipe = model, guide, segments, recipe
        self.modules: dict[str, Module] = {"model": model, "guide": guide}
        self.steps, self.device, self.log_volume = steps, device, log_volume
        self.equation_misfit = equation_misfit
        self.rng = np.random.default_rng(seed)
        self.isolation = Isolation(seed, device)
        self.elbo = MultiscaleELBO(
            recipe.num_nodes, antithetic=recipe.antithetic, tube_width=recipe.tube_width
        )
        self.loss = self.elbo(cast(nn.Module, model), cast(nn.Module, guide))
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
        self.weigh()

    def weigh(self) -> None:
        """Set β to what the recipe says, or else to what suits the paths, and that of θ."""
        recipe = self.recipe
        usual = 1.0 if found_noisy(self.model) else float(self.segments.values[0][0].numel())
        self.beta = usual if recipe.beta is None else recipe.beta
        weight = recipe.beta_parameters
        self.elbo.beta_parameters = max(1.0, self.beta) if weight is None else weight

    def warm_start(self, judge: Segments | None = None) -> None:
        """Read off the data what training does not find, or finds slowly.

        Principal components of the fine scale, where networks use them; a guide's free nodes; and,
        if the recipe says so and it can be, a start of the macroscale drift. β is not annealed
        after the latter: the drift would lose its start while its residual is ignored.

        Args:
            judge: Validation data in scaled units; None: there are none.
        """
        with self.isolation.aside():
            start_principal_components(self.model, self.guide, self.segments)
            if isinstance(self.guide, FreeNodes):
                self.guide.start_nodes(self.segments)
            if self.recipe.warm_start and self._started(judge):
                self.anneal, self.drift_started = 0, True
                self._expect_noise()
        self.good, self.whole = self.weights(), True

    def _expect_noise(self) -> None:
        """Noise is the path's, not that of single points: β is one, and nodes are joined straight.

        Errors of a model that cannot hold a smooth path are alike at neighbouring points, so that
        a snapshot counts as one observation; what noise does between two of them is no such error.
        """
        kernel: Any = getattr(self.guide, "time_kernel", None)
        if found_noisy(self.model) and hasattr(kernel, "start_rough"):
            kernel.start_rough()
        self.weigh()
        if found_noisy(self.model) and self.recipe.beta is None:
            _LOG.info("paths are noisy between observations: training is by the ELBO, beta = 1")

    def _started(self, judge: Segments | None) -> bool:
        """Start the drifts by regression, or else a linear path; whether that was done.

        No regression in weak form beside microscale states at the default β, which is large:
        without its annealing, which a start ends, KdV was forecast worse after 3000 steps. Noisy
        paths are no such case. A drift may come with a start.
        """
        if getattr(drift_of(self.model), "has_start", False):
            return True
        if self._starts_equation():
            return True
        if self.model.n_eta:
            known = self.recipe.beta is not None
            done = known and start_microscale(self.model, self.guide, self.segments)
        else:
            done = start_macroscale_drift(self.model, self.segments)
        if done or not start_linear_path(self.model, self.segments, judge):
            return done
        if self.model.n_eta:
            start_linear_microscale(self.model, self.guide, self.segments)
        return True

    @property
    def has_equation(self) -> bool:
        """Whether the drift has an equation that forecasts the data by itself."""
        path = equation_of(self.model)
        if path is None or self._has_random_drift:
            return False
        return path.started and drift_of(self.model).resting

    @property
    def _has_random_drift(self) -> bool:
        """Whether the drift has a prior: an equation that is given goes with its networks then."""
        part = part_of(self.model, "drift")
        return part is not None and part.is_random

    def _starts_equation(self) -> bool:
        """Whether the drift has an equation, given or identified now, that forecasts the data.

        Beside one that does not the network is trained, as if there were none.
        """
        path = equation_of(self.model)
        if path is None or self.equation_misfit is not None or self._has_random_drift:
            return False
        if path.given is None:
            _LOG.info("looking for an equation; multiscale(…, equation=None) has none")
        error = start_equation(self.model, self.segments)
        text = fitted_equation(path).text
        if not path.started:
            _LOG.info("no equation of the library forecasts the training data")
            return False
        told = "%s errs by %.2g%% of how far training states move"
        if not error <= TOLERANCE:  # NaN, too
            drift_of(self.model).awake = True
            _LOG.warning(told + ": the data contradict it, or the coarse grid", text, 100 * error)
            return False
        _LOG.info(told, text, 100 * error)
        start_noise(self.model, self.segments)
        return True

    def dry_run(self) -> None:
        """One validated evaluation: checks model against guide, creates autoguide parameters."""
        batch = self._batch(np.random.default_rng(0))
        with self.isolation.turn(validate=True):
            self.loss(batch)
        with Isolation(0, self.device).turn(validate=True):
            check_program(self.model, self.guide, batch)

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
        """Put into the history how far Σ_y now is from where the ELBO wants it."""
        has_experts = part_of(self.model, "var_zeta") is not None
        if not (has_experts and observes_normals(self.model)):
            return
        rng = np.random.default_rng(0)
        with self.isolation.aside():
            batches = (self._batch(rng) for _ in range(min(_MEASURED, max(1, self.step))))
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
        set_rates(self.optimiser, self.recipe, self.step, self.steps)
        self.optimiser.zero_grad(set_to_none=True)
        try:
            loss = self.loss(self._batch(self.rng))
        except NotPositiveDefiniteError:
            self.load_weights(self.good)
            raise
        if self.device.type == "cpu" and not math.isfinite(float(loss.detach())):
            self._fail()
        loss.backward()
        for parameter in self._held():
            parameter.grad = None

    def _held(self) -> Iterator[nn.Parameter]:
        """What stays as it is beside an equation: κ, through which it was measured, and f.

        As long as the guide is not learned, f would learn the guide's errors. It is solved for at
        the end.
        """
        path = equation_of(self.model)
        if path is None or not path.started:
            return
        kernel = part_of(self.model, "kernel")
        yield from (() if kernel is None else kernel.parameters())
        if self.has_equation:
            drift = drift_of(self.model)
            yield from drift.macro.parameters()
            yield from (() if drift.path is None else drift.path.parameters())

    def _beta(self) -> float:
        """Weight of the drift residual now."""
        progress = (self.step + 1) / self.anneal if self.anneal else 1.0
        return self.beta * min(1.0, progress)

    def _batch(self, rng: np.random.Generator) -> SegmentBatch:
        batch = self.segments.draw(self.recipe.segments_per_step, rng)
        return batch if self.device.type == "cpu" else batch.to(self.device)

    def view(self, **numbers: Any) -> TrainingView:
        """What callbacks see now, with `terms` or a `score`."""
        return TrainingView(self.step, self.steps, self.model, self.guide, **numbers)

    def log(self) -> TrainingView:
        """Record the mean of the terms since the last time."""
        mean = {k: float(values.mean()) for k, values in stacked(self.window).items()}
        self.window = []
        if not all(math.isfinite(v) for v in mean.values()):
            self._fail(mean)
        mean["log_likelihood"] -= self.log_volume
        mean["elbo"] = mean["log_likelihood"] - mean["drift_residual"] - mean["kl_parameters"]
        view = self.view(terms=mean)
        Recorder(self.history).step(view)
        return view

    def keep_good(self) -> None:
        """Keep copies of the parameters, to go back to where later ones are not finite."""
        weights = self.weights()
        if not all_finite(weights):
            self._fail({"parameters": math.nan})
        self.good = weights

    @property
    def gains_nothing(self) -> bool:
        """Whether validations have not been better for too long, as the recipe has it."""
        scores, patience = self.history.validation, self.recipe.patience
        if patience is None or not (found_noisy(self.model) or self.has_equation):
            return False
        kept = self.history.kept or 0
        if self.has_equation:  # only variances are learned
            known = min(scores, default=0.0) * (1 + _LEAST_GAIN)
            kept = next((i for i, score in enumerate(scores) if score <= known), 0)
            patience = -(-patience // 2)
        return len(scores) - 1 - kept >= patience

    def validate(self, score: Callable[[], float], *, once: bool = False) -> TrainingView:
        """Score the parameters, record it, and keep them if they are the best so far.

        Of noisy paths they have to be better by a hundredth: scores of a few windows wander by as
        much, and the best of many would be kept by chance; not where they are tried but `once`. A
        score that is not finite counts as infinite, and is never the best.
        """
        value = score()
        view = self.view(score=value if math.isfinite(value) else math.inf)
        Recorder(self.history).validation(view)
        factor = 1 - _LEAST_GAIN if found_noisy(self.model) and not once else 1.0
        if self.has_equation and not once:  # variances are learned, which the mean does not show
            factor = 1 + _LEAST_GAIN
        if math.isfinite(value) and (self.best is None or value <= factor * self.best[0]):
            least = value if self.best is None else min(value, self.best[0])
            self.best = (least, self.weights())
            self.history.kept = len(self.history.validation) - 1
        return view

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
