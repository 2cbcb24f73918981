"""What is kept of a fit: a description in plain numbers, and tensors by owner."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from torch import Tensor

from pyro_msde.isolation import place_of
from pyro_msde.priors import described_priors

__all__ = ["description_of", "structure_of", "weights_of"]


def description_of(fit: Any) -> dict[str, Any]:
    """What `load` rebuilds a `Fit` from, beside the tensors; `pyro_msde.runs.schema` checks it."""
    return {
        "model": getattr(fit.model, "config", None),
        "guide": getattr(fit.guide, "config", None),
        "priors": described_priors(fit.model),
        "random_parts": getattr(fit.guide, "theta", None) is not None,
        "scaling": asdict(fit.scaling),
        "recipe": None if fit.recipe is None else asdict(fit.recipe),
        "identity": fit.identity,
        "metadata": None if fit.metadata is None else fit.metadata.to_json(),
        "steps": fit.steps,
        "seconds": round(fit.seconds, 1),
        "interrupted": fit.interrupted,
        "has_channel": fit.has_channel,
        "diffusion_scale": fit.diffusion_scale,
        "calibration": None if fit.calibration is None else asdict(fit.calibration),
        "region": None if fit.region is None else fit.region.to_lists(),
        "segment": fit.segment,
        "dtype": str(place_of(fit.model)[0]).removeprefix("torch."),
        "history": asdict(fit.history),
        "structure": structure_of("model", fit.model) | structure_of("guide", fit.guide),
    }


def structure_of(role: str, module: Any) -> dict[str, str]:
    """Class names of a module and all those in it, by owner and name."""
    kinds = {name: type(own).__name__ for name, own in module.named_modules()}
    return {f"{role}.{name}".rstrip("."): kind for name, kind in kinds.items()}


def weights_of(fit: Any) -> dict[str, dict[str, Tensor]]:
    """State dicts of "model", "guide" and, where it is known, "uncertainty"."""
    weights = {"model": fit.model.state_dict(), "guide": fit.guide.state_dict()}
    if fit.uncertainty is not None:
        weights["uncertainty"] = dict(fit.uncertainty.directions)
    return weights
