"""One number that makes forecast intervals as wide as they claim: a scale for L = √C.

The ELBO does not fit the diffusion as a residual variance: both path measures share C, and at the
optimum it is far too small where a snapshot has many points. This step, separate from training and
reported as such, chooses the multiple of L at which forecasts of *validation* trajectories cover
their truth as often as they should at every lead time, and moves it towards 1 by what they cannot
tell.

Where nothing is random, noise only spoils forecasts: it carries the phases of waves apart, so that
their mean dies down, and in a flow that is unstable it grows. A large β makes C and the spread of
the start too large besides, both by about β. Multiples of both together, smaller and smaller, are
therefore tried first, as long as each makes validation forecasts better by far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pyro_msde.checks import check_level
from pyro_msde.scores.recalibration import Calibration
from pyro_msde.scores.window_scores import WindowScores

__all__ = ["WIDER", "choose_diffusion_scale", "shrunk"]

WIDER = 1.2, 1.4, 1.7, 2.0, 2.4, 2.8, 4.0, 5.6

_PRIOR_SD = 0.5, 1.0  # of the logarithm of the scale, below and above zero
_QUIETER = 0.5, 0.25, 0.1, 0.0  # of L and of the start's spread
_LEAST_GAIN = 0.1  # of the CRPS; spread that is 1.8 times as wide as errors are loses as much
_ALIKE = 0.01  # relative difference of scales below which no other forecast is worth while

Score = Callable[[float], WindowScores | None]


def shrunk(scale: float, error: float, slope: float) -> float:
    """A scale moved towards 1 by what validation trajectories cannot tell.

    They say log ŝ with a standard error τ, that of the coverage over its slope dc/d log s at ŝ.
    Before they are seen log s is N(0, σ²), with σ = 1 above and .5 below zero: the ELBO makes C too
    small rather than too large. The posterior mean is log s = σ²/(σ² + τ²) log ŝ: near ŝ where
    coverage is known well and depends on the scale, near 1 otherwise.

    Args:
        scale: ŝ.
        error: Standard error of the coverage.
        slope: dc/d log s.
    """
    log = float(np.log(scale))
    trust = (_PRIOR_SD[0 if log < 0 else 1] * slope) ** 2
    return float(np.exp(log * trust / (trust + error**2))) if trust > 0 else 1.0


def _slope(tried: Mapping[float, WindowScores], scale: float) -> float:
    """dc/d log s of the scales that were tried, from 1 to one or on both sides of it.

    The steeper of the two: coverage that is nearly complete at one end tells nothing.
    """
    known = sorted(tried)
    i = known.index(scale)
    around = known[max(0, i - 1)], known[min(len(known) - 1, i + 1)]
    pairs = [(low, high) for low, high in (around, sorted((1.0, scale))) if low < high]
    slopes = [
        (tried[high].average - tried[low].average) / float(np.log(high / low))
        for low, high in pairs
    ]
    return max(slopes, default=0.0)


def choose_diffusion_scale(
    score: Score,
    *,
    quieter: Score | None = None,
    level: float = 0.9,
    windows: float | None = None,
    wider: Sequence[float] = WIDER,
    narrower: Sequence[float] = (0.8, 0.65, 0.5, 0.4, 0.3, 0.2, 0.1),
) -> Calibration:
    """The scale whose coverage by lead time is nearest to `level`, if that at 1 falls short.

    Before that come scales that make forecasts gain by less noise: the last of them is kept, if
    there are any. If coverage does not fall short, wider ones are no remedy, even where chaos
    saturates their coverage below it. Narrower ones are tried then, as long as intervals cover
    clearly too much. With room to spare, since the parameters kept are those that forecast
    validation trajectories best, whose coverage is therefore flattering. What was chosen is moved
    towards 1 as `shrunk` says, by the standard error of `WindowScores.error`.

    Args:
        score: Of forecasts of the validation trajectories, by scale. None: they are not finite,
            and the scale is passed over; at 1 they are.
        quieter: Of those in which the start's spread has a scale below 1, too; None: these are not
            tried.
        level: Nominal coverage of the central interval.
        windows: How many validation trajectories there are, overlapping ones counted in part. None:
            none overlap.
        wider: Multiples of L to try if 1 covers too little; () for none.
        narrower: Smaller and smaller ones, tried while coverage stays above (1 + level)/2;
            () for none.

    Raises:
        ValueError: `level` is not one number inside (0, 1).
    """
    check_level("level", level)
    plain = score(1.0)
    if plain is None:
        raise ValueError("score: None at 1. Pass that of forecasts which are finite.")
    tried = {1.0: plain}
    count = windows or float(len(plain.coverage))
    if quieter is not None:
        _turn_down(tried, quieter)
    scale = chosen = start = min(tried)
    if start == 1:
        chosen = _covering(tried, score, level, wider, narrower)
        scale = shrunk(chosen, tried[chosen].error(level, count), _slope(tried, chosen))
        if abs(scale / chosen - 1) < _ALIKE:
            scale = chosen
        if scale not in tried:
            between = score(scale)
            if between is None:
                scale = chosen
            else:
                tried[scale] = between
    coverage, spread_skill = zip(*(each.by_lead for each in tried.values()), strict=True)
    return Calibration(
        scale=scale,
        level=level,
        scales=tuple(tried),
        coverage=coverage,
        spread_skill=spread_skill,
        leads=plain.leads,
        chosen=chosen,
        windows=count,
        start=start,
    )


def _turn_down(tried: dict[float, WindowScores], quieter: Score) -> None:
    """Add the scales at which forecasts gain by less noise to those that were tried."""
    for scale in _QUIETER:
        scores = quieter(scale)
        if scores is None or scores.gain_over(tried[min(tried)]) < _LEAST_GAIN:
            return
        tried[scale] = scores


def _covering(
    tried: dict[float, WindowScores],
    score: Score,
    level: float,
    wider: Sequence[float],
    narrower: Sequence[float],
) -> float:
    """The scale that covers best, after adding others to those that were tried."""
    chosen = 1.0
    if tried[1.0].average < level:
        for scale in wider:
            scores = score(scale)
            if scores is not None:
                tried[float(scale)] = scores
        return min(tried, key=lambda s: float(np.square(tried[s].by_bin - level).mean()))
    for scale in narrower:
        scores = score(scale)
        if scores is None:
            break
        tried[float(scale)] = scores
        if scores.average < 0.5 * (1 + level):
            break
        chosen = float(scale)
    return chosen
