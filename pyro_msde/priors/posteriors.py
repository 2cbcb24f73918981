"""q(θ), where parameters have a prior."""

from __future__ import annotations

from pyro.infer.autoguide import AutoGuide

__all__ = ["posterior_of"]


def posterior_of(guide: object) -> AutoGuide | None:
    """The autoguide over θ that a guide has in `theta`; None: θ is a point, or it does not say."""
    return getattr(guide, "theta", None)
