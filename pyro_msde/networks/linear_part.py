"""The stiff linear part of a drift, in the waves that it acts on one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

__all__ = ["LinearPart"]


@dataclass(frozen=True)
class LinearPart:
    """L of some rows, in waves.

    Attributes:
        rates: (row, *waves) complex, of each wave.
        to_waves: From states (..., row, 1, latent) to amplitudes (..., row, 1, *waves).
        from_waves: Back, real; zero in states that waves lack.
    """

    rates: Tensor
    to_waves: Callable[[Tensor], Tensor]
    from_waves: Callable[[Tensor], Tensor]

    def of(self, z: Tensor) -> Tensor:
        """L z."""
        return self.from_waves(self.rates[:, None] * self.to_waves(z))

    def without(
        self, drift: Callable[[Tensor, Tensor], Tensor]
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """The rest of a drift, γ(z, t) − L z."""
        return lambda z, t: drift(z, t) - self.of(z)
