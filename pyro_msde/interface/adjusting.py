"""What `Fit.calibrated` and `Fit.jackknifed` put beside the weights, from data."""

from __future__ import annotations

from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

from pyro_msde.checks import check_number, check_seed, check_whole
from pyro_msde.data import (
    Trajectories,
    check_trajectories,
    common_batches,
    each_trajectory,
    matched,
    num_separate,
    observed_snapshots,
    since_first_observed,
    time_blocks,
)
from pyro_msde.forecasts import matched_trajectories
from pyro_msde.inference import (
    Jackknife,
    JackknifeStep,
    encoded_segments,
    is_equation_alone,
)
from pyro_msde.interface.validation_steps import judging_step
from pyro_msde.isolation import Isolation, place_of
from pyro_msde.networks import refusal
from pyro_msde.protocols import Adjustment, FreeNodes, LastLayer
from pyro_msde.scores import (
    BINS,
    WIDER,
    Calibration,
    WindowScores,
    choose_diffusion_scale,
    choose_parameter_scale,
    on_grid,
    window_scores,
)
from pyro_msde.sde import CHOOSING_STEP

if TYPE_CHECKING:
    from pyro_msde.interface.fitted import Fit

__all__ = ["calibrated_adjustments", "jackknife_of"]


def calibrated_adjustments(
    fit: Fit, validation: Trajectories, level: float, num_times: int
) -> list[Adjustment]:
    """Those with which forecasts of validation trajectories cover them as claimed.

    The scale of L = √C, and where intervals cover too little that of the jackknife, which comes
    before more noise.
    """
    validation = matched_trajectories(fit, "validation", validation)
    validation = since_first_observed(validation, fit.model.grid, "validation")
    check_whole("num_times", num_times, BINS)
    lasting = [k for k, t in enumerate(validation.times) if len(t) > 1]
    if not lasting:
        raise ValueError("validation: single snapshots. Pass trajectories that go on.")
    validation = validation[lasting]
    parts = []  # with lead times in common
    for rows, _, times in common_batches(validation):
        every = slice(None, None, max(1, (len(times) - 1) // num_times))
        some = validation[rows]
        parts.append((some, some.snapshots([every] * len(rows)), times[every]))
    step = judging_step(fit, CHOOSING_STEP)
    jackknife = fit.adjustment("jackknife")
    bins = min(BINS, max(len(t) for t in validation.times) - 1)

    @cache
    def score(scale: float, start: float, weights: float) -> WindowScores | None:
        scaled = fit.adjusted(Calibration(scale, start=start))
        if isinstance(jackknife, Jackknife):
            scaled = scaled.adjusted(replace(jackknife, scale=weights))
        pairs = [
            (scaled.forecast(whole, times, num_samples=32, max_step=step), truth)
            for whole, truth, times in parts
        ]
        finite = all(bool(on_grid(fc, fc.mean).isfinite().all()) for fc, _ in pairs)
        if not finite and (scale, start, weights) != (1, 1, 1):
            return None  # while the forecast that nobody has scaled has to be finite
        return window_scores(pairs, level=level, bins=bins)

    windows = num_separate(validation)
    chosen = partial(choose_diffusion_scale, level=level, windows=windows)
    known = isinstance(jackknife, Jackknife)
    found = chosen(
        lambda scale: score(scale, 1.0, 1.0),
        quieter=lambda scale: score(scale, scale, 1.0),
        wider=() if known else WIDER,
    )
    if not isinstance(jackknife, Jackknife):
        return [found]
    weights, found = choose_parameter_scale(
        lambda weights: score(found.scale, found.start, weights), found
    )
    after = score(found.scale, found.start, weights)
    if found.start == 1 and after is not None:
        # what is left of a shortfall after the weights' may be chance, and wider noise costs much
        short = after.average < level if weights == 1 else after.falls_short(level, windows)
        if short:
            wider = chosen(lambda scale: score(scale, 1.0, weights))
            found = wider if weights == 1 else _beside(found, wider, weights)
    return [found, replace(jackknife, scale=weights)]


def _beside(found: Calibration, wider: Calibration, weights: float) -> Calibration:
    """The second, with what was tried before the weights' spread was made as wide as there."""
    count = len(found.scales) - 1
    return replace(
        wider,
        scales=(*found.scales[:count], *wider.scales),
        coverage=(*found.coverage[:count], *wider.coverage),
        spread_skill=(*found.spread_skill[:count], *wider.spread_skill),
        weights=(*found.weights[:count], *(weights,) * len(wider.scales)),
    )


def jackknife_of(fit: Fit, train: Trajectories, ridge: float, seed: int) -> Jackknife:
    """What the drift owes to parts of the training data."""
    check_trajectories("train", fit.model, train)
    seed, ridge = check_seed("seed", seed), check_number("ridge", ridge)
    if is_equation_alone(fit.model):
        raise ValueError(
            "model: its drift is an equation, without weights that parts of the data could change."
        )
    if why := refusal(fit.model, LastLayer):
        raise ValueError(
            f"model: no jackknife of this drift: {why}. Where it has a prior, q(θ) says what is "
            "uncertain; otherwise let it be a pyro_msde.protocols.LastLayer or pool an `Ensemble`."
        )
    train = matched(fit.metadata, "train", observed_snapshots(train, fit.model.grid, "train"))
    for k, times in enumerate(train.times):
        if len(times) < 2:
            raise ValueError(f"train: trajectory {k} has a single snapshot. Leave it out.")
    if isinstance(fit.guide, FreeNodes):
        fit.guide.check_data(train)
    device = place_of(fit.model)[1]
    step = JackknifeStep(Isolation(seed, device), time_blocks(fit, train), ridge=ridge)
    with Isolation(seed, device).turn():
        for part in encoded_segments(fit.model, fit.guide, each_trajectory(fit, train)):
            step.add(part)
    return step.end()
