"""What forecasts take for granted of a model: that its program is made of the parts it is read by.

The ELBO trains whatever program it is given. Forecasts do not run that program: they read drift,
diffusion and the fields' law from `bind`. A program that says something else would be trained as
one model and forecast as another, so it is run once, before training, and compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from pyro import poutine
from pyro.poutine.subsample_messenger import _Subsample
from torch import Tensor

from pyro_msde.checks import check_kind
from pyro_msde.data import SegmentBatch
from pyro_msde.likelihoods import WeightedFields
from pyro_msde.protocols import BoundModel, Model
from pyro_msde.sde import LatentSDE, covariance, noise_axes

__all__ = ["check_owner", "check_program", "check_roles"]

_OF_MODEL = ("grid", "n_eta", "num_latent", "bind", "path_law")
_OF_GUIDE = ("read_theta", "encode", "path_marginals")
_CLOSE = 1e-3  # relative; the same operations in float32 differ by far less


def check_roles(model: Any, guide: Any) -> None:
    """Refuse a model or guide that lacks what training and forecasts ask it for.

    Raises:
        ValueError: It lacks something, or the guide was made for another model.
    """
    if hasattr(model, "path_marginals") and hasattr(guide, "bind"):
        raise ValueError("model, guide: the other way round. Call fit(model, guide, data).")
    for role, thing, names, like in (
        ("model", model, _OF_MODEL, "pyro_msde.models.Multiscale"),
        ("guide", guide, _OF_GUIDE, "pyro_msde.guides.AmortizedGP"),
    ):
        check_kind(role, thing, torch.nn.Module, f"one that is built, as {like} is")
        missing = [name for name in names if not hasattr(thing, name)]
        if missing:
            raise ValueError(
                f"{role}: {type(thing).__name__} has no {', '.join(missing)}, which forecasts "
                f"need. Derive it from {like}, or add them."
            )
    check_owner(model, guide)


def check_owner(model: Any, guide: Any) -> None:
    """Refuse a guide that knows its model, if that is another one.

    Raises:
        ValueError: It is.
    """
    owner = getattr(guide, "model", None)
    if isinstance(owner, torch.nn.Module) and owner is not model:
        raise ValueError(
            "guide: made for another model. Build it anew with this one; where both are loaded, "
            "pass load(path, model, guide)."
        )


@torch.no_grad()
def check_program(model: Model, guide: Callable[[SegmentBatch], Any], batch: SegmentBatch) -> None:
    """Run the model's program once and compare it with the parts that forecasts read.

    To be called where Pyro may be used. Networks that are random themselves, as dropout is, cannot
    be compared and pass.

    Args:
        model: The generative model.
        guide: Its guide.
        batch: Some segments.

    Raises:
        ValueError: Another likelihood or another law of the path than forecasts have.
    """
    drawn = poutine.trace(guide).get_trace(batch)
    nodes: Any = poutine.trace(poutine.replay(model, trace=drawn)).get_trace(batch).nodes
    sites = {k: s for k, s in nodes.items() if s["type"] == "sample" and not _is_record(s)}
    observed = {k: s["fn"] for k, s in sites.items() if s["is_observed"]}
    paths = {k: s for k, s in sites.items() if isinstance(s["fn"], LatentSDE)}
    if len(observed) != 1 or len(paths) != 1:
        raise ValueError(
            f"model: its program has {len(observed)} observed fields and {len(paths)} latent "
            "paths. Forecasts are of one of each."
        )
    wanted = batch.num_segments / len(batch.times)
    for name in (*observed, *paths):
        if not math.isclose(float(sites[name]["scale"]), wanted, rel_tol=_CLOSE):
            raise ValueError(
                f"model: its program counts {name!r} {float(sites[name]['scale']):g} times, where "
                f"{wanted:g} stand for all segments. Sample it in pyro.plate('segments', "
                "batch.num_segments, subsample=…) and scale nothing; fit(beta=…) weighs the terms."
            )
    (field,), (path,) = observed.values(), paths.values()
    z, sde = path["value"], path["fn"]
    values = {k: s["value"] for k, s in sites.items() if k not in {*observed, *paths}}
    bound: BoundModel = model.bind(values)
    ndim = model.grid.ndim + 1

    def likelihood() -> Tensor:
        law = WeightedFields(
            bound.observe(z), ndim, weight=batch.observation_weight, observed=batch.observed
        )
        return law.log_prob(batch.values)

    pairs: dict[str, tuple[Callable[[], Tensor], Callable[[], Tensor]]] = {
        "drift": (
            lambda: sde.drift(z, batch.times),
            lambda: bound.drift(z, batch.times, covariates=batch.inputs.at(batch.times)),
        ),
        "diffusion": (lambda: _diffusion(sde), lambda: _diffusion(bound)),
        "likelihood": (lambda: field.log_prob(batch.values), likelihood),
    }
    for what, (ran, read) in pairs.items():
        first, second = read(), read()
        if torch.equal(first, second) and not _equal(ran(), first):
            raise ValueError(
                f"model: its program has another {what} than bind gives, from which forecasts are "
                "made. Put what is new into the part itself, or into what bind returns."
            )


def _diffusion(law: Any) -> Tensor:
    """C (latent, latent), or its diagonal (latent,)."""
    axes = noise_axes(law)
    return law.diffusion if axes is None else covariance(law.diffusion, axes)


def _is_record(site: Any) -> bool:
    """Whether a site is a plate's subsample or a `pyro.deterministic`, which have no density."""
    return isinstance(site["fn"], _Subsample) or site["infer"].get("_deterministic", False)


def _equal(ran: Tensor, read: Tensor) -> bool:
    """Equal but for rounding; values that are not finite are training's matter."""
    if ran.shape != read.shape:
        return False
    size = float(read.abs().max()) if read.numel() else 0.0
    return torch.allclose(ran, read, rtol=_CLOSE, atol=_CLOSE * size, equal_nan=True)
