"""How much of the path noise forecasts take: an `Adjustment`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pyro_msde.protocols import Model
from pyro_msde.runs import register_adjustment
from pyro_msde.sde import Dynamics

__all__ = ["PathNoise"]

_MOST = 1e6


@register_adjustment
@dataclass(frozen=True)
class PathNoise:
    """Multiples of L = √C and of the start's spread in forecasts.

    In training C is what an equation misses by; whether that is noise, validation forecasts tell.
    Where dynamics are deterministic it is zero.

    Attributes:
        scale: Of L.
        start: Of the spread of z(t₀).
    """

    name: ClassVar[str] = "path_noise"
    is_random: ClassVar[bool] = False

    scale: float
    start: float = 1.0

    def apply(self, dynamics: Dynamics) -> Dynamics:
        """Scale both."""
        return dynamics.with_noise(self.scale, self.start)

    def to_dict(self) -> dict[str, Any]:
        """Its numbers."""
        return {"scale": self.scale, "start": self.start}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], model: Model) -> PathNoise:
        """What `to_dict` gave.

        Raises:
            ValueError: Numbers without sense.
        """
        if saved.keys() != {"scale", "start"}:
            raise ValueError(f"path_noise: holds {sorted(saved)}, not scale and start")
        for value in saved.values():
            number = isinstance(value, float | int) and not isinstance(value, bool)
            if not number or not 0 <= value <= _MOST:
                raise ValueError(f"path_noise: {value!r} is no number from zero on")
        return cls(float(saved["scale"]), float(saved["start"]))
