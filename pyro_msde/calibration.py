"""One number that makes forecast intervals as wide as they claim: a scale for L = √C.

The ELBO does not fit the diffusion as a residual variance: both path measures share C, and at the
optimum it is far too small where a snapshot has many points. This step, separate from training and
reported as such, chooses the multiple of L at which forecasts of *validation* trajectories cover
their truth as often as they should at every lead time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyro_msde.forecasting import Forecast
from pyro_msde.scores import coverage
from pyro_msde.trajectories import Trajectories

__all__ = ["Calibration", "choose_diffusion_scale"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """What the choice of scale was based on.

    Attributes:
        scale: Chosen multiple of L = √C.
        level: Nominal coverage.
        scales: (candidate,) the multiples tried.
        coverage: (candidate, bin) coverage of validation trajectories by lead time.
    """

    scale: float
    level: float
    scales: tuple[float, ...]
    coverage: tuple[tuple[float, ...], ...]

    @property
    def misfit(self) -> Array:
        """(candidate,) root mean square over lead times of coverage − level."""
        return np.asarray(np.sqrt(np.square(np.asarray(self.coverage) - self.level).mean(1)))


def choose_diffusion_scale(
    predict: Callable[[float], tuple[Forecast, Trajectories]],
    *,
    level: float = 0.9,
    bins: int = 10,
    scales: Sequence[float] = (1.0, 1.2, 1.4, 1.7, 2.0, 2.4, 2.8, 4.0, 5.6),
) -> Calibration:
    """Try each scale; take the one whose coverage by lead time is nearest to `level`.

    Args:
        predict: From a scale to a forecast of the validation trajectories, and these at its times.
        level: Nominal coverage of the central interval.
        bins: Equal parts of the horizon.
        scales: Multiples of L to try. None below one unless asked for: the parameters kept are
            those that forecast validation trajectories best, whose coverage is therefore
            flattering, so narrowing intervals on their account is not warranted.

    Raises:
        ValueError: `level` is not inside (0, 1).
    """
    if not 0 < level < 1:
        raise ValueError(f"level={level}: give a number inside (0, 1), such as 0.9.")
    rows = [np.mean(coverage(*predict(s), level=level, bins=bins), axis=0) for s in scales]
    table = np.asarray(rows)
    best = int(np.argmin(np.square(table - level).mean(1)))
    return Calibration(
        float(scales[best]), level, tuple(scales), tuple(map(tuple, table.tolist()))
    )
