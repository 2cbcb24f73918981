"""One number for what is not known of a drift's weights: a scale for the jackknife's directions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from pyro_msde.data import Trajectories
from pyro_msde.forecasts import Forecast
from pyro_msde.scores.recalibration import BINS, Calibration
from pyro_msde.scores.targets import on_grid
from pyro_msde.scores.window_scores import window_scores

__all__ = ["choose_parameter_scale"]

_LESS_SURE = 1.4, 2.0, 2.8, 4.0  # multiples of what is not known of the drift's weights

Pairs = Sequence[tuple[Forecast, Trajectories]]


def choose_parameter_scale(
    predict: Callable[[float], Pairs], found: Calibration, *, bins: int = BINS
) -> tuple[float, Calibration]:
    """How much wider than it is the spread of a drift's weights has to be for intervals to cover.

    Where noise was turned down, errors are the drift's, and the jackknife knows the directions they
    take better than their size: it does not see what all parts of the training data have in common.
    Multiples are tried until intervals cover enough on average.

    Args:
        predict: From a multiple to forecasts, as `choose_diffusion_scale` takes them.
        found: With the noise that was chosen.
        bins: As it had.

    Returns:
        The multiple whose coverage by lead time is nearest to the level, and the calibration with
        the coverage it has then.
    """
    place = found.scales.index(found.scale)
    tried = {1.0: (found.coverage[place], found.spread_skill[place])}
    for scale in _LESS_SURE:
        if np.mean(tried[max(tried)][0]) >= found.level:
            break
        pairs = predict(scale)
        if all(bool(on_grid(fc, fc.mean).isfinite().all()) for fc, _ in pairs):
            tried[scale] = window_scores(pairs, level=found.level, bins=bins).by_lead
    best = min(tried, key=lambda s: float(np.square(np.subtract(tried[s][0], found.level)).mean()))
    coverage, spread_skill = list(found.coverage), list(found.spread_skill)
    coverage[place], spread_skill[place] = tried[best]
    return best, replace(found, coverage=tuple(coverage), spread_skill=tuple(spread_skill))
