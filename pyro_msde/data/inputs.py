"""What drifts and encoders take beside the state: covariates, and controls at any time.

Covariates are fixed along a trajectory. Controls u are known at times t_i, and linear in between:

    u(t) = u_i + (u_{i+1} − u_i) (t − t_i)/(t_{i+1} − t_i),    t_i ≤ t ≤ t_{i+1},

so that each quadrature node and each stage of an integration has its own. Beyond the first and last
of these times they stay what they are there; callers refuse such times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from pyro_msde.data.trajectories import Trajectories
    from pyro_msde.data.units import Scaling

__all__ = ["Inputs", "beside", "held", "inputs_of"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Inputs:
    """Covariates and controls of some rows: segments, initial fields or trajectories.

    Attributes:
        covariates: (row, p) in scaled units; None: there are none.
        times: (row, knot) float64, increasing, at which controls are known; None: there are none.
        controls: (row, knot, c) in scaled units; None likewise.
    """

    covariates: Tensor | None = None
    times: Tensor | None = None
    controls: Tensor | None = None

    def at(self, t: Tensor) -> Tensor | None:
        """What a drift is given at times t (row, time), or one row of times for all rows.

        Returns:
            (row, p) without controls, (row, time, p + c) with them, covariates first; None: there
            are neither.
        """
        if self.controls is None or self.times is None:
            return self.covariates
        rows = max(len(t), len(self.controls))
        t = t.to(self.times).expand(rows, -1)
        now = _interpolated(self.times.expand(rows, -1), self.controls.expand(rows, -1, -1), t)
        if self.covariates is None:
            return now
        return torch.cat([beside(self.covariates, now).to(now), now], -1)

    def of_fields(self, t: Tensor) -> Tensor | None:
        """What an encoder is given beside fields at times t (row, time): (row, time or 1, p + c).

        None: there are neither covariates nor controls.
        """
        now = self.at(t)
        return now[:, None] if now is not None and now.ndim == 2 else now

    def driving(self, drift: Callable[..., Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
        """γ(z, t) of a drift γ(z, t, covariates), with these at each time."""

        def driven(z: Tensor, t: Tensor) -> Tensor:
            return drift(z, t, covariates=self.at(t))

        return driven

    def row(self, k: int) -> Inputs:
        """Those of one row."""
        parts = (self.covariates, self.times, self.controls)
        return Inputs(*(None if x is None else x[k : k + 1] for x in parts))

    def to(self, like: Tensor) -> Inputs:
        """With the dtype and on the device of a tensor; times stay float64."""
        return Inputs(
            None if self.covariates is None else self.covariates.to(like),
            None if self.times is None else self.times.to(like.device),
            None if self.controls is None else self.controls.to(like),
        )


def beside(covariates: Tensor, z: Tensor) -> Tensor:
    """(..., segment, time, p) beside z (..., segment, time, any).

    Args:
        covariates: (segment, p), or (segment, time, p) where some of them are controls; one of
            either may stand for many.
        z: Whose leading axes are taken.
    """
    each = covariates[:, None] if covariates.ndim == 2 else covariates
    return each.expand(*z.shape[:-1], -1)


def inputs_of(data: Trajectories, scaling: Scaling) -> Inputs:
    """Covariates and controls of trajectories side by side, in float64."""
    covariates = None
    if data.covariates is not None:
        covariates = scaling.scaled_covariates(torch.as_tensor(data.covariates))
    if data.controls is None:
        return Inputs(covariates)
    times, controls = held(data.times, data.controls)
    scaled = scaling.scaled_controls(torch.as_tensor(controls))
    return Inputs(covariates, torch.as_tensor(times / scaling.time), scaled)


def held(times: Sequence[Array], controls: Sequence[Array]) -> tuple[Array, Array]:
    """Controls of trajectories of any lengths side by side; after its end each keeps its last ones.

    Args:
        times: Per trajectory (n_k,).
        controls: Per trajectory (n_k, c).

    Returns:
        Times (trajectory, knot), increasing, and controls (trajectory, knot, c).
    """
    most = max(map(len, times))
    apart = max(1.0, *(float(t[-1] - t[0]) for t in times))
    clocks = [np.append(t, t[-1] + apart * np.arange(1, most - len(t) + 1)) for t in times]
    values = [np.pad(u, ((0, most - len(u)), (0, 0)), mode="edge") for u in controls]
    return np.stack(clocks), np.stack(values)


def _interpolated(times: Tensor, values: Tensor, t: Tensor) -> Tensor:
    """(row, time, c) at t (row, time), of values (row, knot, c) at times (row, knot)."""
    last = times.shape[1] - 1
    if last == 0:
        return values.expand(-1, t.shape[1], -1)
    after = torch.searchsorted(times.contiguous(), t.contiguous()).clamp(1, last)
    start, end = (times.gather(1, i) for i in (after - 1, after))
    share = ((t - start) / (end - start)).clamp(0, 1).to(values)[..., None]
    low, high = (
        values.gather(1, i[..., None].expand(-1, -1, values.shape[-1])) for i in (after - 1, after)
    )
    return torch.lerp(low, high, share)
