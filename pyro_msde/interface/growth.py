"""Hierarchical training: one microscale state after the other (Ilersich & Nair 2025, App. J).

A model of n_η states is grown into one of more by copying every number into its place; what the
larger model has beyond them is drawn anew (Xavier normal), or silenced: with the weights that new
states act through at zero, forecasts are those of the smaller model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pyro_msde.checks import check_flag, check_has, check_seed
from pyro_msde.data import Trajectories
from pyro_msde.interface.fitted import Fit
from pyro_msde.interface.fitting import fit
from pyro_msde.interruption import Interruption
from pyro_msde.isolation import Isolation, place_of

__all__ = ["fit_hierarchical", "grow"]


def fit_hierarchical(
    model_factory: Callable[[int], Any],
    guide_factory: Callable[[Any], Any],
    data: Trajectories,
    *,
    n_etas: Sequence[int] = range(6),
    learning_rates: Sequence[float] = (3e-3, 1e-3),
    steps: int | Sequence[int] = 16_000,
    silent: bool = False,
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
        silent: See `grow`.
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
            own = dict(options)
            if fits:
                if stop.requested:
                    break
                pairs = (fits[-1].model, fits[-1].guide, model, guide)
                grow(*pairs, silent=silent, seed=options.get("seed", 0))
                own = {"anneal": 0} | own
            result = fit(
                model, guide, data,
                steps=_of_stage(steps, k) if not isinstance(steps, int) else steps,
                learning_rate=_of_stage(learning_rates, k),
                checkpoint=None if checkpoint is None else Path(checkpoint) / f"eta-{n_eta}",
                **own,
            )  # fmt: skip
            fits.append(result)
            if result.training.interrupted:
                break
    return fits


def _of_stage(values: Sequence[Any], stage: int) -> Any:
    return values[min(stage, len(values) - 1)]


@torch.no_grad()
def grow(
    model: Any,
    guide: Any,
    larger_model: Any,
    larger_guide: Any,
    *,
    silent: bool = False,
    seed: int = 0,
) -> None:
    """Put what a model and its guide have learned into larger ones, which are changed in place.

    Args:
        model: Point estimates; of `n_eta` microscale states.
        guide: Its guide.
        larger_model: Of the same case, with more microscale states.
        larger_guide: Its guide.
        silent: Weights through which the new states act are zero: the larger model forecasts what
            the smaller one does. Otherwise they are Xavier normal.
        seed: Of these; the global random state is left alone.

    Raises:
        ValueError: Models of different cases, priors, or no more microscale states than before.
    """
    check_flag("silent", silent)
    seed = check_seed("seed", seed)
    _check_pair(model, larger_model)
    old = _state(model, guide)
    new = {name: value.clone() for name, value in _state(larger_model, larger_guide).items()}
    sizes = (model.n_eta, larger_model.n_eta)
    trained = {
        f"{owner}.{name}"
        for owner, module in (("model", larger_model), ("guide", larger_guide))
        for name, _ in module.named_parameters()
    }
    with Isolation(seed, place_of(larger_model)[1]).turn():
        for name, value in new.items():
            if name in old and old[name].shape == value.shape:
                value.copy_(old[name])
                continue
            # what starts at zero by design stays there
            if name in trained and value.ndim > 1 and value.any():
                nn.init.xavier_normal_(value)
            if name in old:
                _embed(name, old[name], value, sizes, silent=silent)
    if not model.n_eta:
        _share_variance(old, new)
    larger_model.load_state_dict(_part(new, "model"))
    if silent and not model.n_eta:
        larger_model.decoder.net.silence()
    larger_guide.load_state_dict(_part(new, "guide"))


def _embed(name: str, old: Tensor, new: Tensor, sizes: tuple[int, int], *, silent: bool) -> None:
    """Old numbers in their places; in the columns of new states zeros, if these are silent."""
    if any(a > b for a, b in zip(old.shape, new.shape, strict=False)) or old.ndim != new.ndim:
        raise ValueError(
            f"larger_model: {name} is {tuple(new.shape)}, smaller than {tuple(old.shape)}. Grow "
            "into a model built with the same options, smoothing given among them."
        )
    places = [torch.arange(n) for n in old.shape]
    if name.endswith("factors.weight"):  # two factors below each other
        half = len(old) // 2
        places[0] = torch.cat([torch.arange(half), torch.arange(half) + len(new) // 2])
    if name.startswith("model.drift.net.micro.") and old.shape[-1] != new.shape[-1]:
        places[-1] = _microscale_columns(old.shape[-1], new.shape[-1], *sizes)
    if silent and old.ndim == 2 and old.shape[-1] != new.shape[-1]:
        is_new = torch.ones(new.shape[-1], dtype=torch.bool)
        is_new[places[-1]] = False
        new[:, is_new] = 0.0
    new[torch.meshgrid(*places, indexing="ij")] = old


def _microscale_columns(old: int, new: int, n: int, larger: int) -> Tensor:
    """Where the microscale drift's inputs (η, ψ(ζ), others) go; ψ may grow as η does."""
    columns = torch.arange(old)
    columns[n:] += larger - n
    if new - old == 2 * (larger - n):
        columns[2 * n :] += larger - n
    return columns


def _share_variance(old: dict[str, Tensor], new: dict[str, Tensor]) -> None:
    """Two experts of twice the variance make a product of the variance of the one before."""
    doubled = old["model.var_zeta.net.log_value"] + torch.log(torch.tensor(2.0))
    for part in ("var_zeta", "var_eta"):
        new[f"model.{part}.net.log_value"].copy_(doubled)


def _state(model: nn.Module, guide: nn.Module) -> dict[str, Tensor]:
    parts = {"model": model.state_dict(), "guide": guide.state_dict()}
    return {f"{owner}.{k}": v for owner, state in parts.items() for k, v in state.items()}


def _part(state: dict[str, Tensor], owner: str) -> dict[str, Tensor]:
    return {k.removeprefix(f"{owner}."): v for k, v in state.items() if k.startswith(f"{owner}.")}


def _check_pair(model: Any, larger: Any) -> None:
    like = "a model that is built, as multiscale(…) builds it"
    for role, own in (("model", model), ("larger_model", larger)):
        check_has(role, own, ("grid", "n_eta", "num_parameters", "children"), like)
    if larger.n_eta <= model.n_eta:
        raise ValueError(
            f"larger_model: {larger.n_eta} microscale states, the smaller one has {model.n_eta}. "
            "Build it with more."
        )
    if larger.grid != model.grid or larger.num_parameters != model.num_parameters:
        raise ValueError(
            f"larger_model: of another case, {larger.grid} with {larger.num_parameters} parameters "
            f"instead of {model.grid} with {model.num_parameters}."
        )
    for role, net in (("model", model), ("larger_model", larger)):
        if any(getattr(part, "is_random", False) for part in net.children()):
            raise ValueError(f"{role}: has priors; only point estimates can be grown.")
