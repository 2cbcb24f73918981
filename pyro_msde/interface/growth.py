"""Hierarchical training: one microscale state after the other (Ilersich & Nair 2025, App. J).

A model of n_η states is grown into one of more by copying every number into its place; what the
larger model has beyond them is drawn anew (Xavier normal).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from pyro_msde.checks import check_kind, check_seed
from pyro_msde.data import Trajectories, num_controls_of
from pyro_msde.interface.fitted import Fit
from pyro_msde.interface.fitting import fit
from pyro_msde.interruption import Interruption
from pyro_msde.isolation import Isolation, place_of
from pyro_msde.networks import grow_from
from pyro_msde.priors import Part
from pyro_msde.protocols import Guide, Model, Module

__all__ = ["fit_hierarchical", "grow"]


def fit_hierarchical(
    model_factory: Callable[[int], Model],
    guide_factory: Callable[[Any], Guide],
    data: Trajectories,
    *,
    n_etas: Sequence[int] = range(6),
    learning_rates: Sequence[float] = (3e-3, 1e-3),
    steps: int | Sequence[int] = 16_000,
    checkpoint: str | Path | None = None,
    **options: Any,
) -> list[Fit]:
    """Fit models of growing n_η, each from the one before.

    Args:
        model_factory: From n_η to a model, all else equal: `partial(kdv, smoothing="lanczos")`, as
            the kernel's length depends on n_η unless its kind is given.
        guide_factory: From a model to its guide.
        data: Training trajectories.
        n_etas: The stages, increasing.
        learning_rates: Of each stage; the last one serves all later stages. The paper's are 1e-3
            and 1e-4.
        steps: Of each stage, likewise.
        checkpoint: Folder in which each stage has one of its own, `eta-0`, `eta-1`, …: what is
            finished there is read as it was saved, what was interrupted is resumed.
        **options: Of `pyro_msde.fit`. β has its full value at once from the second stage on,
            unless `anneal` is given.

    Returns:
        A `Fit` for each stage; up to the one that was interrupted, by Ctrl-C as in `fit`.

    Raises:
        ValueError: Stages that do not increase, and as `fit` and `grow`.
    """
    stages = list(n_etas)
    if not stages or stages != sorted(set(stages)):
        raise ValueError(f"n_etas: {stages}; give increasing numbers of microscale states.")
    fits: list[Fit] = []
    with Interruption() as stop:  # what comes between two stages is asked of the next one
        for k, n_eta in enumerate(stages):
            model = model_factory(n_eta)
            guide = guide_factory(model)
            of_stage = dict(options)
            if fits:
                if stop.requested:
                    break
                pairs = (fits[-1].model, fits[-1].guide, model, guide)
                grow(*pairs, seed=options.get("seed", 0))
                of_stage = {"anneal": 0} | of_stage
            result = fit(
                model,
                guide,
                data,
                steps=_of_stage(steps, k) if not isinstance(steps, int) else steps,
                learning_rate=_of_stage(learning_rates, k),
                checkpoint=None if checkpoint is None else Path(checkpoint) / f"eta-{n_eta}",
                **of_stage,
            )
            fits.append(result)
            if result.training.interrupted:
                break
    return fits


def _of_stage(values: Sequence[Any], stage: int) -> Any:
    return values[min(stage, len(values) - 1)]


@torch.no_grad()
def grow(
    model: Model, guide: Guide, larger_model: Model, larger_guide: Guide, *, seed: int = 0
) -> None:
    """Put what a model and its guide have learned into larger ones, which are changed in place.

    Args:
        model: Point estimates; of `n_eta` microscale states.
        guide: Its guide.
        larger_model: Of the same case, with more microscale states.
        larger_guide: Its guide.
        seed: Of the weights that are drawn anew; the global random state is left alone.

    Raises:
        ValueError: Models of different cases, priors, or no more microscale states than before.
    """
    seed = check_seed("seed", seed)
    _check_pair(model, larger_model)
    pairs = (("model", model, larger_model), ("guide", guide, larger_guide))
    for role, small, large in pairs:
        _check_room(f"larger_{role}", small, large)
    with Isolation(seed, place_of(larger_model)[1]).turn():
        for _, small, large in pairs:
            grow_from(large, small)
    if not model.n_eta:
        # two experts of twice the variance make a product of the variance of the one before
        before: Any = model
        after: Any = larger_model
        doubled = before.var_zeta.net.log_value + math.log(2.0)
        for part in (after.var_zeta, after.var_eta):
            part.net.log_value.copy_(doubled)
        if after.correlation_eta is not None:
            after.correlation_eta.load_state_dict(before.correlation_zeta.state_dict())


def _check_room(role: str, small: Module, large: Module) -> None:
    """Refuse a module with tensors smaller than before, while nothing has been changed."""
    new = large.state_dict()
    for name, old in small.state_dict().items():
        size, room = tuple(old.shape), tuple(new[name].shape) if name in new else tuple(old.shape)
        if len(size) != len(room) or any(a > b for a, b in zip(size, room, strict=True)):
            raise ValueError(
                f"{role}: {name} is {room}, smaller than {size}. Grow into a model built with the "
                "same options, smoothing given among them."
            )


def _check_pair(model: Any, larger: Any) -> None:
    like = "a model that is built, as multiscale(…) builds it"
    for role, given in (("model", model), ("larger_model", larger)):
        check_kind(role, given, ("grid", "n_eta", "num_covariates", "children"), like)
    if larger.n_eta <= model.n_eta:
        raise ValueError(
            f"larger_model: {larger.n_eta} microscale states, the smaller one has {model.n_eta}. "
            "Build it with more."
        )
    if larger.grid != model.grid or larger.num_covariates != model.num_covariates:
        raise ValueError(
            f"larger_model: of another case, {larger.grid} with {larger.num_covariates} covariates "
            f"instead of {model.grid} with {model.num_covariates}."
        )
    counts = [num_controls_of(part) for part in (model, larger)]
    if counts[0] != counts[1]:
        raise ValueError(f"larger_model: {counts[1]} controls, the smaller one has {counts[0]}.")
    for role, net in (("model", model), ("larger_model", larger)):
        if any(isinstance(part, Part) and part.is_random for part in net.children()):
            raise ValueError(f"{role}: has priors; only point estimates can be grown.")
