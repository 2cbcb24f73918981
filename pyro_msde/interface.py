"""The public verbs: `fit` a model to trajectories, `load` a saved fit, and what a `Fit` can do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_msde.calibration import Calibration, choose_diffusion_scale
from pyro_msde.checkpoint import read_run, read_state, write_run, write_state
from pyro_msde.errors import SavedRunError
from pyro_msde.forecasting import Forecast
from pyro_msde.prediction import forecast
from pyro_msde.registry import rebuild
from pyro_msde.scaling import Scaling
from pyro_msde.segments import Segments
from pyro_msde.training import RECIPES, History, Recipe, Trainer, pyro_settings
from pyro_msde.trajectories import Trajectories

__all__ = ["Fit", "fit", "load"]

_FORMAT = 1


@dataclass
class Fit:
    """A trained model with its guide: forecasts, saves, converts.

    Attributes:
        model: The generative model, in scaled units.
        guide: Its guide.
        scaling: Scaled against user's units.
        history: The ELBO's terms and the validation scores over the steps.
        steps: Steps trained.
        seconds: Time spent training.
        interrupted: Training was stopped before its end.
        has_channel: Whether the data's fields carried a channel axis.
        diffusion_scale: Multiple of L = √C in forecasts; 1 unless `calibrated`.
        calibration: What `calibrated` based it on.
    """

    model: Any
    guide: Any
    scaling: Scaling
    history: History = field(default_factory=History)
    steps: int = 0
    seconds: float = 0.0
    interrupted: bool = False
    has_channel: bool = False
    diffusion_scale: float = 1.0
    calibration: Calibration | None = None

    def predict(
        self,
        y0: Any,
        times: Any,
        *,
        t0: float | None = None,
        num_samples: int = 64,
        num_theta: int = 8,
        parameters: Any = None,
        max_step: float | None = None,
        seed: int = 0,
    ) -> Forecast:
        """Forecast the field from one snapshot.

        Args:
            y0: One field, or a batch of fields along a first axis, with a channel axis if the
                training data had one. numpy or torch, in the data's units.
            times: (time,) increasing, in the data's units.
            t0: Time of y0; times[0] unless given.
            num_samples: Latent paths.
            num_theta: Draws of θ among which the paths are shared out, where it has a posterior.
            parameters: (batch, p) or (p,), if the trajectories had parameters.
            max_step: Longest integration step; unless given, a thousandth of the training horizon.
            seed: Of the paths; the global random state is left alone.

        Raises:
            ValueError: y0 of another grid or not finite, times not increasing or before t0,
                missing parameters.
        """
        clock = _check_times(times, t0)
        fields, batched = self._fields(y0)
        point = self.guide.theta is None
        params = self._parameters(parameters, len(fields))
        with torch.random.fork_rng(devices=_devices(fields)), pyro_settings(validate=False):
            torch.manual_seed(seed)
            return forecast(
                self.model,
                self.guide,
                self.scaling,
                fields,
                clock,
                t0=float(clock[0] if t0 is None else t0),
                num_samples=num_samples,
                num_theta=1 if point else min(num_theta, num_samples),
                parameters=params,
                max_step=self.scaling.time / 1000 if max_step is None else max_step,
                diffusion_scale=self.diffusion_scale,
                layout={"batched": batched, "has_channel": self.has_channel},
            )

    def calibrated(
        self, validation: Trajectories, *, level: float = 0.9, num_times: int = 60
    ) -> Fit:
        """A copy whose forecasts' L = √C is scaled to cover validation trajectories as claimed.

        An explicit step after training; `calibration` of the copy holds what it was based on.

        Args:
            validation: Trajectories on common times, not those that will be reported on.
            level: Nominal coverage of the central interval.
            num_times: Times, evenly spaced, at which coverage is counted.
        """
        times, values, parameters = _groups(validation)[0]
        if len(values) < len(validation):
            raise ValueError("validation: times differ between trajectories; resample them first.")
        every = max(1, (len(times) - 1) // num_times)
        truth = Trajectories(times[::every], values[:, ::every])

        def predict(scale: float) -> tuple[Forecast, Trajectories]:
            scaled = replace(self, diffusion_scale=scale)
            y0 = values[:, 0]
            return scaled.predict(y0, times[::every], parameters=parameters, num_samples=32), truth

        calibration = choose_diffusion_scale(predict, level=level)
        return replace(self, diffusion_scale=calibration.scale, calibration=calibration)

    def to_arviz(self, test: Trajectories, **options: Any) -> Any:
        """ArviZ data of forecasts of `test`; see `pyro_msde.arviz_io.to_arviz`."""
        from pyro_msde.arviz_io import to_arviz

        return to_arviz(self, test, **options)

    def save(self, path: str | Path) -> None:
        """Write run.json and weights.safetensors into a folder, for `pyro_msde.load`."""
        run = {
            "format": _FORMAT,
            "model": getattr(self.model, "config", None),
            "guide": {"case": "AmortizedGP"} if getattr(self.guide, "is_default", False) else None,
            "random_parts": self.guide.theta is not None,
            "scaling": asdict(self.scaling),
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "interrupted": self.interrupted,
            "has_channel": self.has_channel,
            "diffusion_scale": self.diffusion_scale,
            "dtype": str(_place(self.model)[0]).removeprefix("torch."),
            "history": asdict(self.history),
        }
        weights = {"model": self.model.state_dict(), "guide": self.guide.state_dict()}
        write_run(path, run, weights)

    def _fields(self, y0: Any) -> tuple[Tensor, bool]:
        """(batch, channel, *space) on the model's device, and whether a batch was given."""
        dtype, device = _place(self.model)
        value = torch.as_tensor(np.asarray(y0.detach().cpu() if isinstance(y0, Tensor) else y0))
        grid = self.model.grid
        one = grid.field_shape if self.has_channel else grid.shape
        if tuple(value.shape[-len(one) :]) != tuple(one) or value.ndim > len(one) + 1:
            raise ValueError(
                f"y0: shape {tuple(value.shape)}; the model's fields are {tuple(one)}, or "
                f"(batch, {', '.join(map(str, one))}). Interpolate to its grid first."
            )
        if not bool(value.isfinite().all()):
            raise ValueError("y0: holds NaN or infinite values. Fill or drop them.")
        batched = value.ndim > len(one)
        value = value if batched else value[None]
        value = value if self.has_channel else value[:, None]
        return value.to(device=device, dtype=dtype), batched

    def _parameters(self, parameters: Any, batch: int) -> Tensor | None:
        wanted = getattr(self.model, "num_parameters", 0)
        if parameters is None and wanted:
            raise ValueError(
                f"parameters: the model takes {wanted} for each trajectory; pass them."
            )
        if parameters is None:
            return None
        dtype, device = _place(self.model)
        value = torch.atleast_2d(torch.as_tensor(np.asarray(parameters)))
        return value.expand(batch, -1).to(device=device, dtype=dtype)

    def __repr__(self) -> str:
        """Steps, device, best score."""
        dtype, device = _place(self.model)
        best = min(self.history.validation, default=None)
        score = "" if best is None else f", validation NRMSE {best:.2%}"
        return f"Fit({self.steps} steps in {self.seconds:.0f} s, {dtype}, {device}{score})"


