"""Is a forecast as uncertain as it should be? Every score of it in one pass.

Windows of time are decoded, sampled, scored and forgotten one after the other, so that memory grows
neither with the samples nor with the times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_msde.checks import check_draws, check_level, check_levels, check_seed
from pyro_msde.data import Trajectories, duration_units, to_numpy
from pyro_msde.forecasts import Forecast, Mixture
from pyro_msde.grid import Grid
from pyro_msde.scores.anomalies import anomaly_base
from pyro_msde.scores.calibration_report import BandPower, CalibrationReport
from pyro_msde.scores.predictive import Array, check_scored, lead_bin, spread_over, to_array
from pyro_msde.scores.proper_scores import (
    fair_crps,
    fair_energy,
    interval_score,
    opposites_of,
    pit_histogram,
)
from pyro_msde.scores.spectra import band_power
from pyro_msde.scores.targets import Target, Truth, aligned, on_grid, target_of

__all__ = ["calibration"]

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_BARS = 20  # of the PIT histogram
_BANDS = 5  # of wavenumber
_POWERS = ("power_truth", "power_mean", "power_draws")


def calibration(
    fc: Forecast,
    truth: Truth,
    *,
    levels: Sequence[float] = LEVELS,
    bins: int = 10,
    interval: float = 0.9,
    weights: Any = None,
    seed: int = 0,
) -> CalibrationReport:
    """Coverage, PIT, CRPS, energy and interval score, spread and skill, spectra, by lead time.

    What was not observed does not count. Spectra are left out where the grid has a mask or the
    truth has gaps: there are no waves then.

    Args:
        fc: Forecast.
        truth: Tensor or array shaped as `fc.mean`, or `Trajectories` at `fc.times`, which also
            give the units, and of which what is missing does not count.
        levels: Nominal coverages of central intervals, between 0 and 1.
        bins: Equal parts of the horizon, each without its start and with its end; the first has
            the initial time as well.
        interval: Nominal coverage of the interval whose Winkler score is taken.
        weights: Of points in means over the field, as for `pyro_msde.nrmse`; spectra have none.
        seed: Of the predictive draws, which CRPS, energy score and spectra take.

    Returns:
        The scores by trajectory and part of the horizon; averages over trajectories, plots and
        xarray are made of it.

    Raises:
        ValueError: A truth on another grid, at other times, of other trajectories or not finite; a
            level outside (0, 1), or one whose interval has less than one draw on either side; a
            part of the horizon without times; a forecast that is not finite.
    """
    nominal = np.unique(to_numpy(levels, "levels").astype(np.float64).reshape(-1))
    check_levels("levels", nominal)
    check_level("interval", interval)
    truth = aligned(fc, truth)
    target = target_of(fc, truth, weights)
    reference = anomaly_base(fc, target, "reference")
    has_waves = _has_waves(fc.grid) and not target.has_gaps
    lead_bin(fc.times, bins)
    generator = torch.Generator().manual_seed(check_seed("seed", seed))
    num_samples = 0
    windows: list[dict[str, Array]] = []
    for window in fc.mixtures():
        draws = window.sample(generator)
        if not windows:
            num_samples = len(draws)
            check_draws("levels", float(nominal[-1]), num_samples)
            check_draws("interval", interval, num_samples)
        times, part = fc.times[window.where], target.window(window.where)
        check_scored("mean", to_array(on_grid(fc, window.mean)), times)
        scores = _scores(window, draws, part, nominal.tolist(), interval)
        scores["reference_error"] = part.over_field(
            _less(part.values, reference, window.where).square()
        )
        if has_waves:
            scores |= _powers(fc.grid, window.mean, draws, part.values)
        for name, per_time in scores.items():
            check_scored(name.replace("_", " "), per_time, times)
        windows.append(scores)
    by_time = {name: np.concatenate([w[name] for w in windows], 1) for name in windows[0]}
    means = {name: target.by_lead(value, bins) for name, value in by_time.items()}
    power = None
    if has_waves:
        edges, _ = _band_power(fc.grid, np.zeros(fc.grid.data_shape))
        power = BandPower(edges, *(means.pop(name) for name in _POWERS))
    return CalibrationReport(
        levels=nominal,
        lead_edges=np.linspace(0, fc.times[-1] - fc.times[0], bins + 1),
        num_samples=num_samples,
        interval=interval,
        power=power,
        units=_units(truth),
        **means,
    )


def _scores(
    window: Mixture, draws: Tensor, target: Target, levels: Sequence[float], interval: float
) -> dict[str, Array]:
    """(batch, chunk, …) of a window, averaged over the field."""
    y, weights = target.values.to(draws), target.weights
    opposites = opposites_of(window)
    probability = window.cdf(y)
    if isinstance(window, Mixture):
        probability = spread_over(probability, window.atoms(y), window.where.start)
    probability = target.kept(probability)
    low, high = window.quantile(0.5 * (1 - interval)), window.quantile(0.5 * (1 + interval))
    per_point = {
        "crps": fair_crps(draws, y, opposites),
        "winkler": interval_score(low, high, y, interval),
        "variance": window.sd.double().square(),
        "squared_error": (window.mean.double() - target.values).square(),
    }
    off = (probability - 0.5).abs()
    inside = [target.over_field((off <= level / 2).double()) for level in levels]
    return {
        "coverage": np.stack(inside, axis=2),
        "pit": to_array(pit_histogram(probability, _BARS, weights)),
        "energy": to_array(fair_energy(target.kept(draws), target.kept(y), weights, opposites)),
        **{name: target.over_field(x) for name, x in per_point.items()},
    }


def _less(y: Tensor, reference: Tensor | None, where: slice) -> Tensor:
    """The truth's anomalies in a window of time."""
    if reference is None:
        return y
    return y - (reference[:, where] if reference.shape[1] > 1 else reference)


def _powers(grid: Any, mean: Tensor, draws: Tensor, y: Tensor) -> dict[str, Array]:
    """(batch, chunk, band) powers of truth, mean and draws."""
    field = y.ndim - 2

    def power(x: Tensor) -> Array:
        _, of_channel = _band_power(grid, x.detach().numpy())
        return of_channel.reshape(*x.shape[: x.ndim - field], -1, of_channel.shape[-1]).sum(-2)

    return dict(zip(_POWERS, (power(y), power(mean), power(draws).mean(0)), strict=True))


def _band_power(grid: Grid, values: Array) -> tuple[Array, Array]:
    spacing = [abs(float(x[1] - x[0])) for x in grid.coordinates]
    return band_power(values, grid.boundary, spacing, _BANDS)


def _has_waves(grid: Any) -> bool:
    if grid is None or not grid.has_waves or min(grid.data_shape) < 2:
        return False
    return grid.mask is None


def _units(truth: Any) -> dict[str, str]:
    """Of time, field and the last axis of space, where the truth gives them."""
    if not isinstance(truth, Trajectories):
        return {}
    axes = [d for d in truth.dims or () if d in truth.units]
    known = {"time": "time", "field": truth.name, "length": axes[-1] if axes else ""}
    units = {name: truth.units[key] for name, key in known.items() if key in truth.units}
    # the report's times are durations since the forecast began
    return units | {"time": str(duration_units(units["time"]))} if "time" in units else units
