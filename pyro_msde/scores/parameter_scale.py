"""One number for what is not known of a drift's weights: a scale for the jackknife's directions.

Errors that all parts of the training data have in common do not show when one is left out, so the
jackknife knows the directions in which forecasts err better than how far they do. Where intervals
cover too little, by more than their standard error, wider ones in these directions therefore come
before more noise, unless forecasts are worse for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pyro_msde.scores.recalibration import Calibration
from pyro_msde.scores.window_scores import WindowScores

__all__ = ["choose_parameter_scale"]

_WIDER = 1.4, 2.0, 2.8, 4.0


def choose_parameter_scale(
    score: Callable[[float], WindowScores | None], found: Calibration
) -> tuple[float, Calibration]:
    """How much wider than it is the spread of a drift's weights has to be for intervals to cover.

    Multiples are tried one after the other, until intervals cover enough on average or the CRPS is
    above that of none.

    Args:
        score: Of forecasts of the validation trajectories, by multiple, with the noise of `found`.
            None: they are not finite.
        found: With the noise that was chosen.

    Returns:
        The multiple whose coverage by lead time is nearest to the level, and the calibration, with
        this as a further candidate if it is not 1.
    """
    plain = score(1.0)
    if plain is None:
        return 1.0, found
    if not plain.falls_short(found.level, found.windows or float(len(plain.coverage))):
        return 1.0, found
    tried = {1.0: plain}
    for scale in _WIDER:
        if tried[max(tried)].average >= found.level:
            break
        scores = score(scale)
        if scores is None or scores.gain_over(plain) < 0:
            break
        tried[scale] = scores
    best = min(tried, key=lambda s: float(np.square(tried[s].by_bin - found.level).mean()))
    if best == 1:
        return 1.0, found
    coverage, spread_skill = tried[best].by_lead
    return best, replace(
        found,
        scales=(*found.scales, found.scale),
        coverage=(*found.coverage, coverage),
        spread_skill=(*found.spread_skill, spread_skill),
        weights=(*(1.0,) * len(found.scales), best),
    )
