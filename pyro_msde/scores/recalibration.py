"""What makes forecast intervals as wide as they claim, as a fit keeps it: an `Adjustment`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from pyro_msde.protocols import Model
from pyro_msde.runs import register_adjustment
from pyro_msde.sde import Dynamics

__all__ = ["BINS", "Calibration"]

BINS = 10  # of the horizon

Array = NDArray[np.float64]
_Scale = Annotated[float, Meta(ge=0, le=1e6)]
_Share = Annotated[float, Meta(ge=0, le=1)]
_Positive = Annotated[float, Meta(gt=0)]


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    scale: _Scale
    level: Annotated[float, Meta(gt=0, lt=1)] = 0.9
    scales: tuple[_Scale, ...] = ()
    coverage: tuple[tuple[_Share, ...], ...] = ()
    spread_skill: tuple[tuple[Annotated[float, Meta(ge=0)] | None, ...], ...] = ()
    leads: tuple[_Positive, ...] = ()
    chosen: _Scale | None = None
    windows: _Positive | None = None
    start: _Scale = 1.0
    weights: tuple[_Positive, ...] = ()


@register_adjustment
@dataclass(frozen=True)
class Calibration:
    """A scale for L = √C in forecasts, an `Adjustment`, and what its choice was based on.

    Attributes:
        scale: Multiple of L.
        level: Nominal coverage.
        scales: (candidate,) the multiples tried; 1 is the first, and `scale` is among them.
        coverage: (candidate, bin) coverage of what was observed of validation trajectories, by lead
            time; parts of the horizon without observations are left out.
        spread_skill: (candidate, bin) root of the mean variance over the mean squared error of
            these; None where the mean is exact. Runs of earlier versions have none.
        leads: (bin,) lead times at which the parts of the horizon end, in the data's units. Runs of
            earlier versions have none.
        chosen: The scale that covered best, before it was moved towards 1; None: not known.
        windows: How many trajectories told, overlapping ones counted in part; None: not known.
        start: Multiple of the start's spread; `scale`, where noise spoiled forecasts. All `scales`
            but the first are of both then.
        weights: (candidate,) multiples of what the jackknife says of the drift's weights that
            `scales` were tried with, the last one being kept (`Jackknife.scale`); (): 1 always.
    """

    name: ClassVar[str] = "calibration"
    is_random: ClassVar[bool] = False

    scale: float
    level: float = 0.9
    scales: tuple[float, ...] = ()
    coverage: tuple[tuple[float, ...], ...] = ()
    spread_skill: tuple[tuple[float | None, ...], ...] = ()
    leads: tuple[float, ...] = ()
    chosen: float | None = None
    windows: float | None = None
    start: float = 1.0
    weights: tuple[float, ...] = ()

    def apply(self, dynamics: Dynamics) -> Dynamics:
        """Scale the diffusion and the spread of the start."""
        return dynamics.with_noise(self.scale, self.start)

    def to_dict(self) -> dict[str, Any]:
        """Its numbers."""
        return asdict(self)

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], model: Model) -> Calibration:
        """What `to_dict` gave.

        Raises:
            ValueError: Numbers without sense.
        """
        try:
            known = msgspec.convert(dict(saved), _Saved, strict=True)
        except msgspec.ValidationError as error:
            raise ValueError(f"calibration: {error}") from None
        if len(known.scales) != len(known.coverage):
            raise ValueError("calibration: scales and coverage of different lengths")
        if known.weights and len(known.weights) != len(known.scales):
            raise ValueError("calibration: scales and weights of different lengths")
        return cls(**msgspec.structs.asdict(known))

    @property
    def misfit(self) -> Array:
        """(candidate,) root mean square over lead times of coverage − level."""
        return np.asarray(np.sqrt(np.square(np.asarray(self.coverage) - self.level).mean(1)))

    @property
    def before(self) -> Array:
        """(bin,) coverage by lead time of forecasts as they are without it."""
        return np.asarray(self.coverage[0])

    @property
    def after(self) -> Array:
        """(bin,) coverage by lead time with it, and with the jackknife as it was chosen."""
        weights = self.weights or (1.0,) * len(self.scales)
        tried = list(zip(self.scales, weights, strict=True))
        return np.asarray(self.coverage[tried.index((self.scale, weights[-1]))])

    def __repr__(self) -> str:
        """The scale, what it was chosen from, and the lowest and highest coverage by lead time."""
        if not self.scales:
            return f"Calibration({self.scale:g})"
        parts = [f"{self.scale:.3g}", f"level={self.level:g}", f"{len(self.scales)} scales tried"]
        if self.start != 1:
            parts.insert(1, f"start × {self.start:.3g}")
        if self.weights and self.weights[-1] != 1:
            parts.insert(1, f"weights × {self.weights[-1]:.3g}")
        if self.windows is not None:
            parts.append(f"{self.windows:.3g} windows")
        if self.chosen is not None and self.chosen != self.scale:
            parts.append(f"moved from {self.chosen:.3g}")
        if self.scale in self.scales:
            without, with_it = (f"{x.min():.2f}–{x.max():.2f}" for x in (self.before, self.after))
            parts.append(f"covers {without} without and {with_it} with it")
        return f"Calibration({', '.join(parts)})"
