"""What is kept of a fit: a description in plain numbers, and tensors by owner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyro_msde.errors import SavedRunError, warn
from pyro_msde.isolation import place_of
from pyro_msde.likelihoods import FieldNormal
from pyro_msde.priors import described_priors, fixed_names, posterior_of
from pyro_msde.protocols import Adjustment, FittedModel, Module
from pyro_msde.runs import config_of, is_registered, read_run, write_run

__all__ = ["description_of", "save", "structure_of", "weights_of"]


def description_of(fit: FittedModel) -> dict[str, Any]:
    """What `load` rebuilds a `Fit` from, beside the tensors; `pyro_msde.runs.schema` checks it."""
    training = fit.training
    return {
        "model": config_of(fit.model),
        "guide": config_of(fit.guide),
        "priors": described_priors(fit.model),
        "scaling": {
            "channels": fit.scaling.channels,
            "time": fit.scaling.time,
            "covariates": fit.scaling.covariates,
            "controls": fit.scaling.controls,
            "period": fit.scaling.reference.period,
            **_link(fit),
        },
        "random_parts": posterior_of(fit.guide) is not None,
        **vars(training),
        "recipe": None if training.recipe is None else asdict(training.recipe),
        "seconds": round(training.seconds, 1),
        "history": asdict(training.history),
        "metadata": None if fit.metadata is None else fit.metadata.to_json(),
        "has_channel": fit.has_channel,
        "adjustments": [
            {"name": adjustment.name} | plain for adjustment, plain, _ in _adjustments(fit)
        ],
        "dtype": str(place_of(fit.model)[0]).removeprefix("torch."),
        "structure": structure_of("model", fit.model) | structure_of("guide", fit.guide),
    }


def save(fit: FittedModel, path: str | Path) -> None:
    """Write a fit, with the state of training that is there if it is this very run's."""
    for adjustment in fit.adjustments:
        if not is_registered(adjustment):
            warn(
                f"path: adjustments: {type(adjustment).__name__} is not registered under "
                f"{adjustment.name!r}, without which load cannot make it again. Decorate the class "
                "with pyro_msde.runs.register_adjustment."
            )
    state, identity = None, fit.training.identity
    if fit.training.interrupted and identity is not None:
        with suppress(SavedRunError):  # nothing there, or nothing that can be read
            saved = read_run(path)
            state = saved.state if saved.run.get("identity") == identity else None
    write_run(path, description_of(fit), weights_of(fit), state)


def structure_of(role: str, module: Module) -> dict[str, str]:
    """Names of the classes of a module and all those in it, by owner and name.

    A model's likelihood counts among them, unless it is the normal one.
    """
    kinds = {name: type(submodule).__name__ for name, submodule in module.named_modules()}
    law = getattr(module, "likelihood", None)
    if callable(law) and law is not FieldNormal:
        kinds["likelihood"] = getattr(law, "__qualname__", type(law).__qualname__)
    return {f"{role}.{name}".rstrip("."): kind for name, kind in kinds.items()}


def weights_of(fit: FittedModel) -> dict[str, dict[str, Tensor]]:
    """Tensors of "model", "guide", "adjustments" and "scaling".

    What is not trained, as principal components, is in half precision where that is the same.
    """
    reference, never = fit.scaling.reference.coefficients, fit.scaling.never_observed
    seen = None if fit.scaling.link is None else fit.scaling.link.reference.coefficients
    return {
        "model": _compact(fit.model),
        "guide": _compact(fit.guide),
        "adjustments": {
            f"{adjustment.name}.{key}": value
            for adjustment, _, tensors in _adjustments(fit)
            for key, value in tensors.items()
        },
        "scaling": {
            **({} if reference is None else {"reference": torch.as_tensor(reference)}),
            **({} if never is None else {"never_observed": never}),
            **({} if seen is None else {"link_reference": torch.as_tensor(seen)}),
        },
    }


def _link(fit: FittedModel) -> dict[str, Any]:
    """Offsets and scales, if any; the period of its reference is that of the fields' own."""
    link = fit.scaling.link
    return {} if link is None else {"link": {"offsets": link.offsets, "channels": link.channels}}


def _compact(module: Module) -> dict[str, Tensor]:
    state = dict(module.state_dict())
    for name in fixed_names(module) & state.keys():
        value = state[name]
        if value.is_floating_point() and torch.equal(value.half().to(value.dtype), value):
            state[name] = value.half()
    return state


def _adjustments(
    fit: FittedModel,
) -> Iterator[tuple[Adjustment, dict[str, Any], dict[str, Tensor]]]:
    """Each with what `to_dict` gives, for JSON and in tensors."""
    for adjustment in fit.adjustments:
        saved = adjustment.to_dict()
        tensors = {key: value for key, value in saved.items() if isinstance(value, Tensor)}
        yield adjustment, {k: v for k, v in saved.items() if k not in tensors}, tensors
