"""Which steps of `fit` are left out, as the drift does not offer what they ask it for."""

from __future__ import annotations

import logging

from pyro_msde.networks import refusal
from pyro_msde.protocols import LastLayer, Model, PolynomialDrift, StencilDrift

__all__ = ["left_out"]

_LOG = logging.getLogger(__name__)


def left_out(model: Model, *, start: bool, jackknife: bool, tell: bool) -> set[type]:
    """The protocols that steps of `fit` ask for and the drift does not offer.

    Args:
        model: The generative model, before training.
        start: Whether the recipe has a regression start, which models without microscale take.
        jackknife: Whether `fit` is to end with one.
        tell: Log the steps that are left out, and why, in one message.
    """
    steps: dict[type, str] = {StencilDrift: "the stencils of the region"}
    if start and not model.n_eta:
        steps[PolynomialDrift] = "the regression start"
    if jackknife:
        steps[LastLayer] = "the jackknife"
    reasons = {asked: why for asked in steps if (why := refusal(model, asked))}
    if reasons and tell:
        told = ", ".join(f"{steps[asked]} ({why})" for asked, why in reasons.items())
        _LOG.info("fit leaves out %s.", told)
    return set(reasons)
