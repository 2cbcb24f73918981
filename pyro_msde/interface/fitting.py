"""The public verb `fit`: learn a model and its guide from trajectories."""

from __future__ import annotations

import difflib
import inspect
import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyro_msde.checks import check_seed, check_whole
from pyro_msde.data import (
    Cycle,
    Metadata,
    Scaling,
    Segments,
    Trajectories,
    check_trajectories,
    in_order,
    linked_scaling,
    observed_by_channel,
    observed_snapshots,
    reference_of,
    scaled_segments,
    segment_sizes,
    warn_of_outliers,
)
from pyro_msde.grid import check_on_grid
from pyro_msde.inference import (
    Log,
    ProgressBar,
    Trainer,
    check_callbacks,
    check_roles,
    equation_of,
    left_out,
    measure_equation,
    observes_normals,
)
from pyro_msde.interface.beside_baselines import beside_baselines
from pyro_msde.interface.fitted import Fit
from pyro_msde.interface.holding_out import held_out, needs_validation
from pyro_msde.interface.ownership import free_of_fits, with_copies
from pyro_msde.interface.path_noise_choice import chosen_path_noise, observation_shortfall
from pyro_msde.interface.resuming import identity_of, resume
from pyro_msde.interface.training_run import TrainingRun
from pyro_msde.interface.trusting import usual_forecasts
from pyro_msde.interface.validation import checked_validation, judging, validation_score
from pyro_msde.interruption import Interruption
from pyro_msde.isolation import place_of
from pyro_msde.memory import memory_kept
from pyro_msde.protocols import Callback, FreeNodes, Guide, LastLayer, Model, Places
from pyro_msde.renaming import renamed_arguments, tell_renamed
from pyro_msde.runs import RECIPES, Recipe, locked_folder, make_folder, read_checkpoint

__all__ = ["fit"]

_LOG = logging.getLogger(__name__)


