"""Which run a checkpoint is of, and going on with it.

Weights of equal shapes do not make it the same run: options, priors and data have to agree as well,
those that validate among them. Of the recipe three numbers may be others where training goes on,
for when it failed with them: learning_rate, anneal and clip.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from pyro_msde.data import Metadata, Scaling, Trajectories
from pyro_msde.errors import SavedRunError, warn
from pyro_msde.inference import Trainer, is_equation_alone
from pyro_msde.interface.description import structure_of
from pyro_msde.interface.fitted import Fit
from pyro_msde.interface.loading import load
from pyro_msde.interface.training_run import TrainingRun
from pyro_msde.isolation import place_of
from pyro_msde.priors import described_priors
from pyro_msde.protocols import Module
from pyro_msde.runs import Recipe, Saved, checked, config_of

__all__ = ["identity_of", "resume"]

_PACKED = ("reference", "model.static", "model.mask")
_MADE_ANEW = {
    "calibration",
    "coefficients",
    "jackknife",
    "memory",
    "path_noise",
    "region",
    "trust",
}  # adjustments that a run ends with, or is warned of
_FREE = ("learning_rate", "anneal", "clip")  # of the recipe, while training goes on


def identity_of(
    trainer: Trainer,
    scaling: Scaling,
    data: Trajectories,
    seed: int,
    validation: Trajectories | None,
    validate_every: int,
) -> dict[str, Any]:
    """What has to agree for a run to be resumed; kept with the run, and as it is read again."""
    segments = trainer.segments
    return _as_read(
        {
            "seed": seed,
            "steps": trainer.steps,
            "validate_every": validate_every,
            "recipe": asdict(trainer.recipe),
            "options": {
                **_options("model", trainer.model),
                **_options("guide", trainer.guide),
                "dtype": str(place_of(trainer.model)[0]),
                **_likelihood(trainer.model),
                **{f"prior of {k}": v for k, v in described_priors(trainer.model).items()},
                **_reference(scaling),
                **_link(scaling),
            },
            "model": _shapes(trainer),
            "data": _digest(
                (*segments.times, *_fields(trainer, data), _scale(trainer, scaling)),
                segments.covariates,
                data.controls,
            ),
            "validation": None
            if validation is None
            else _digest(
                (*validation.times, *validation.values),
                validation.covariates,
                validation.controls,
            ),
        }
    )


def _fields(trainer: Trainer, data: Trajectories) -> list[Any]:
    grid = trainer.model.grid
    return data.fields(grid.channels, grid.data_shape)


def _scale(trainer: Trainer, scaling: Scaling) -> Tensor:
    return scaling.field_scale(torch.empty(0, dtype=torch.float64), trainer.model.grid.ndim)


def _reference(scaling: Scaling) -> dict[str, Any]:
    """Digest and period of the reference, unless nothing is subtracted."""
    reference = scaling.reference
    if reference.coefficients is None:
        return {}
    return {"reference": _digest([reference.coefficients], None), "period": reference.period}


def _link(scaling: Scaling) -> dict[str, Any]:
    """The offsets of the link, unless there is none."""
    return {} if scaling.link is None else {"link": scaling.link.offsets}


def _likelihood(model: Module) -> dict[str, str]:
    """The likelihood's name, unless it is the normal one."""
    name = structure_of("model", model).get("model.likelihood")
    return {} if name is None else {"likelihood": name}


def resume(run: TrainingRun, saved: Saved, measured: bool) -> Fit | None:
    """Go on from what is saved in a run's folder; the fit, if nothing is left to do.

    Args:
        run: The run that was asked for; it gets what is saved.
        saved: Read from its folder.
        measured: Whether the fit is asked for with a jackknife.

    Raises:
        SavedRunError: It is another run, does not say which, or cannot be gone on with.
    """
    if run.folder is None:
        return None
    _check_same(saved, run)
    if saved.run["interrupted"]:
        _go_on(run, saved)
        return None
    result = load(run.folder, run.trainer.model, run.trainer.guide)
    metadata = Metadata.of(run.data)
    if result.metadata is not None:
        result.metadata.check("data", metadata)
    alone = is_equation_alone(result.model)
    if measured and not alone and result.adjustment("jackknife") is None:
        warn(
            f"checkpoint: the finished run in {run.folder} was saved without a jackknife. Call "
            "fit.jackknifed(data) for one."
        )
    return replace(result, metadata=metadata)


