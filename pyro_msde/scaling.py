"""Units: one scale per channel, no centring, time in training horizons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["Scaling"]


@dataclass(frozen=True)
class Scaling:
    """Scaled value = value / scale of its channel, scaled time = time / horizon.

    Nothing is centred: zero means zero on a Dirichlet wall, and drifts of PDEs have no reason to be
    invariant under shifts of the state.

    Attributes:
        channels: Root mean square of each channel over the training data, in the user's units.
        time: Training horizon, in the user's units.
        parameters: Root mean square of each of the trajectories' parameters.
    """

    channels: tuple[float, ...]
    time: float
    parameters: tuple[float, ...] = ()

    @classmethod
    def of(
        cls, fields: Sequence[np.ndarray], horizon: float, parameters: np.ndarray | None = None
    ) -> Scaling:
        """Scales of training fields, each (time, channel, *space), and parameters (trajectory, p).

        A parameter that is zero throughout is left as it is.

        Raises:
            ValueError: A channel is zero everywhere.
        """
        count = sum(f.size // f.shape[1] for f in fields)
        squares = sum(np.square(f, dtype=np.float64).sum((0, *range(2, f.ndim))) for f in fields)
        rms = np.sqrt(np.asarray(squares) / count)
        if not (rms > 0).all():
            raise ValueError(
                f"values: channel {int(np.argmin(rms))} is zero in every snapshot. Leave it out."
            )
        own = np.zeros(0) if parameters is None else np.sqrt(np.square(parameters).mean(0))
        return cls(
            tuple(float(r) for r in rms), float(horizon), tuple(float(p) or 1.0 for p in own)
        )

    def field_scale(self, like: Tensor, ndim: int) -> Tensor:
        """Scale of fields (..., channel, *space) with `ndim` axes of space, broadcast to them."""
        scale = torch.tensor(self.channels, dtype=like.dtype, device=like.device)
        return scale.reshape(-1, *(1,) * ndim)

    def scaled_parameters(self, parameters: Tensor) -> Tensor:
        """(..., p) in scaled units; as they are if their scales are unknown."""
        if not self.parameters:
            return parameters
        return parameters / torch.tensor(self.parameters).to(parameters)

    def log_volume(self, points: int) -> float:
        """Log Jacobian Σ log(scale) of one snapshot with `points` grid points a channel."""
        return points * sum(math.log(c) for c in self.channels)
