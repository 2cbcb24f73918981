"""What `Fit.calibrated` and `Fit.jackknifed` put beside the weights, from data."""

from __future__ import annotations

from dataclasses import replace
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
from pyro_msde.forecasts import Forecast, matched_trajectories
from pyro_msde.inference import Jackknife, JackknifeStep, encoded_segments
from pyro_msde.isolation import Isolation, place_of
from pyro_msde.networks import refusal
from pyro_msde.protocols import Adjustment, FreeNodes, LastLayer
from pyro_msde.scores import (
    BINS,
    Calibration,
    choose_diffusion_scale,
    choose_parameter_scale,
)
from pyro_msde.sde import CHOOSING_STEP

if TYPE_CHECKING:
    from pyro_msde.interface.fitted import Fit

__all__ = ["calibrated_adjustments", "jackknife_of"]


def calibrated_adjustments(
    fit: Fit, validation: Trajectories, level: float, num_times: int
) -> list[Adjustment]:
    """Those with which forecasts of validation trajectories cover them as claimed.

    The scale of L = √C; where noise was turned down, that of the jackknife, too.
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
        parts.append((validation[rows].snapshots([every] * len(rows)), times[every]))
    step = CHOOSING_STEP * fit.scaling.time
    jackknife = fit.adjustment("jackknife")
    if isinstance(jackknife, Jackknife):
        fit = fit.adjusted(replace(jackknife, scale=1.0))

    def predict(*adjustments: Adjustment) -> list[tuple[Forecast, Trajectories]]:
        scaled = fit
        for adjustment in adjustments:
            scaled = scaled.adjusted(adjustment)
        return [
            (scaled.forecast(truth, times, num_samples=32, max_step=step), truth)
            for truth, times in parts
        ]

    bins = min(BINS, max(len(t) for t in validation.times) - 1)
    found = choose_diffusion_scale(
        lambda scale: predict(Calibration(scale)),
        quieter=lambda scale: predict(Calibration(scale, start=scale)),
        level=level,
        bins=bins,
        windows=num_separate(validation),
    )
    if not isinstance(jackknife, Jackknife):
        return [found]
    scale = 1.0
    if found.start < 1:
        scale, found = choose_parameter_scale(
            lambda scale: predict(found, replace(jackknife, scale=scale)), found, bins=bins
        )
    return [found, replace(jackknife, scale=scale)]


def jackknife_of(fit: Fit, train: Trajectories, ridge: float, seed: int) -> Jackknife:
    """What the drift owes to parts of the training data."""
    check_trajectories("train", fit.model, train)
    seed, ridge = check_seed("seed", seed), check_number("ridge", ridge)
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
