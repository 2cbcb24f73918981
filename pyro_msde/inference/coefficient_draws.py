"""Forecasts that draw the coefficients of an equation: an `Adjustment`."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from pyro_msde.inference.equation_of_model import equation_of
from pyro_msde.networks import EquationPath, MultiscaleDrift
from pyro_msde.protocols import Model
from pyro_msde.runs import register_adjustment
from pyro_msde.sde import Dynamics, in_opposite_pairs

__all__ = ["CoefficientDraws"]


@register_adjustment
@dataclass(frozen=True)
class CoefficientDraws:
    """Coefficients of the drift's equation for each draw, by their jackknife covariance.

    What parts of the training data agree on is certain; what they do not spreads forecasts, the
    more the further these leave the amplitudes that the equation was identified from.
    """

    name: ClassVar[str] = "coefficients"
    is_random: ClassVar[bool] = True

    def apply(self, dynamics: Dynamics) -> Dynamics:
        """Give the paths of each draw of θ coefficients of their own.

        Raises:
            ValueError: The drift has no equation any more.
        """
        drift = dynamics.drift
        if not isinstance(drift, MultiscaleDrift) or drift.equation is None:
            raise ValueError(
                "adjustments: the drift has no equation whose coefficients could be drawn. Put "
                "`coefficients` before whatever replaces the drift."
            )
        draws, share = dynamics.draws, len(dynamics.start) // len(dynamics.draws)
        changes = self.draws(drift.equation, dynamics.num_draws, dynamics.generator)
        mine = changes[draws.start : draws.stop].to(dynamics.start)
        changed = copy(drift)
        each = mine if len(mine) == 1 else mine.repeat_interleave(share, 0)
        equation = drift.equation.changed_by(each)
        changed._modules = {**drift._modules, "equation": equation}
        return replace(dynamics, drift=changed, coefficients=drift.equation.coefficients + mine)

    @staticmethod
    def draws(path: EquationPath, count: int, generator: Generator | None = None) -> Tensor:
        """So many changes of the coefficients (count, channel, term), in opposite pairs.

        The last of an odd number is by itself. From a generator of the CPU; None: torch's own.
        """
        directions = path.directions.double()
        half = torch.randn(
            (count + 1) // 2, len(directions), dtype=torch.float64, generator=generator
        )
        epsilon = in_opposite_pairs(half, count).to(directions)
        return torch.einsum("ik,kct->ict", epsilon, directions)

    def to_dict(self) -> dict[str, Any]:
        """Nothing: the equation has its covariance."""
        return {}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], model: Model) -> CoefficientDraws:
        """What `to_dict` gave.

        Raises:
            ValueError: Something is there; the model has no equation.
        """
        if saved:
            raise ValueError(f"coefficients: holds {sorted(saved)}")
        if equation_of(model) is None:
            raise ValueError("coefficients: the model's drift has no equation")
        return cls()