@renamed_arguments(windows="segment_starts", spread="tube_width")
def fit(
    model: Model,
    guide: Guide,
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
    callbacks: Sequence[Callback] = (),
    jackknife: bool = True,
    reference: Any = "channel",
    link: Any = None,
    **changes: Any,
) -> Fit:
    """Learn model and guide from trajectories by stochastic variational inference.

    The model and the guide are trained in place; the parameters that were best on `validation` are
    in them at the end, and Σ_y is where the ELBO is largest at these
    (`pyro_msde.inference.closed_form_variance`), unless it has a prior or is held. The `Fit` has
    copies of both, so that training them again does not change it; a model that belongs to a `Fit`
    already is copied first, and the copy is trained.

    Ctrl-C returns what has been learned so far, after what cannot be cut short: the warm start, a
    step, a validation or a save that has begun; then one validation of the parameters as they are,
    a pass over the training segments for Σ_y and the last save. The jackknife is left out. That
    takes seconds, or as long as a validation and such a pass take; pressing again changes nothing.
    SIGTERM ends the process after the step or whatever else has begun and a save to `checkpoint`.
    Signals come to the main thread only, and a handler of your own for Ctrl-C stays in place: what
    that raises may come within a step. If it is a KeyboardInterrupt, as one that the model raises,
    the fit is returned, too; it is saved where no step was torn.

    A checkpoint resumes the same run only: equal seed, steps, recipe, options and priors of model
    and guide, data, validation trajectories and `validate_every`. While it is unfinished, after a
    `NonFiniteLossError` say, `learning_rate`, `anneal` and `clip` may be others, of which a warning
    tells. What is resumed, after Ctrl-C or a crash, becomes the uninterrupted run in every bit. A
    finished run is read as it was saved, calibrated or not. Where a checkpoint cannot be written, a
    warning says so and training goes on.

    The log's last line says how validation forecasts compare with the best of persistence,
    climatology, damped persistence and a linear inverse model; it is a warning where that does
    better. `pyro_msde.compare` has more.

    `callbacks` see each step and each validation, and the ELBO's terms every 50 steps, when they
    are read from the device. They run between steps in your own random state, must change neither
    model nor guide, and are not saved: `start` tells them where a resumed run goes on. If `step` or
    `validation` returns True, the run ends as if it had been that long: `steps` of the fit says
    how long, and a checkpoint of it is of a finished run. What they raise ends `fit` after a save
    to the checkpoint, from which the run is resumed.

    Args:
        model: Pyro model, such as `pyro_msde.models.kdv()`.
        guide: Pyro guide made for it, such as `pyro_msde.guides.AmortizedGP(model)`.
        data: Training trajectories; snapshots of which nothing was observed are left out.
        validation: Trajectories on which forecasts from their first snapshot that is not wholly
            missing are scored as training goes on. None: the last parameters are kept; of noisy
            paths (`docs/method.md`) a fifth of the data validates, of which the log tells.
        steps: Length of the run; noisy paths end it sooner where validation gains nothing
            (`Recipe.patience`).
        seed: Of minibatches and noise; the global random state is left alone.
        recipe: "default"; "resolved", which is better at n_η = 0 where the coarse grid resolves
            the field; "published"; or a `Recipe`. Its length and stride of segments are shortened
            to what the data allow, of which the log tells, unless they are given as `length=` or
            `stride=`.
        checkpoint: Folder to save to at every validation; a run found there is resumed. It is
            locked meanwhile.
        validate_every: Steps between validations.
        device: Where to train. None: where the model is.
        dtype: torch.float32 or torch.float64. None: the model's.
        progress: Show a progress bar, and what goes to Python's logger "pyro_msde" above it.
        callbacks: Objects of classes derived from `pyro_msde.Callback`, called in this order.
        jackknife: Measure in the end what the drift owes to single trajectories, or to blocks of
            time of the only one, as `Fit.jackknifed` does, so that forecasts are less certain where
            few of them tell. Not done for two snapshots, nor for a drift that has a prior or is no
            `pyro_msde.protocols.LastLayer`; the log tells which steps a drift has left out.
        reference: What is subtracted from fields, and given back in every output: "channel", the
            mean of each channel over the training data, but of channels that are zero on a wall;
            "point", that of each point; `pyro_msde.Cycle(period, harmonics)`, a mean cycle at each
            point, such as the seasons'; an array (*space) or (channel, *space), or one number a
            channel; an xarray DataArray, which is read by its names and positions; None: nothing.
        link: "log" for fields that are never negative, such as precipitation or concentrations: the
            model is of log(1 + y/c), or of log y where no training value is zero, and forecasts are
            of y again, never negative (`pyro_msde.Log` says what c is, and takes one of your own).
            A list, one a channel, leaves those as they are that have None in it. Scores are of y.
        **changes: Fields of the `Recipe` to change, such as learning_rate=3e-4.

    Returns:
        The `Fit`.

    Raises:
        ValueError: Data that do not fit the model's grid, are too short for the segments asked for,
            too large or small for the dtype, or have no logarithm for a `link`; an unknown recipe
            or a number of its without sense; a guide made for another model.
        SavedRunError: The checkpoint is of another run, in use, damaged, or cannot be written when
            training begins.
        NonFiniteLossError: The loss stopped being finite; the last good parameters are in place.
    """
    plan = _recipe(recipe, changes)
    for name, value, least in (("steps", steps, 0), ("validate_every", validate_every, 1)):
        check_whole(name, value, least)
    check_seed("seed", seed)
    log = ProgressBar() if progress else Log()
    callbacks = [log, *check_callbacks(callbacks)]
    check_roles(model, guide)
    if not torch.is_grad_enabled() or torch.is_inference_mode_enabled():
        raise ValueError(
            "fit: called where torch takes no gradients, in no_grad or inference_mode. Call it "
            "outside."
        )
    model, guide = free_of_fits(model, guide)
    check_trajectories("data", model, data)
    grid = model.grid
    check_on_grid("data", data, grid)
    data = observed_snapshots(data, grid)  # others are no nodes of a path
    fields = _fields(data, grid)
    if isinstance(reference, Cycle):
        reference = reference.in_units(data.time_units)
    reference = in_order("reference", reference, Metadata.of(data), data.field_shape)
    subtracted = reference_of(reference, fields, data.times, grid.admits_constant)
    scaling = Scaling.of(
        fields,
        data.horizon,
        data.covariates,
        controls=data.controls,
        reference=subtracted,
        times=data.times,
    )
    scaling = linked_scaling(scaling, link, fields, data.times, reference, grid.admits_constant)
    if scaling.link is not None and not observes_normals(model):
        raise ValueError(
            "link: what the model sees has to be normal given its state, as only then the mean of "
            "the fields is finite for any variance. Use likelihood='normal'."
        )
    if scaling.link is not None and not getattr(model, "takes_link", True):
        raise ValueError(
            f"link: {type(model).__name__} was made from fields as they are, and its modes are not "
            "those of their logarithms. Make it from logarithms and give no link."
        )
    if validation is not None:
        validation = checked_validation(validation, data, model, scaling)
    if isinstance(guide, FreeNodes):
        guide.check_data(data)
    folder = None if checkpoint is None else make_folder(checkpoint)
    dtype, device = _place(model, dtype, device)
    scaling.check_room(dtype)
    if scaling.link is None:  # whose logarithm tames them
        warn_of_outliers(fields, data.times)
    fixed = _given_sizes(recipe, changes)
    lock = nullcontext() if folder is None else locked_folder(folder)
    with Interruption() as stop, memory_kept(), lock:
        model.to(device=device, dtype=dtype)
        guide.to(device=device, dtype=dtype)
        sizes, segments = _segments(plan, data, fixed, scaling, grid, dtype)
        learns = plan.warm_start and not isinstance(guide, FreeNodes)  # whose nodes are all data's
        if validation is None and learns and needs_validation(model, segments):
            needed = (sizes.length - 1) * sizes.stride + 1 if fixed else 2
            if (parts := held_out(data, needed)) is not None:
                data, validation = parts
                fields = _fields(data, grid)
                sizes, segments = _segments(plan, data, fixed, scaling, grid, dtype)
        plan = sizes
        misfit = measure_equation(model, scaling, data.static)
        if misfit is not None and (path := equation_of(model)) is not None:
            if path.given is not None:
                raise ValueError(f"equation: {misfit}, so that it does not hold of what is seen.")
            _LOG.info("no equation is identified: %s", misfit)
        trainer = Trainer(
            model,
            guide,
            segments,
            plan,
            steps=steps,
            seed=seed,
            device=device,
            log_volume=scaling.seen.log_volume(observed_by_channel(fields))
            + (0.0 if scaling.link is None else scaling.link.log_volume(fields)),
            equation_misfit=misfit,
        )
        score = None if validation is None else partial(validation_score, validation=validation)
        identity = identity_of(trainer, scaling, data, seed, validation, validate_every)
        usual = None if validation is None else partial(usual_forecasts, validation=validation)
        judge = None if validation is None else judging(validation, scaling, grid, dtype)
        judged = data if validation is None else validation
        noise = partial(chosen_path_noise, validation=judged)
        shortfall = partial(observation_shortfall, validation=judged)
        run = TrainingRun(
            trainer,
            scaling,
            data,
            identity,
            score,
            judge,
            usual,
            noise,
            shortfall,
            validate_every,
            folder,
            stop,
        )
        saved = None if folder is None else read_checkpoint(folder)
        refused = left_out(model, start=plan.warm_start, jackknife=jackknife, tell=saved is None)
        measure = jackknife and sum(map(len, data.times)) > 2 and LastLayer not in refused
        result = None if saved is None else resume(run, saved, measure)
        if result is None:
            result = run.learn(resumed=saved is not None, callbacks=callbacks, measure=measure)
            if validation is not None and not stop.requested:
                log.tell(*beside_baselines(result, data, validation))
        return with_copies(result)