def fit(
    model: Any,
    guide: Any,
    data: Trajectories,
    *,
    validation: Trajectories | None = None,
    steps: int = 16_000,
    seed: int = 0,
    recipe: str | Recipe = "default",
    checkpoint: str | Path | None = None,
    validate_every: int = 500,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    progress: bool = True,
    **changes: Any,
) -> Fit:
    """Learn model and guide from trajectories by stochastic variational inference.

    Stopped by Ctrl-C it returns what it has learned so far. The model and the guide are trained in
    place; the parameters that were best on `validation` are in them at the end.

    Args:
        model: Pyro model, such as `pyro_msde.models.kdv()`.
        guide: Pyro guide made for it, such as `pyro_msde.guides.AmortizedGP(model)`.
        data: Training trajectories.
        validation: Trajectories on which forecasts from their first snapshot are scored as training
            goes on. None: the last parameters are kept.
        steps: Length of the run.
        seed: Of minibatches and noise; the global random state is left alone.
        recipe: "default", "published", or a `Recipe`.
        checkpoint: Folder to save to at every validation; a run found there is resumed.
        validate_every: Steps between validations.
        device: Where to train. None: where the model is.
        dtype: torch.float32 or torch.float64. None: the model's.
        progress: Show a progress bar.
        **changes: Fields of the `Recipe` to change, such as learning_rate=3e-4.

    Returns:
        The `Fit`.

    Raises:
        ValueError: Data that do not fit the model's grid or are too short for a segment, an unknown
            recipe, a guide made for another model, or a checkpoint of another run.
        NonFiniteLossError: The loss stopped being finite; the last good parameters are in place.
    """
    plan = _recipe(recipe, changes)
    _check_guide(model, guide)
    _check_inputs(model, data)
    grid = model.grid
    if validation is not None:
        _check_inputs(model, validation)
        validation.fields(grid.channels, grid.shape)
    fields = data.fields(grid.channels, grid.shape)
    dtype = _place(model)[0] if dtype is None else dtype
    device = torch.device(device) if device is not None else _place(model)[1]
    model.to(device=device, dtype=dtype)
    guide.to(device=device, dtype=dtype)
    scaling = Scaling.of(fields, data.horizon)
    segments = _segments(data, fields, scaling, plan, dtype, grid.ndim)
    result = Fit(
        model, guide, scaling, has_channel=data.has_channel_axis(grid.channels, grid.shape)
    )
    snapshots = data.num_observations
    log_volume = snapshots * scaling.log_volume(grid.num_points)
    with torch.random.fork_rng(devices=_devices_of(device)):
        torch.manual_seed(seed)
        trainer = Trainer(
            model, guide, segments, plan,
            steps=steps, rng=np.random.default_rng(seed), device=device, log_volume=log_volume,
        )  # fmt: skip
        return _train(trainer, result, validation, checkpoint, seed, validate_every, progress)


