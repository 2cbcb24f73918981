"""One number that makes forecast intervals as wide as they claim: a scale for L = √C.

The ELBO does not fit the diffusion as a residual variance: both path measures share C, and at the
optimum it is far too small where a snapshot has many points. This step, separate from training and
reported as such, chooses the multiple of L at which forecasts of *validation* trajectories cover
their truth as often as they should at every lead time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, ClassVar

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from pyro_msde.checks import check_level
from pyro_msde.data import Trajectories
from pyro_msde.forecasts import Forecast
from pyro_msde.protocols import Model
from pyro_msde.runs import register_adjustment
from pyro_msde.scores.averages import mean_of
from pyro_msde.scores.forecast_scores import coverage_by_time
from pyro_msde.scores.predictive import part_of_horizon
from pyro_msde.scores.targets import on_grid
from pyro_msde.sde import Dynamics

__all__ = ["BINS", "Calibration", "choose_diffusion_scale"]

BINS = 10  # of the horizon

Array = NDArray[np.float64]


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    scale: Annotated[float, Meta(ge=0, le=1e6)]
    level: Annotated[float, Meta(gt=0, lt=1)] = 0.9
    scales: tuple[Annotated[float, Meta(ge=0, le=1e6)], ...] = ()
    coverage: tuple[tuple[Annotated[float, Meta(ge=0, le=1)], ...], ...] = ()


@register_adjustment
@dataclass(frozen=True)
class Calibration:
    """A scale for L = √C in forecasts, an `Adjustment`, and what its choice was based on.

    Attributes:
        scale: Multiple of L.
        level: Nominal coverage.
        scales: (candidate,) the multiples tried.
        coverage: (candidate, bin) coverage of what was observed of validation trajectories, by lead
            time; parts of the horizon without observations are left out.
    """

    name: ClassVar[str] = "calibration"
    is_random: ClassVar[bool] = False

    scale: float
    level: float = 0.9
    scales: tuple[float, ...] = ()
    coverage: tuple[tuple[float, ...], ...] = ()

    def apply(self, dynamics: Dynamics) -> Dynamics:
        """Scale the diffusion."""
        return replace(dynamics, diffusion=dynamics.diffusion * self.scale**2)

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
        return cls(**msgspec.structs.asdict(known))

    @property
    def misfit(self) -> Array:
        """(candidate,) root mean square over lead times of coverage − level."""
        return np.asarray(np.sqrt(np.square(np.asarray(self.coverage) - self.level).mean(1)))

    def __repr__(self) -> str:
        """The scale, and from how many it was chosen."""
        tried = f", level={self.level:g}, {len(self.scales)} scales tried" if self.scales else ""
        return f"Calibration({self.scale:g}{tried})"


def choose_diffusion_scale(
    predict: Callable[[float], Sequence[tuple[Forecast, Trajectories]]],
    *,
    level: float = 0.9,
    bins: int = BINS,
    scales: Sequence[float] = (1.0, 1.2, 1.4, 1.7, 2.0, 2.4, 2.8, 4.0, 5.6),
    narrower: Sequence[float] = (0.8, 0.65, 0.5, 0.4, 0.3, 0.2, 0.1),
) -> Calibration:
    """The scale whose coverage by lead time is nearest to `level`, if the first falls short.

    If it does not, wider ones are no remedy, even where chaos saturates their coverage below it.
    Narrower ones are tried then, as long as intervals cover clearly too much. With room to spare,
    since the parameters kept are those that forecast validation trajectories best, whose coverage
    is therefore flattering.

    Args:
        predict: From a scale to forecasts of the validation trajectories, of those with common lead
            times in a batch, and these at its times.
        level: Nominal coverage of the central interval.
        bins: Equal parts of the longest horizon, of which those without times are passed over.
        scales: Multiples of L to try.
        narrower: Smaller and smaller ones, tried while coverage stays above (1 + level)/2;
            () for none.

    Raises:
        ValueError: `level` is not one number inside (0, 1), or the first scale's forecast is not
            finite. Wider ones whose forecasts blow up are passed over.
    """
    check_level("level", level)

    def covered(pairs: Sequence[tuple[Forecast, Trajectories]]) -> Array:
        return _coverage_by_lead(pairs, level, bins)

    best = float(scales[0])
    tried = {best: covered(predict(best))}
    if tried[best].mean() < level:
        for scale in scales[1:]:
            pairs = predict(scale)
            if all(bool(on_grid(fc, fc.mean).isfinite().all()) for fc, _ in pairs):
                tried[float(scale)] = covered(pairs)
        best = min(tried, key=lambda s: float(np.square(tried[s] - level).mean()))
    else:
        for scale in (s for s in narrower if s < scales[0]):
            tried[float(scale)] = covered(predict(scale))
            if tried[float(scale)].mean() < 0.5 * (1 + level):
                break
            best = float(scale)
    table = tuple(tuple(row.tolist()) for row in tried.values())
    return Calibration(best, level, tuple(tried), table)


def _coverage_by_lead(
    pairs: Sequence[tuple[Forecast, Trajectories]], level: float, bins: int
) -> Array:
    """(bin,) mean over the trajectories that have times in a part of the horizon."""
    horizon = max(float(fc.times[-1] - fc.times[0]) for fc, _ in pairs)
    means = []
    for fc, truth in pairs:
        share = coverage_by_time(fc, truth, level=level)
        part = part_of_horizon(fc.times, bins, horizon)
        each = np.full((len(share), bins), np.nan)
        for b in np.unique(part):
            each[:, b] = mean_of(share[:, part == b], 1)
        means.append(each)
    every = np.concatenate(means)
    return np.asarray(np.nanmean(every[:, ~np.isnan(every).all(0)], axis=0))
