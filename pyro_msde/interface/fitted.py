"""A trained model with its guide, and what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyro.infer.autoguide import AutoDelta

from pyro_msde.checks import check_seed, check_whole
from pyro_msde.data import Metadata, Scaling, Trajectories
from pyro_msde.equations import Evidence, FittedEquation
from pyro_msde.forecasts import Forecast, checked_start, first_snapshots, forecast
from pyro_msde.inference import equation_of, fitted_equation
from pyro_msde.interface.adjusting import calibrated_adjustments, jackknife_of
from pyro_msde.interface.description import save
from pyro_msde.interface.equation_evidence import equation_evidence
from pyro_msde.interface.ownership import belongs
from pyro_msde.interface.trusting import usual_forecasts
from pyro_msde.io.arviz import to_arviz
from pyro_msde.isolation import place_of
from pyro_msde.memory import memory_kept
from pyro_msde.priors import posterior_of
from pyro_msde.protocols import Adjustment, Guide, Model, Solver
from pyro_msde.renaming import renamed_arguments
from pyro_msde.runs import History, TrainingRecord, check_adjustment_names
from pyro_msde.scores import Calibration

__all__ = ["Fit"]

_NUM_THETA = 8


@dataclass(frozen=True, eq=False)
class Fit:
    """A trained model with its guide: forecasts, saves, converts.

    `fit` gives it copies of what was trained. One that you make yourself, from a model trained in a
    loop of your own, shares model and guide with you, and changes when these are trained on:
    `copy.deepcopy` of it does not. Its adjusted copies share them with it.

    Attributes:
        model: The generative model, in scaled units.
        guide: Its guide.
        scaling: Scaled against user's units.
        has_channel: Whether the data's fields carried a channel axis.
        metadata: Names, positions and units of the training data; None: not known.
        adjustments: What changes forecasts beside the weights, applied in this order; one of a
            name. `fit` gives the drift's "jackknife" and the "region" of the training data,
            `calibrated` adds a "calibration".
        training: How it was trained.
    """

    model: Model
    guide: Guide
    scaling: Scaling
    has_channel: bool = False
    metadata: Metadata | None = None
    adjustments: tuple[Adjustment, ...] = ()
    training: TrainingRecord = field(default_factory=TrainingRecord)

    def __post_init__(self) -> None:
        """Check that adjustments are known by their names."""
        names = [adjustment.name for adjustment in self.adjustments]
        if len(set(names)) < len(names):
            raise ValueError(f"adjustments: {names}. Give one of each name, as `adjusted` does.")

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        """Of copies and pickles, whose models are theirs."""
        self.__dict__.update(state)
        belongs(self.model)

    @property
    def history(self) -> History:
        """The ELBO's terms and the validation scores over the steps."""
        return self.training.history

    @property
    def steps(self) -> int:
        """Steps trained."""
        return self.training.steps

    @property
    def calibration(self) -> Calibration | None:
        """What `calibrated` found."""
        calibration = self.adjustment("calibration")
        return calibration if isinstance(calibration, Calibration) else None

    @property
    def diffusion_scale(self) -> float:
        """Multiple of L = √C in forecasts; 1 unless `calibrated`."""
        return 1.0 if self.calibration is None else self.calibration.scale

    @property
    def mask(self) -> Any:
        """(*field) bool, True where there is a field; a single True if that is everywhere."""
        mask = self.model.grid.mask
        if mask is None:
            return np.True_
        return mask if self.has_channel else mask[0]

    def reference_at(self, times: Any) -> NDArray[np.float64]:
        """What was subtracted from fields at times (...), and is in every output: (..., *field).

        In the data's units; axes that it does not depend on have length one.
        """
        if not self.scaling.reference:
            return np.zeros((1,) * (np.ndim(times) + self.model.grid.ndim + self.has_channel))
        values = self.scaling.reference.at(times)
        return values if self.has_channel else values.squeeze(-self.model.grid.ndim - 1)

    @property
    def equation(self) -> FittedEquation | None:
        """The equation in the macroscale drift, in the user's units; None: it has none.

        It acts on fields with their reference; what networks add to it is no part of it. Fields are
        called u, v, w, … in the order of channels, axes as the data's if these have letters.
        """
        path = equation_of(self.model)
        return None if path is None or not path.started else fitted_equation(path, self.metadata)

    def adjustment(self, name: str) -> Adjustment | None:
        """The adjustment of a name, such as "region"; None: it has none."""
        return next((a for a in self.adjustments if a.name == name), None)

    def adjusted(self, adjustment: Adjustment, *, first: bool = False) -> Fit:
        """A copy with one more adjustment, which takes the place of the one of its name.

        Args:
            adjustment: `pyro_msde.protocols.Adjustment` says what it has.
            first: Apply it before all others, not after them, if there was none of its name.
        """
        if self.adjustment(adjustment.name) is not None:
            same = (adjustment if a.name == adjustment.name else a for a in self.adjustments)
            return replace(self, adjustments=tuple(same))
        parts = (adjustment, *self.adjustments) if first else (*self.adjustments, adjustment)
        return replace(self, adjustments=parts)

    def without(self, *names: str) -> Fit:
        """A copy without the adjustments of some names, which it may lack.

        Raises:
            ValueError: No adjustment of such a name is known.
        """
        check_adjustment_names(names, self.adjustments)
        kept = tuple(a for a in self.adjustments if a.name not in names)
        return replace(self, adjustments=kept)

    @renamed_arguments(parameters="covariates")
    def predict(
        self,
        y0: Any,
        times: Any,
        *,
        t0: Any = None,
        times0: Any = None,
        num_samples: int = 64,
        num_theta: int | None = None,
        covariates: Any = None,
        controls: Any = None,
        control_times: Any = None,
        max_step: float | None = None,
        solver: Solver | None = None,
        seed: int = 0,
    ) -> Forecast:
        """Forecast the field from one snapshot, or from several in a row.

        Several snapshots average out noise, and show what one cannot, such as what lies in its gaps
        or how fast the field moves: an ensemble Kalman filter of all paths, by the learned SDE and
        the model's own likelihood, takes them in (`pyro_msde/forecasts/filtering.py`).

        Args:
            y0: One field, or a batch of fields along a first axis, with a channel axis if the
                training data had one; with `times0`, (snapshot, *field) or (batch, snapshot,
                *field). Any array, in the data's units.
            times: (time,) increasing, in the data's units; or dates, if the data had dates, or
                durations, if their unit of time is known. Where t0 is a row, they are counted from
                it: lead times in the data's unit, or durations.
            t0: Time of y0, or (batch,) times, one for each field. Unless given, that of y0's own
                coordinate of the name that the training data's times had, or "time"; or times[0].
            times0: (snapshot,) increasing times of y0's snapshots, as `times` are given; the
                forecast starts at the last of them. Or (batch, snapshot), and `times` are counted
                from the last of each. Unless given, those of y0's own dimension of times, if it has
                more than one.
            num_samples: Latent paths, rounded up to equal shares of the draws of θ.
            num_theta: Draws of θ among which the paths are shared out, where it has a posterior, or
                of the drift where its uncertainty is measured. Unless given, 8, or as many as have
                two paths each: single paths do not tell parameter from propagated variance.
            covariates: (batch, p) or (p,), if the trajectories had covariates.
            controls: (n, c) or (batch, n, c), if the trajectories had controls: what is imposed at
                y0's times and then at those of the forecast, or at `control_times`. In between
                they are linear.
            control_times: (n,) or (batch, n) increasing, as `times` are given, where controls are
                known at others; from y0's first time to the last of the forecast.
            max_step: Longest integration step; unless given, a thousandth of the training horizon,
                or beside an equation as long as the rest of the drift allows.
                The midpoint rule takes shorter ones where the drift is too stiff for it, and none
                longer than .3 % of the horizon where a region is known: at longer ones its pull is
                not stable. Kept weights err as much at .3 % as at .1 %; at .6 % without this bound
                Burgers' forecasts blow up (`benchmarks/step_cap.py`). In no step do states like the
                training data's move by more than a twentieth of their size. Steps of the rule of
                Runge and Kutta may be four times as long.
            solver: Integrates the latent SDE (`pyro_msde.protocols.Solver`); its steps are as long
                as `max_step` allows. None: the midpoint rule, or that of Runge and
                Kutta where the drift needs short steps.
            seed: Of the paths, which are others at other `times`; the global random state is left
                alone.

        Several threads may forecast at once.

        Raises:
            ValueError: y0 of another grid or not finite, or with times of its own of which it is
                not clear whether they are one past or many starts; times not increasing or before
                t0, missing covariates or controls, numbers of paths that are not positive, fewer
                than 8 paths from several snapshots, a step without sense; paths of more than
                100 000 steps, or that take more than 8 GiB.
        """
        check_whole("num_samples", num_samples, 1)
        if num_theta is None:
            num_theta = min(_NUM_THETA, max(1, num_samples // 2))
        check_whole("num_theta", num_theta, 1)
        check_seed("seed", seed)
        return forecast(
            self.model,
            self.guide,
            self.scaling,
            **checked_start(
                self, y0, times, t0, times0, covariates, controls, control_times, max_step
            ),
            num_samples=num_samples,
            num_theta=1 if self.is_point else min(num_theta, num_samples),
            seed=seed,
            adjustments=self.adjustments,
            solver=solver,
            point=self.has_point_theta,
            metadata=self.metadata,
        )

    @renamed_arguments(parameters="covariates")
    def forecast(
        self, trajectories: Trajectories, times: Any = None, *, history: int = 1, **options: Any
    ) -> Forecast:
        """Forecast trajectories from their first snapshots, in one batch.

        Where trajectories start at different times, as windows of a record do, `times` of the
        forecast are lead times, and its `starts` say since when.

        Args:
            trajectories: With their covariates and controls if the model takes any. Controls have
                to be known up to the last of `times`; trajectories that end before others of the
                batch keep their last ones.
            times: (time,) to forecast at, numbers or dates; lead times, numbers or durations, where
                trajectories start at different times. None: all that any of the trajectories has,
                from the last given snapshot on.
            history: How many of its first snapshots each trajectory gives; forecasts start at the
                last of these.
            **options: Of `predict`.

        Raises:
            ValueError: What `predict` refuses; a trajectory of fewer snapshots.
        """
        return self.predict(**first_snapshots(self, trajectories, times, history, options))

    @memory_kept()
    def calibrated(
        self, validation: Trajectories, *, level: float = 0.9, num_times: int = 60
    ) -> Fit:
        """A copy whose forecasts' L = √C is scaled to cover validation trajectories as claimed.

        Where noise makes forecasts of these far worse, L and the spread of the start are turned
        down together instead. Where intervals cover too little, what is uncertain in the drift's
        weights is scaled first, and L after it if that does not do.

        An explicit step after training; `calibration` of the copy holds what it was based on.

        Args:
            validation: Trajectories, such as windows of a record, not those that will be reported
                on.
            level: Nominal coverage of the central interval.
            num_times: Times, evenly spaced, at which coverage is counted, at least 10.

        Raises:
            ValueError: Trajectories of too few snapshots.
        """
        result = self
        for adjustment in calibrated_adjustments(self, validation, level, num_times):
            result = result.adjusted(adjustment)
        trust = usual_forecasts(result, validation)
        return result if trust is None else result.adjusted(trust)

    @memory_kept()
    def jackknifed(self, train: Trajectories, *, ridge: float = 1.0, seed: int = 0) -> Fit:
        """A copy whose forecasts know what the drift owes to parts of the training data.

        These are trajectories. A single one is cut into blocks of time that are long against its
        memory (`pyro_msde.data.time_blocks`).

        `fit` ends with it; do it again for another λ, or for a run saved before that was so, and
        `calibrated` after it. Forecasts draw the last weights of the drift's networks `num_theta`
        times, and `parameter_var` is what differs between these: little among the training data,
        more beyond them.

        Args:
            train: The trajectories that it was trained on.
            ridge: λ, how strongly each weight is held at its trained value while a part is left
                out: at 1 as strongly as one average part holds it. A smaller λ lets the weights
                move further, so that forecasts become less certain.
            seed: Of the quadrature; the global random state is left alone.

        Raises:
            ValueError: A drift that is no `LastLayer`, or has a prior; trajectories of a single
                snapshot, or only one of two; data of another grid.
        """
        return self.adjusted(jackknife_of(self, train, ridge, seed), first=True)

    def equation_evidence(
        self, train: Trajectories, field: str | None = None, *, library: bool = False
    ) -> Evidence:
        """What trajectories say of the coefficients of the equation: their likelihood.

        Its Gaussian posterior is in closed form, and `pyro_msde.models.EquationCoefficients` is a
        Pyro program of it, for other priors.

        Args:
            train: Trajectories, such as those that the fit was trained on.
            field: Whose coefficients, such as "u"; None: those of the only one.
            library: Of all terms that the equation might have, not only of those that it has.

        Raises:
            ValueError: There is no equation; no such field; data of another grid, or too few.
        """
        return equation_evidence(self, train, field, library)

    @property
    def is_point(self) -> bool:
        """Whether all paths of a forecast are of one θ and one drift."""
        return self.has_point_theta and not any(a.is_random for a in self.adjustments)

    @property
    def has_point_theta(self) -> bool:
        """Whether the guide has one θ."""
        theta = posterior_of(self.guide)
        return theta is None or isinstance(theta, AutoDelta)

    def to_arviz(self, test: Trajectories, **options: Any) -> Any:
        """ArviZ data of forecasts of `test`; see `pyro_msde.io.arviz.to_arviz`."""
        return to_arviz(self, test, **options)

    def save(self, path: str | Path) -> None:
        """Write the fit into a folder, for `pyro_msde.load`.

        Args:
            path: The folder, made if missing; what was saved there before is kept beside. What
                resuming this very run needs stays, if it was interrupted.

        Raises:
            SavedRunError: It cannot be written, or another run is using the folder.
        """
        save(self, path)

    def __repr__(self) -> str:
        """Steps, device, best score."""
        dtype, device = place_of(self.model)
        best = self.history.kept_score
        of = " of anomalies" if self.scaling.reference else ""
        score = "" if best is None else f", validation NRMSE{of} {best:.2%}"
        return f"Fit({self.steps} steps in {self.training.seconds:.0f} s, {dtype}, {device}{score})"
