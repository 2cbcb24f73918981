"""Which steps of `fit` are left out, as the drift does not offer what they ask it for."""

from __future__ import annotations

import logging
from typing import Any

from pyro_msde.networks import refusal
from pyro_msde.protocols import LastLayer, PolynomialDrift, StencilDrift

__all__ = ["tell_left_out"]

_LOG = logging.getLogger(__name__)


def tell_left_out(model: Any, *, start: bool, jackknife: bool) -> None:
    """Log the steps that are left out, and why, in one message.

    Args:
        model: The generative model, before training.
        start: Whether the recipe has a regression start, which models without microscale take.
        jackknife: Whether `fit` is to end with one.
    """
    steps: list[tuple[str, type]] = [("the stencils of the region", StencilDrift)]
    if start and not model.n_eta:
        steps.append(("the regression start", PolynomialDrift))
    if jackknife:
        steps.append(("the jackknife", LastLayer))
    reasons = [f"{step} ({why})" for step, asked in steps if (why := refusal(model, asked))]
    if reasons:
        _LOG.info("fit leaves out %s.", ", ".join(reasons))
