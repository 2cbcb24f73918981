"""Guides over θ: any Pyro autoguide over the model's parameter sites."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyro.infer.autoguide import AutoGuide
from torch import Tensor

from pyro_msde.parts import Part
from pyro_msde.priors import initial_value

__all__ = ["parameter_guide"]


def parameter_guide(model: Any, autoguide: Callable[..., AutoGuide]) -> AutoGuide | None:
    """The autoguide over the model's random parts, started at their weights from before the prior.

    It is built on `model.read_parameters`, which reads θ and nothing else, so that setting it up
    neither simulates the prior path nor starts at a draw from the prior. None without priors.
    """
    parts = {m.site: m for m in model.modules() if isinstance(m, Part) and m.is_random}
    if not parts:
        return None

    def start(site: dict[str, Any]) -> Tensor:
        return initial_value(parts[site["name"]])

    return autoguide(model.read_parameters, init_loc_fn=start)