def _train(
    trainer: Trainer,
    result: Fit,
    validation: Trajectories | None,
    checkpoint: str | Path | None,
    seed: int,
    every: int,
    progress: bool,
) -> Fit:
    """Resume if there is something to resume, train, keep the best."""
    identity = {"seed": seed, "steps": trainer.steps, "recipe": asdict(trainer.recipe)}
    if checkpoint is not None:
        _resume(trainer, result, checkpoint, identity)
    began, before = time.perf_counter(), result.seconds

    def keep() -> None:
        result.steps = trainer.step
        result.history = trainer.history
        result.seconds = before + time.perf_counter() - began
        if checkpoint is not None:
            write_state(checkpoint, {**trainer.state(), **identity, "seconds": result.seconds})
            with trainer.best_in_place():
                result.save(checkpoint)

    finished = trainer.run(
        validate=None if validation is None else lambda: _score(result, validation),
        every=every,
        on_checkpoint=keep,
        progress=progress,
    )
    result.interrupted = not finished
    keep()
    trainer.keep_best()
    return result


def load(path: str | Path, model: Any = None, guide: Any = None) -> Fit:
    """Load what `Fit.save` or `fit(checkpoint=…)` wrote.

    Args:
        path: The folder.
        model: A model built as the saved one was. Needed for models of your own and for models
            with priors; registered cases are rebuilt, once `pyro_msde.models` is imported.
        guide: A guide for that model, likewise.

    Raises:
        SavedRunError: No saved run there, a damaged one, or one of another model.
    """
    run, weights = read_run(path)
    if run.get("format") != _FORMAT:
        raise SavedRunError(f"path: {path} is of format {run.get('format')}, not {_FORMAT}.")
    if model is None:
        if run["model"] is None or run["random_parts"]:
            raise SavedRunError(
                f"path: {path} holds a model of your own or one with priors. Build it as before "
                "and pass load(path, model=…, guide=…)."
            )
        model = rebuild(run["model"])
    if guide is None:
        if run["guide"] is None:
            raise SavedRunError(
                f"path: {path} holds a guide of your own; pass load(path, guide=…)."
            )
        guide = rebuild(run["guide"], model)
    dtype = getattr(torch, run["dtype"])
    model.to(dtype=dtype)
    guide.to(dtype=dtype)
    if guide.theta is not None:
        with pyro_settings(validate=False):
            guide.theta()  # creates the autoguide's parameters
    _fill(path, "model", model, weights["model"])
    _fill(path, "guide", guide, weights["guide"])
    scaling = Scaling(tuple(run["scaling"]["channels"]), run["scaling"]["time"])
    keys = ("steps", "seconds", "interrupted", "has_channel", "diffusion_scale")
    return Fit(model, guide, scaling, History(**run["history"]), **{key: run[key] for key in keys})


def _fill(path: str | Path, role: str, module: Any, weights: dict[str, Tensor]) -> None:
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise SavedRunError(
            f"{role}: the run in {path} is of another {role}: {str(error).splitlines()[1].strip()}"
        ) from error


