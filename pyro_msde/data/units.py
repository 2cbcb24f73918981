"""Units: one scale per channel, no centring, time in training horizons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["ROOM", "Scaling"]

# a dtype's smallest and largest numbers, with room for what is far below or above the usual: in
# float32 for values, in float64 for their squares too
ROOM = {torch.float32: (1e-30, 1e30), torch.float64: (1e-100, 1e100)}


@dataclass(frozen=True)
class Scaling:
    """Scaled value = value / scale of its channel, scaled time = time / horizon.

    Nothing is centred: zero means zero on a Dirichlet wall, and drifts of PDEs have no reason to be
    invariant under shifts of the state.

    Attributes:
        channels: Root mean square of each channel over the training data, in the user's units.
        time: Training horizon, in the user's units.
        covariates: Root mean square of each of the trajectories' covariates.
    """

    channels: tuple[float, ...]
    time: float
    covariates: tuple[float, ...] = ()

    @classmethod
    def of(
        cls, fields: Sequence[np.ndarray], horizon: float, covariates: np.ndarray | None = None
    ) -> Scaling:
        """Scales of training fields, each (time, channel, *space), and covariates (trajectory, p).

        A covariate that is zero throughout is left as it is.

        Raises:
            ValueError: A channel is zero everywhere, or no trajectory lasts.
        """
        if not horizon > 0:
            raise ValueError(
                "data: every trajectory is a single snapshot. A drift is learned from how fields "
                "change: give each trajectory two snapshots or more."
            )
        rms = _root_mean_square([np.moveaxis(f, 1, -1) for f in fields])
        if not (rms > 0).all():
            which = f"channel {int(np.argmin(rms))} is" if len(rms) > 1 else "the field is"
            mend = "Leave it out." if rms.any() else "There is nothing to learn."
            raise ValueError(f"values: {which} zero in every snapshot. {mend}")
        sizes = np.zeros(0) if covariates is None else _root_mean_square([covariates])
        return cls(tuple(map(float, rms)), float(horizon), tuple(float(p) or 1.0 for p in sizes))

    def check_room(self, dtype: torch.dtype) -> None:
        """Forecasts in the user's units are to fit a dtype, some way above and below their scale.

        Raises:
            ValueError: A channel is too large or too small for it.
        """
        least, most = ROOM[dtype]
        for k, size in enumerate(self.channels):
            if not least <= size <= most:
                which = f"channel {k}" if len(self.channels) > 1 else "the field"
                low, high = ROOM[torch.float64]
                wider = dtype != torch.float64 and low <= size <= high
                raise ValueError(
                    f"values: {which} has a root mean square of {size:.3g}, but "
                    f"{str(dtype).removeprefix('torch.')} has room for {least:g} to {most:g}. "
                    f"Change its units{' or pass dtype=torch.float64' if wider else ''}."
                )

    def field_scale(self, like: Tensor, ndim: int) -> Tensor:
        """Scale of fields (..., channel, *space) with `ndim` axes of space, broadcast to them.

        In `like`'s dtype and on its device.
        """
        scale = torch.tensor(self.channels, dtype=like.dtype, device=like.device)
        return scale.reshape(-1, *(1,) * ndim)

    def scaled_covariates(self, covariates: Tensor) -> Tensor:
        """(..., p) in scaled units; as they are if their scales are unknown."""
        if not self.covariates:
            return covariates
        return covariates / torch.tensor(self.covariates, dtype=torch.float64).to(covariates)

    def log_volume(self, points: int) -> float:
        """Log Jacobian Σ log(scale) of one snapshot with `points` grid points a channel."""
        return points * sum(math.log(c) for c in self.channels)


def _root_mean_square(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """(k,) over all axes but the last of arrays (..., k), of any size that float64 holds."""
    flat = [a.reshape(-1, a.shape[-1]) for a in arrays]
    largest = np.max([np.abs(a).max(0) for a in flat], axis=0).astype(np.float64)
    # powers of two divide without rounding
    unit = np.exp2(np.frexp(np.clip(largest, 1e-300, 1e300))[1].astype(np.float64))
    squares = sum(np.square(a / unit).sum(0) for a in flat)
    return np.asarray(unit * np.sqrt(squares / sum(len(a) for a in flat)))
