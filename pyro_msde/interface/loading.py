"""The public verb `load`: a fit that was saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from pyro_msde.checks import check_kind
from pyro_msde.data import Link, Metadata, Reference, Scaling
from pyro_msde.errors import SavedRunError
from pyro_msde.inference import check_owner
from pyro_msde.interface.agreement import (
    FolderPath,
    check_options,
    check_parameters,
    check_scaling,
    check_structure,
    check_weights,
)
from pyro_msde.interface.fitted import Fit
from pyro_msde.interface.ownership import belongs
from pyro_msde.isolation import Isolation
from pyro_msde.priors import posterior_of
from pyro_msde.protocols import Adjustment, Guide, Model, Module
from pyro_msde.runs import (
    Description,
    History,
    TrainingRecord,
    checked,
    limited,
    read_run,
    rebuild,
    rebuild_adjustment,
)

__all__ = ["load"]

_ROOM = 2**23  # numbers that a model may hold even if its file has fewer, as tables do

Weights = Mapping[str, Mapping[str, Tensor]]


def load(path: FolderPath, model: Model | None = None, guide: Guide | None = None) -> Fit:
    """Load what `Fit.save` or `fit(checkpoint=…)` wrote. Nothing that is read is executed.

    Args:
        path: The folder.
        model: A model built as the saved one was. Needed for models of your own and for models
            with priors; cases of this package, and those that you have registered, are rebuilt.
        guide: A guide for that model, likewise.

    Raises:
        SavedRunError: No saved run there, a damaged one, or one of another model. The model and
            guide that were passed are as they were.
        TypeError: Something else than a path, a model and a guide.
        ValueError: A guide made for another model than the one passed.
    """
    for name, value in (("model", model), ("guide", guide)):
        if value is not None:
            check_kind(name, value, nn.Module, "one built as it was saved")
    run, weights, _ = read_run(path, state=False)
    try:
        described = checked(run)
    except ValueError as error:
        raise SavedRunError(f"path: run.json in {path} is damaged: {error}.") from error
    if model is None and (described.model is None or described.random_parts):
        raise SavedRunError(
            f"path: {path} holds a model of your own or one with priors. Build it as before "
            "and pass load(path, model=…, guide=…)."
        )
    if guide is None and described.guide is None:
        raise SavedRunError(
            f"path: {path} holds a guide of your own. Build it and its model as before, and pass "
            "load(path, model, guide)."
        )
    numbers = sum(value.numel() for part in weights.values() for value in part.values())
    with limited(max(_ROOM, 2 * numbers)):
        model = _rebuilt(path, "model", described.model) if model is None else model
        guide = _rebuilt(path, "guide", described.guide, model) if guide is None else guide
    check_owner(model, guide)
    _check_parts(path, described, weights, model, guide)
    result = _fit(path, described, weights, model, guide)
    _put(path, result, weights, getattr(torch, described.dtype))
    belongs(model)
    return result


def _rebuilt(path: FolderPath, role: str, config: Any, *args: Any) -> Any:
    """A registered case, whatever its factory makes of the arguments."""
    try:
        return rebuild(config, *args)
    except KeyError as error:
        reason = f"{error} is missing"
    except Exception as error:
        reason = str(error).split("\n", 1)[0]
    raise SavedRunError(
        f"path: run.json in {path}: {role} cannot be built: {reason.rstrip('.')}. If it could when "
        f"it was saved, build it as before and pass load(path, {role}=…)."
    )


def _check_parts(
    path: FolderPath, described: Description, weights: Weights, model: Model, guide: Guide
) -> None:
    """Model and guide are those that were saved, as far as options, classes and shapes tell."""
    check_options(path, described, model, guide)
    theta = posterior_of(guide)
    if theta is not None:
        with Isolation(0).turn():
            theta()  # creates the autoguide's parameters
    for role, module in (("model", model), ("guide", guide)):
        check_structure(path, role, module, described.structure)
        check_weights(path, role, module, weights[role], getattr(torch, described.dtype))


def _fit(
    path: FolderPath, described: Description, weights: Weights, model: Model, guide: Guide
) -> Fit:
    """The fit but for the weights of model and guide."""
    same = {name: getattr(described, name) for name in ("steps", "seconds", "interrupted")}
    identity, metadata = described.identity, described.metadata
    try:
        result = Fit(
            model,
            guide,
            _scaling(described, weights["scaling"], model),
            has_channel=described.has_channel,
            metadata=None if metadata is None else Metadata.from_json(metadata),
            adjustments=tuple(_adjustments(described, weights["adjustments"], model)),
            training=TrainingRecord(
                History(**msgspec.structs.asdict(described.history)),
                segment=described.segment,
                recipe=described.recipe,
                identity=None if identity is None else msgspec.to_builtins(identity),
                **same,
            ),
        )
        check_scaling(result, getattr(torch, described.dtype))
    except Exception as error:  # whatever the `from_dict` of a user's adjustment may raise
        raise SavedRunError(f"path: the run in {path} is damaged: {error}.") from error
    return result


def _scaling(described: Description, tensors: Mapping[str, Tensor], model: Model) -> Scaling:
    """Scaled against user's units.

    Raises:
        ValueError: A tensor that is neither a reference nor a mask, or not finite.
    """
    known = msgspec.structs.asdict(described.scaling)
    period, link = known.pop("period"), known.pop("link")
    never, ours = tensors.get("never_observed"), tensors.get("reference")
    unknown = tensors.keys() - {"reference", "never_observed", "link_reference"}
    if unknown or (period is not None and ours is None):
        raise ValueError("scaling: tensors that are neither a reference nor a mask")
    if never is not None and never.dtype != torch.bool:
        raise ValueError(f"scaling.never_observed: {never.dtype}, not bool")
    reference = _reference(ours, period)
    if link is not None:
        seen = _reference(tensors.get("link_reference"), period)
        link = Link(model.grid.ndim, link.offsets, link.channels, seen)
    elif "link_reference" in tensors:
        raise ValueError("scaling: a reference of a link without one")
    return Scaling(**known, never_observed=never, reference=reference, link=link)


def _reference(coefficients: Tensor | None, period: float | None) -> Reference:
    """What is subtracted; nothing without coefficients."""
    if coefficients is None:
        return Reference()
    if coefficients.dtype != torch.float64 or not bool(coefficients.isfinite().all()):
        raise ValueError("scaling.reference: not of finite float64 numbers")
    return Reference(coefficients.numpy(), period)


def _adjustments(
    described: Description, tensors: Mapping[str, Tensor], model: Model
) -> Iterator[Adjustment]:
    """In their order, each from its numbers and tensors.

    Raises:
        ValueError: One that is not registered or does not fit the model; tensors of none.
    """
    left = dict(tensors)
    for saved in described.adjustments:
        name = saved["name"]
        values = {key: value for key, value in saved.items() if key != "name"}
        mine = [key for key in left if key.startswith(f"{name}.")]
        values |= {key.removeprefix(f"{name}."): left.pop(key) for key in mine}
        yield rebuild_adjustment(name, values, model)
    if left:
        raise ValueError(f"adjustments.{next(iter(left))}: a part of nothing known")


def _put(path: FolderPath, fit: Fit, weights: Weights, dtype: torch.dtype) -> None:
    """The weights into model and guide, which stay as they are if the weights prove damaged."""
    pairs: tuple[tuple[str, Module], ...] = (("model", fit.model), ("guide", fit.guide))
    before = [deepcopy(module.state_dict()) for _, module in pairs]
    for role, module in pairs:
        module.to(dtype=dtype)
        module.load_state_dict(dict(weights[role]))
    try:
        check_parameters(fit)
    except (ValueError, RuntimeError) as error:  # the latter from linear algebra that overflows
        for state, (_, module) in zip(before, pairs, strict=True):
            module.load_state_dict(state)
        raise SavedRunError(f"path: the weights in {path} are damaged: {error}.") from error