def _score(result: Fit, validation: Trajectories, num_samples: int = 16) -> float:
    """Mean NRMSE over trajectories at about 50 times each, with one seed every time."""
    errors = []
    for times, values, parameters in _groups(validation):
        every = max(1, (len(times) - 1) // 50)
        fc = result.predict(
            values[:, 0],
            times[::every],
            num_samples=num_samples,
            parameters=parameters,
            max_step=result.scaling.time / 250,
        )
        error = fc.mean.numpy() - values[:, ::every]
        axes = tuple(range(2, error.ndim))
        ratio = (error**2).sum(axes) / (values[:, ::every] ** 2).sum(axes)
        errors.append(np.sqrt(ratio.mean(1)))
    score = float(np.concatenate(errors).mean())
    return score if np.isfinite(score) else float("inf")


def _groups(data: Trajectories) -> list[tuple[np.ndarray, np.ndarray, Any]]:
    """Trajectories in batches with common times: (times, (batch, time, *field), parameters)."""
    if data.common_times() is not None:
        return [(data.times[0], np.stack(data.values), data.parameters)]
    return [
        (t, v[None], None if data.parameters is None else data.parameters[k : k + 1])
        for k, (t, v) in enumerate(zip(data.times, data.values, strict=True))
    ]


def _resume(
    trainer: Trainer, result: Fit, checkpoint: str | Path, identity: dict[str, Any]
) -> None:
    state = read_state(checkpoint)
    if state is None:
        return
    for key, value in identity.items():
        if state[key] != value:
            raise SavedRunError(
                f"checkpoint: the run in {checkpoint} has {key}={state[key]}, this one {value}. "
                "Choose another folder, or the same arguments to resume it."
            )
    try:
        trainer.restore(state)
    except (RuntimeError, ValueError) as error:
        raise SavedRunError(f"checkpoint: the run in {checkpoint} is of another model.") from error
    result.seconds = state["seconds"]


def _recipe(recipe: str | Recipe, changes: dict[str, Any]) -> Recipe:
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise ValueError(f"recipe={recipe!r}: choose one of {', '.join(RECIPES)}.")
        recipe = RECIPES[recipe]
    known = asdict(recipe)
    for name in changes:
        if name not in known:
            raise ValueError(f"{name}: not an argument of fit nor of Recipe: {', '.join(known)}.")
    return replace(recipe, **changes)


def _check_guide(model: Any, guide: Any) -> None:
    owner = getattr(guide, "model", model)
    if owner is not model:
        raise ValueError("guide: made for another model. Build it anew with this one.")


def _check_inputs(model: Any, data: Trajectories) -> None:
    wanted = getattr(model, "num_parameters", 0)
    given = 0 if data.parameters is None else data.parameters.shape[1]
    if given != wanted:
        raise ValueError(
            f"data: {given} parameters a trajectory, the model takes {wanted}. Build the model for "
            "them, or leave them out of Trajectories."
        )
    if data.controls is not None:
        raise ValueError("data: no model takes controls yet. Leave them out of Trajectories.")


def _segments(
    data: Trajectories,
    fields: Sequence[np.ndarray],
    scaling: Scaling,
    plan: Recipe,
    dtype: torch.dtype,
    ndim: int,
) -> Segments:
    values = [torch.as_tensor(f).to(dtype) for f in fields]
    parameters = None if data.parameters is None else torch.as_tensor(data.parameters).to(dtype)
    return Segments(
        [torch.as_tensor(t / scaling.time) for t in data.times],
        [v / scaling.field_scale(v, ndim) for v in values],
        parameters=parameters,
        length=plan.length,
        stride=plan.stride,
        windows=plan.windows,
    )


def _check_times(times: Any, t0: float | None) -> np.ndarray:
    clock = np.atleast_1d(np.asarray(times, dtype=np.float64))
    if clock.ndim != 1 or len(clock) == 0 or not np.isfinite(clock).all():
        raise ValueError(f"times: shape {clock.shape}; give a row of finite times.")
    if (np.diff(clock) <= 0).any():
        i = int(np.argmin(np.diff(clock))) + 1
        raise ValueError(f"times: not increasing at index {i} (t={clock[i]:g}). Sort them.")
    if t0 is not None and clock[0] < t0:
        raise ValueError(
            f"times: begin at {clock[0]:g}, before t0={t0:g}. Forecasts run forward from y0."
        )
    return clock


def _place(model: Any) -> tuple[torch.dtype, torch.device]:
    """Dtype and device of the model's tensors."""
    like = next(v for v in model.state_dict().values() if v.is_floating_point())
    return like.dtype, like.device


def _devices(tensor: Tensor) -> list[torch.device]:
    return _devices_of(tensor.device)


def _devices_of(device: torch.device) -> list[torch.device]:
    return [] if device.type == "cpu" else [device]
