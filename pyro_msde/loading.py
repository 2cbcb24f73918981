"""The public verb `load`: a fit that was saved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyro_msde.checkpoint import read_run
from pyro_msde.diffusion_scale import Calibration
from pyro_msde.errors import SavedRunError
from pyro_msde.fitted import Fit
from pyro_msde.history import History
from pyro_msde.jackknife import Jackknife
from pyro_msde.priors import described_priors
from pyro_msde.recipes import Recipe
from pyro_msde.region import Region
from pyro_msde.registry import rebuild
from pyro_msde.scaling import Scaling
from pyro_msde.training import pyro_settings

__all__ = ["load"]


def load(path: str | Path, model: Any = None, guide: Any = None) -> Fit:
    """Load what `Fit.save` or `fit(checkpoint=…)` wrote.

    Args:
        path: The folder.
        model: A model built as the saved one was. Needed for models of your own and for models
            with priors; registered cases are rebuilt, once `pyro_msde.models` is imported.
        guide: A guide for that model, likewise.

    Raises:
        SavedRunError: No saved run there, a damaged one, or one of another model.
        ValueError: A guide made for another model than the one passed.
    """
    run, weights, _ = read_run(path, state=False)
    if model is None and (run.get("model") is None or run.get("random_parts")):
        raise SavedRunError(
            f"path: {path} holds a model of your own or one with priors. Build it as before "
            "and pass load(path, model=…, guide=…)."
        )
    if guide is None and run.get("guide") is None:
        raise SavedRunError(f"path: {path} holds a guide of your own; pass load(path, guide=…).")
    try:
        model = rebuild(run["model"]) if model is None else model
        guide = rebuild(run["guide"], model) if guide is None else guide
        result = _described(run, weights, model, guide)
        dtype = getattr(torch, run["dtype"])
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise SavedRunError(f"path: run.json in {path} is damaged: {error!r}") from error
    if getattr(guide, "model", model) is not model:
        raise ValueError("guide: made for another model than the one passed. Build it with this.")
    _check_options(path, run, model, guide)
    model.to(dtype=dtype)
    guide.to(dtype=dtype)
    if getattr(guide, "theta", None) is not None:
        with pyro_settings(validate=False):
            guide.theta()  # creates the autoguide's parameters
    for role, module in (("model", model), ("guide", guide)):
        _check_saved(path, role, module, weights[role])
    model.load_state_dict(weights["model"])
    guide.load_state_dict(weights["guide"])
    return result


def _described(
    run: Mapping[str, Any], weights: Mapping[str, dict[str, Tensor]], model: Any, guide: Any
) -> Fit:
    """The fit but for the weights of model and guide."""
    saved, dtype = run["scaling"], getattr(torch, run["dtype"])
    scaling = Scaling(tuple(saved["channels"]), saved["time"], tuple(saved.get("parameters", ())))
    keys = ("steps", "seconds", "interrupted", "has_channel", "diffusion_scale")
    history = History(**run["history"])
    result = Fit(model, guide, scaling, history, **{key: run[key] for key in keys})
    if run["region"] is not None:
        result.region = Region.from_lists(run["region"], dtype)
    if run.get("recipe") is not None:
        result.recipe = Recipe(**run["recipe"])
    result.identity = run.get("identity")
    if run.get("segment") is not None:
        result.segment = (run["segment"][0], run["segment"][1])
    if weights["uncertainty"]:
        result.uncertainty = Jackknife(weights["uncertainty"])
    if run["calibration"] is not None:
        result.calibration = Calibration(**run["calibration"])
    return result


def _check_options(path: str | Path, run: dict[str, Any], model: Any, guide: Any) -> None:
    """Options and priors agree where both are known; the seed of the start does not matter."""
    pairs = [
        ("model", run["model"], getattr(model, "config", None)),
        ("guide", run["guide"], getattr(guide, "config", None)),
        ("prior of model", run.get("priors"), described_priors(model)),
    ]
    for role, saved, own in pairs:
        if saved is None or own is None:
            continue
        for name in sorted((saved.keys() | own.keys()) - {"seed"}):
            there, here = saved.get(name), own.get(name)
            if there != here:
                raise SavedRunError(
                    f"{role}: the run in {path} has {name}={there!r}, here it is {here!r}. Build "
                    "it as it was."
                )


def _check_saved(path: str | Path, role: str, module: Any, weights: dict[str, Tensor]) -> None:
    """Names and shapes agree; checked before anything is copied, so that nothing is half loaded."""
    own = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    saved = {name: tuple(value.shape) for name, value in weights.items()}
    for name in sorted(own.keys() | saved.keys()):
        if own.get(name) != saved.get(name):
            raise SavedRunError(
                f"{role}: the run in {path} is of another {role}: {name} is "
                f"{saved.get(name, 'missing')} there and {own.get(name, 'missing')} here."
            )
