"""How long steps of integration are in forecasts that only judge."""

from __future__ import annotations

from pyro_msde.inference import equation_of
from pyro_msde.protocols import FittedModel
from pyro_msde.sde import VALIDATION_STEP

__all__ = ["judging_step", "validation_step"]


def validation_step(fit: FittedModel) -> float | None:
    """Longest step of forecasts while training goes on, as `judging_step` has it."""
    return judging_step(fit, VALIDATION_STEP)


def judging_step(fit: FittedModel, usual: float) -> float | None:
    """Longest step of forecasts that only judge, in the user's units.

    None: as long as the drift allows, where its stiff part is an equation's.

    Args:
        fit: Whose forecasts they are.
        usual: In training horizons, for others.
    """
    path = equation_of(fit.model)
    return None if path is not None and path.started else usual * fit.scaling.time