def _recipe(recipe: str | Recipe, changes: dict[str, Any]) -> Recipe:
    if recipe == "steady":
        tell_renamed('recipe="steady"', '"resolved"')
        recipe = "resolved"
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise ValueError(f"recipe={recipe!r}: choose one of {', '.join(RECIPES)}.")
        recipe = RECIPES[recipe]
    known = asdict(recipe)
    for name in changes:
        if name not in known:
            names = [*inspect.signature(fit).parameters, *known]
            near = difflib.get_close_matches(name, names, 1, 0.4)
            hint = f"Did you mean {near[0]}? " if near else ""
            raise ValueError(
                f"{name}: not an argument of fit nor of Recipe. {hint}Recipe has "
                f"{', '.join(known)}."
            )
    return replace(recipe, **changes)


def _given_sizes(recipe: str | Recipe, changes: dict[str, Any]) -> set[str]:
    """Which of length and stride a user has chosen."""
    usual = Recipe()
    own = isinstance(recipe, Recipe)
    return {
        name
        for name in ("length", "stride")
        if name in changes or (own and getattr(recipe, name) != getattr(usual, name))
    }


def _with_segments_that_fit(plan: Recipe, data: Trajectories, fixed: set[str]) -> Recipe:
    """The recipe with segments that the data allow."""
    if len(fixed) == 2:
        return plan
    length, stride, why = segment_sizes(data, plan.length, plan.stride, fixed)
    _LOG.info(why)
    return replace(plan, length=length, stride=stride)


def _fields(data: Trajectories, grid: Places) -> list[Any]:
    """Fields (time, channel, *space) of each trajectory, NaN where the grid has none."""
    fields = data.fields(grid.channels, grid.data_shape)
    if grid.mask is None:
        return list(fields)
    return [np.where(grid.mask, field, np.nan) for field in fields]


def _segments(
    plan: Recipe,
    data: Trajectories,
    fixed: set[str],
    scaling: Scaling,
    grid: Places,
    dtype: torch.dtype,
) -> tuple[Recipe, Segments]:
    """The recipe with segments that the data allow, and these."""
    plan = _with_segments_that_fit(plan, data, fixed)
    like = torch.empty(0, dtype=dtype)
    sizes = {"length": plan.length, "stride": plan.stride, "starts": plan.segment_starts}
    return plan, scaled_segments(data, scaling, grid, like, **sizes)


def _place(
    model: Model, dtype: torch.dtype | None, device: str | torch.device | None
) -> tuple[torch.dtype, torch.device]:
    """Those asked for, or the model's own."""
    own_dtype, own_device = place_of(model)
    if dtype not in (None, torch.float32, torch.float64):
        raise ValueError(f"dtype={dtype!r}: give torch.float32 or torch.float64.")
    try:
        place = own_device if device is None else torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"device={device!r}: give one that torch knows, as 'cpu'.") from error
    if place.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device={device!r}: torch finds no GPU here. Leave device out.")
    return dtype or own_dtype, place
