"""Where training stands, as plain numbers and flat tensors by name, and going on from there.

Optimiser, random states, weights, the best so far, and what has not been logged yet: a run that
goes on from a state is the uninterrupted one in every bit. States come from files, which may hold
anything: all is checked before any of it is used.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import torch
from msgspec import Meta, Struct
from torch import Tensor

from pyro_msde.protocols import Module
from pyro_msde.runs import State, converted, read_history

if TYPE_CHECKING:
    from pyro_msde.inference.trainer import Trainer

__all__ = ["all_finite", "restore", "stacked", "state_of"]

_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # that AdamW keeps
_Finite = Annotated[float, Meta(ge=0, le=sys.float_info.max)]
_TERMS = {"log_likelihood", "drift_residual", "kl_parameters"}

Weights = Mapping[str, Mapping[str, Tensor]]


class _Position(Struct, forbid_unknown_fields=True):
    """Where training stands, but for tensors."""

    step: Annotated[int, Meta(ge=0)]
    drift_started: bool
    best: _Finite | None
    factors: list[_Finite]
    rng: dict[str, Any]
    history: dict[str, Any]


def state_of(trainer: Trainer) -> State:
    """All that resuming a `Trainer`'s run needs, in copies."""
    score, best = (None, {}) if trainer.best is None else trainer.best
    clip = trainer.clip
    tensors = {
        "weights": _joined(trainer.weights()),
        "best": _joined(best),
        "optimiser": _moments(trainer.optimiser),
        "random": {str(k): v for k, v in enumerate(trainer.isolation.state)},
        "window": stacked(trainer.window),
        "clip": {} if clip is None or clip.usual is None else {"usual": clip.usual},
    }
    position = {
        "step": trainer.step,
        "drift_started": trainer.drift_started,
        "best": score,
        "factors": [group["factor"] for group in trainer.optimiser.param_groups],
        "rng": trainer.rng.bit_generator.state,
        "history": asdict(trainer.history),
    }
    return State(position, {k: v.detach().clone() for k, v in _joined(tensors).items()})


def restore(trainer: Trainer, state: State) -> None:
    """Go on from where `state_of` was taken.

    β is annealed as the trainer's own recipe says.

    Raises:
        ValueError: The state is of another model, or holds what none can. KeyError, TypeError,
            RuntimeError, AttributeError: likewise. Parameters are as before then.
    """
    position, tensors = converted(state.position, _Position), state.tensors
    if position.step > trainer.steps:
        raise ValueError(f"step: {position.step} of {trainer.steps}")
    weights, best = _weights(_part(tensors, "weights"), trainer.modules), None
    if position.best is not None:
        best = position.best, _weights(_part(tensors, "best"), trainer.modules)
    window, random = _part(tensors, "window"), _part(tensors, "random")
    _check_window(window)
    usual = tensors.get("clip.usual")
    if usual is not None and not (usual.shape == () and _positive(usual)):
        raise ValueError("clip.usual: not a positive number")
    history = read_history(position.history)
    trainer.rng.bit_generator.state = position.rng
    trainer.isolation.restore([random[str(k)] for k in range(len(random))])
    with trainer.isolation.turn():  # does not begin in a damaged random state
        pass
    _restore_moments(trainer.optimiser, _part(tensors, "optimiser"), position.factors)
    trainer.load_weights(weights)
    trainer.step, trainer.best, trainer.drift_started = position.step, best, position.drift_started
    trainer.history = history
    if best is not None and history.kept is None:  # of a run that did not record it
        scores = history.validation
        alike = (k for k, score in enumerate(scores) if score == position.best)
        history.kept = max(alike, default=None)
    trainer.weigh()
    trainer.anneal = 0 if trainer.drift_started else trainer.recipe.anneal
    if trainer.clip is not None and usual is not None:
        trainer.clip.usual = usual.to(trainer.device)
    count = len(next(iter(window.values()), ()))
    trainer.window = [{k: v[i] for k, v in window.items()} for i in range(count)]
    trainer.good = trainer.weights()
    trainer.whole = True


def stacked(window: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Terms by name, (step,) each, on the device of the latest; what was restored is elsewhere."""
    names = window[-1] if window else {}
    return {k: torch.stack([w[k].to(names[k].device) for w in window]) for k in names}


def all_finite(weights: Weights) -> bool:
    """Whether all numbers of state dicts by owner are finite."""
    return all(bool(v.isfinite().all()) for state in weights.values() for v in state.values())


def _joined(parts: Weights) -> dict[str, Tensor]:
    """Tensors of all parts in one dictionary, as "part.name"."""
    return {f"{kind}.{name}": v for kind, part in parts.items() for name, v in part.items()}


def _part(tensors: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    """Those of one part, by their own names."""
    return {k.removeprefix(f"{kind}."): v for k, v in tensors.items() if k.startswith(f"{kind}.")}


def _weights(
    flat: Mapping[str, Tensor], modules: Mapping[str, Module]
) -> dict[str, dict[str, Tensor]]:
    """State dicts by owner, of just these modules."""
    weights = {owner: _part(flat, owner) for owner in modules}
    for owner, module in modules.items():
        current = module.state_dict()
        if current.keys() != weights[owner].keys():
            raise ValueError(f"{owner}: other names than here")
        for name, value in weights[owner].items():
            _check_like(f"{owner}.{name}", value, current[name])
            if not bool(value.isfinite().all()):
                raise ValueError(f"{owner}.{name}: not finite")
    return weights


def _moments(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What an optimiser keeps of each parameter, as "number.name"."""
    state = optimiser.state_dict()["state"]
    return {
        f"{number}.{name}": torch.as_tensor(value)
        for number, moments in state.items()
        for name, value in moments.items()
    }


def _restore_moments(
    optimiser: torch.optim.Optimizer, flat: Mapping[str, Tensor], factors: Sequence[float]
) -> None:
    """Put back what `_moments` gave, and each group's multiple of the learning rate."""
    current = optimiser.state_dict()
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in flat.items():
        number, _, name = key.partition(".")
        if not number.isdecimal() or int(number) >= len(parameters):
            raise ValueError(f"{key}: of no parameter")
        if name not in _MOMENTS:
            raise ValueError(f"{key}: not known")
        if name == "step":
            good = value.shape == () and _positive(value)
        else:
            _check_like(key, value, parameters[int(number)])
            negative = name == "exp_avg_sq" and bool((value < 0).any())
            good = bool(value.isfinite().all()) and not negative
        if not good:
            raise ValueError(f"{key}: out of range")
        state.setdefault(int(number), {})[name] = value.clone()  # it is changed in place
    for place, moments in state.items():
        if moments.keys() != set(_MOMENTS):
            raise ValueError(f"{place}: only {', '.join(moments)}")
    groups = [
        {**group, "factor": factor}
        for group, factor in zip(current["param_groups"], factors, strict=True)
    ]
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def _check_window(window: Mapping[str, Tensor]) -> None:
    """Terms of the ELBO that have not been logged, as many of each."""
    lengths = {v.shape for v in window.values()}
    if window and (set(window) != _TERMS or len(lengths) > 1 or len(next(iter(lengths))) != 1):
        raise ValueError(f"window: {', '.join(window)}, of shapes {sorted(lengths)}")


def _positive(value: Tensor) -> bool:
    return bool(value.isfinite().all()) and bool((value > 0).all())


def _check_like(name: str, value: Tensor, like: Tensor) -> None:
    if value.shape != like.shape or value.dtype != like.dtype:
        raise ValueError(
            f"{name}: {tuple(value.shape)} {value.dtype}, here {tuple(like.shape)} {like.dtype}"
        )