def _check_same(saved: Saved, run: TrainingRun) -> None:
    """The run that is saved is the one that was asked for."""
    try:
        unfinished = checked(saved.run).interrupted
    except ValueError as error:
        raise SavedRunError(
            f"checkpoint: run.json in {run.folder} is damaged: {error}. Choose another folder."
        ) from error
    identity = saved.run.get("identity")
    if identity is None:
        raise SavedRunError(
            f"checkpoint: the run in {run.folder} does not say what it was trained on, as it was "
            "saved by an earlier version or is none of `fit`. Choose another folder, or load it."
        )
    # a field that came later has the default, which is what older runs were trained with
    identity = {**identity, "recipe": {**asdict(Recipe()), **identity["recipe"]}}
    asked = run.identity
    if unfinished:
        asked, identity = (
            {**x, "recipe": {k: v for k, v in x["recipe"].items() if k not in _FREE}}
            for x in (asked, identity)
        )
    for key, value in asked.items():
        if value != identity.get(key):
            difference = _difference(key, identity.get(key), value)
            raise SavedRunError(
                f"checkpoint: the run in {run.folder} has {difference}. Choose another folder, or "
                "the same arguments to resume it."
            )


def _go_on(run: TrainingRun, saved: Saved) -> None:
    """Put the trainer where an unfinished run stopped, and warn of what is not as it was.

    A scale chosen for forecasts with the weights of then is not one for those trained from now on.
    """
    try:
        if saved.state is None:
            raise ValueError("no state was saved")
        run.trainer.restore(saved.state)
    except Exception as error:  # whatever a file's content may lead to
        raise SavedRunError(
            f"checkpoint: no state in {run.folder} from which training could go on: {error!r}. "
            "Choose another folder."
        ) from error
    run.seconds = saved.run["seconds"]
    before, now = saved.run["identity"]["recipe"], asdict(run.trainer.recipe)
    changed = [
        f"{name}={now[name]}, till then {before[name]}"
        for name in _FREE
        if name in before and before[name] != now[name]
    ]
    told = f"checkpoint: the run in {run.folder}"
    if changed:
        warn(f"{told} goes on from step {run.trainer.step} with {'; '.join(changed)}.")
    names = {adjustment["name"] for adjustment in saved.run["adjustments"]}
    if "calibration" in names:
        warn(
            f"{told} was calibrated before it was finished. Other weights are trained now, so its "
            "scale is 1 again: calibrate it in the end."
        )
    if others := sorted(names - _MADE_ANEW):
        warn(
            f"{told} was adjusted before it was finished. Other weights are trained now: add "
            f"{', '.join(others)} again in the end, with fit.adjusted(…)."
        )


def _difference(key: str, saved: Any, asked: Any) -> str:
    """What is not the same: numbers and options by name and value."""
    if key in ("seed", "steps", "validate_every"):
        return f"{key}={saved}, here {asked}"
    if key == "validation" and None in (saved, asked):
        return "no validation, here there is one" if asked else "validation, here there is none"
    if key not in ("options", "recipe"):
        return f"another {key}"
    saved = saved or {}
    name = next(n for n in {**asked, **saved} if saved.get(n) != asked.get(n))
    if name in _PACKED and None not in (saved.get(name), asked.get(name)):
        return f"another {name.removeprefix('model.')}"  # digests tell a reader nothing
    return f"{name}={saved.get(name)!r}, here {asked.get(name)!r}"


def _options(role: str, module: Module) -> dict[str, Any]:
    """What `load` would build it again from, by role and name; empty for the user's own."""
    config = config_of(module) or {}
    return {f"{role}.{name}": value for name, value in config.items()}


def _as_read(value: Any) -> Any:
    """As it comes back from JSON: lists for tuples, Python's numbers for numpy's."""
    return json.loads(json.dumps(value, default=lambda v: v.item()))


def _shapes(trainer: Trainer) -> str:
    """Digest of names and shapes of all parameters and buffers."""
    shapes = {
        f"{owner}.{name}": tuple(value.shape)
        for owner, module in trainer.modules.items()
        for name, value in module.state_dict().items()
    }
    return hashlib.blake2b(json.dumps(shapes).encode(), digest_size=16).hexdigest()


def _digest(arrays: Iterable[Any], covariates: Any, controls: Iterable[Any] | None = None) -> str:
    """Digest of arrays or tensors as they are."""
    digest = hashlib.blake2b(digest_size=16)
    for array in (*arrays, *([] if covariates is None else [covariates]), *(controls or ())):
        values = array.cpu().numpy() if isinstance(array, Tensor) else array
        digest.update(str((values.dtype, values.shape)).encode())
        digest.update(values.tobytes())
    return digest.hexdigest()
