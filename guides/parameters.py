"""Guides over θ: any Pyro autoguide over the model's parameter sites."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pyro.infer.autoguide import AutoGuide, AutoLowRankMultivariateNormal, AutoMultivariateNormal
from torch import Tensor

from pyro_msde.priors import Part, initial_values
from pyro_msde.protocols import Model

__all__ = ["ThetaProgram", "parameter_guide"]

_SCALE = 0.01  # of q(θ) at the start: at Pyro's 0.1 a network of trained weights is drowned
_RANK = 8  # Pyro's √D is hundreds for a drift, and seconds a step
_MOST_DENSE = 2000  # parameters under a full covariance, of which there are their square


@dataclass(frozen=True, eq=False)
class ThetaProgram:
    """θ ~ p(θ), the program that autoguides over θ are built on.

    It returns nothing: an autoguide keeps the trace, and values with a gradient cannot be copied.

    Attributes:
        model: Model with `bind`.
    """

    model: Model

    def __call__(self) -> None:
        """Read every part of the model once."""
        self.model.bind()


@dataclass(frozen=True, eq=False)
class _Start:
    """Where q(θ) starts: at the parts' weights from before the prior."""

    parts: Sequence[Part]

    def __call__(self, site: dict[str, Any]) -> Tensor:
        # not until Pyro asks: by then the model is where, and of the dtype that, it is trained in
        for part in self.parts:
            if site["name"] in (values := initial_values(part)):
                return values[site["name"]]
        raise ValueError(
            f"guide: made before {site['name']} had a prior. Make the guide after putting priors "
            "on the model."
        )


def parameter_guide(model: Model, autoguide: Callable[..., AutoGuide]) -> AutoGuide | None:
    """The autoguide over the model's random parts, started at their weights from before the prior.

    It is built on a program that reads θ and nothing else, so that setting it up neither simulates
    the prior path nor starts at a draw from the prior. None without priors.

    Args:
        model: Model with `bind`.
        autoguide: Class or `partial` of one. Unless it says so, q(θ) is 0.01 wide at the start, and
            a low-rank one of rank 8.

    Raises:
        ValueError: No class, or a full covariance of more parameters than its square has room for.
    """
    parts = [m for m in model.modules() if isinstance(m, Part) and m.is_random]
    if not parts:
        return None
    if not callable(autoguide):
        raise ValueError(f"theta={autoguide!r}: pass an autoguide class, such as AutoNormal.")
    kind = autoguide.func if isinstance(autoguide, partial) else autoguide
    count = sum(v.numel() for part in parts for v in initial_values(part).values())
    if kind is AutoMultivariateNormal and count > _MOST_DENSE:
        raise ValueError(
            f"theta: AutoMultivariateNormal of {count} parameters has {count**2:.1e} numbers. "
            "Choose AutoNormal or AutoLowRankMultivariateNormal."
        )
    options = _defaults(autoguide, kind)
    return autoguide(ThetaProgram(model), init_loc_fn=_Start(parts), **options)


def _defaults(autoguide: Any, kind: Any) -> dict[str, Any]:
    """What we ask of an autoguide beyond Pyro's defaults, where the user has not."""
    taken = inspect.signature(autoguide).parameters
    given = set(autoguide.keywords) if isinstance(autoguide, partial) else set()
    options: dict[str, Any] = {}
    if "init_scale" in taken and "init_scale" not in given:
        options["init_scale"] = _SCALE
    if kind is AutoLowRankMultivariateNormal and "rank" not in given:
        options["rank"] = _RANK
    return options
