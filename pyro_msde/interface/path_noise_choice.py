"""How much noise the forecasts of a fit with an equation take, by their own errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pyro_msde.data import Trajectories, common_batches
from pyro_msde.forecasts import PathNoise
from pyro_msde.interface.fitted import Fit
from pyro_msde.scores import crps, on_grid

__all__ = ["chosen_path_noise", "observation_shortfall"]

_SCALES = (0.03, 0.1, 0.3, 1.0)  # of L, beside zero
_STARTS = (3.0, 1.0, 0.3, 0.1, 0.03)  # of the start's spread
_BETWEEN = (4 / 3, 3 / 4)  # of the best of these: where errors grow, little more is much wider
_AS_GOOD = 1.005  # times the least CRPS: less noise is taken, which also is integrated faster
_TIMES, _PATHS, _TRAJECTORIES = 16, 16, 16


def chosen_path_noise(fit: Fit, validation: Trajectories) -> PathNoise | None:
    """The least multiples with which validation forecasts have the least CRPS, but for chance.

    First that of the start, without path noise, then that of path noise.

    Args:
        fit: Without such an adjustment.
        validation: Trajectories in its units.

    Returns:
        None where no forecast is finite.
    """
    parts = _judged(validation)
    if not parts:
        return None

    def score(noise: PathNoise) -> float:
        total = 0.0
        for whole, truth, times in parts:
            fc = fit.adjusted(noise).forecast(whole, times, num_samples=_PATHS)
            finite = bool(on_grid(fc, fc.mean).isfinite().all())
            total += float(np.sum(crps(fc, truth))) if finite else math.inf
        return total

    starts = [(score(noise := PathNoise(0.0, start)), noise) for start in _STARTS]
    best = min(starts, key=lambda pair: pair[0])[1].start
    nearer = [PathNoise(0.0, factor * best) for factor in _BETWEEN]
    starts += [(score(noise), noise) for noise in nearer]
    quiet = min(starts, key=lambda pair: pair[0])
    noisy = [(score(noise := PathNoise(scale, quiet[1].start)), noise) for scale in _SCALES]
    least = min(quiet[0], *(found for found, _ in noisy))
    if not math.isfinite(least):
        return None
    return next(noise for found, noise in (quiet, *noisy) if found <= _AS_GOOD * least)


def observation_shortfall(fit: Fit, validation: Trajectories) -> NDArray[np.float64]:
    """(channel,) by how much more forecasts err than Σ_y and the spread of paths explain.

    Ratios of variances: of the mean square error less that spread, to Σ_y; the median over
    trajectories and times after the first, which the few do not move whose paths have parted. It is
    far above one where coarse points take in all of the noise, or a start's errors stay.

    Args:
        fit: As its forecasts are.
        validation: Trajectories in its units.
    """
    grid = fit.model.grid
    ratios = []
    for whole, truth, times in _judged(validation):
        fc = fit.forecast(whole, times, num_samples=_PATHS)
        shape = (len(whole), len(times), grid.channels, -1)
        away = fc.mean.double() - torch.as_tensor(np.stack(truth.values)).double()
        missed = (away.square() - fc.propagated_var - fc.parameter_var).reshape(shape)
        own = fc.reconstruction_var.reshape(shape)
        seen = missed.isfinite()
        missed, own = (x.where(seen, 0).sum(-1) for x in (missed, own))
        ratios.append((missed / own)[:, 1:].flatten(0, 1))
    if not ratios:
        return np.ones(grid.channels)
    found: NDArray[np.float64] = torch.cat(ratios).nanmedian(0).values.double().numpy()
    return np.nan_to_num(found, nan=1.0, posinf=1.0, neginf=1.0)


def _judged(validation: Trajectories) -> list[tuple[Trajectories, Trajectories, Any]]:
    """Some trajectories that go on, what they are compared with and its times."""
    lasting = [k for k, t in enumerate(validation.times) if len(t) > 1]
    if not lasting:
        return []
    some = np.unique(np.linspace(0, len(lasting) - 1, min(len(lasting), _TRAJECTORIES)).astype(int))
    parts = []
    for rows, _, times in common_batches(validation[[lasting[i] for i in some]]):
        chosen = np.unique(np.linspace(0, len(times) - 1, min(len(times), _TIMES + 1)).astype(int))
        part = validation[[lasting[some[i]] for i in rows]]
        parts.append((part, part.snapshots([chosen] * len(rows)), times[chosen]))
    return parts
