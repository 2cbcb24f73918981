"""Integration of dz = γ(z, t) dt + L dβ, C = L Lᵀ diagonal and constant, by torchsde.

The noise is additive, so Itô and Stratonovich agree and the midpoint rule, of second order in the
drift, may be used: Euler's method lets the fast waves of a dispersive drift grow.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torchsde
from torch import Tensor

__all__ = ["FASTEST", "integrate", "stable_step"]

FASTEST = 500.0  # per horizon: a decay that forecasts' default step still resolves

_LARGEST_ANGLE = 0.5  # step × spectral radius: waves then grow by less than 1 % a step
_DEEP = 4000  # steps beyond which torchsde needs a balanced tree, lest its recursion end
_ITERATIONS = 40  # of the power method, of which the later half counts


class _InStepTime(torch.nn.Module):
    """The SDE with the number of the step as its clock, so that rows may have their own times.

    Each interval of the times has `substeps` steps, over each of which time runs by
    (t_{i+1} − t_i) / substeps: the drift is multiplied by this rate and the diffusion by its root.
    Steps of length one have no rounding: torchsde would add a last step of 1e-15, whose Brownian
    increment it cannot find, and ends of intervals could be taken for the interval before.
    """

    noise_type = "diagonal"
    sde_type = "stratonovich"

    def __init__(
        self,
        drift: Callable[[Tensor, Tensor], Tensor],
        diffusion: Tensor,
        times: Tensor,
        substeps: int,
    ) -> None:
        super().__init__()
        self.drift = drift
        self.scale = diffusion.sqrt()
        self.times = times
        self.substeps = substeps
        self.rates = torch.diff(times, dim=-1) / substeps

    def _clock(self, s: Tensor) -> tuple[Tensor, Tensor]:
        i = min(int(s) // self.substeps, self.rates.shape[-1] - 1)
        rate = self.rates[..., i : i + 1]
        return self.times[..., i : i + 1] + (s - i * self.substeps) * rate, rate

    def f(self, s: Tensor, flat: Tensor) -> Tensor:
        """Drift per step."""
        t, rate = self._clock(s)
        z = flat.reshape(-1, *self.times.shape[:-1], 1, flat.shape[-1])
        drift = self.drift(z, t) * rate[..., None].to(z.dtype)
        return drift.reshape(flat.shape)

    def g(self, s: Tensor, flat: Tensor) -> Tensor:
        """Diffusion per root of a step."""
        rate = self._clock(s)[1].to(flat.dtype).sqrt()
        rows = rate.expand(flat.shape[0] // rate.numel(), *rate.shape).reshape(-1, 1)
        return rows * self.scale


@torch.no_grad()
def stable_step(drift: Callable[[Tensor, Tensor], Tensor], start: Tensor, times: Tensor) -> float:
    """Longest step at which the midpoint rule is stable for the drift's Jacobian at given states.

    The spectral radius is found by the power method on finite differences, so the drift may be any
    function. Infinite where the drift does not depend on the state.

    Args:
        drift: As for `integrate`.
        start: (row, latent) states.
        times: (row,) float64.

    Returns:
        In the units of the times.
    """
    z, t = start[None, :, None], times[:, None]
    here = drift(z, t)
    size = 1e-2 * (1 + z.square().mean().sqrt())  # large against float32's rounding of the drift
    v = torch.randn_like(z)
    logs = []
    for _ in range(_ITERATIONS):
        v = v / v.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(v.dtype).tiny)
        v = (drift(z + size * v, t) - here) / size
        logs.append(v.norm(dim=-1).log())
    radius = torch.stack(logs[_ITERATIONS // 2 :]).mean(0).exp().max()
    return math.inf if not radius > 0 else _LARGEST_ANGLE / float(radius)


def integrate(
    drift: Callable[[Tensor, Tensor], Tensor],
    diffusion: Tensor,
    start: Tensor,
    times: Tensor,
    *,
    max_step: float | None = None,
) -> Tensor:
    """Paths of the SDE at the given times.

    Args:
        drift: γ(z, t) with z (sample, row, 1, latent) and t (row, 1) float64.
        diffusion: (latent,) diagonal of C.
        start: (..., row, latent) z(t₀); samples to the left.
        times: (row, time) float64, increasing, one row for each of `start`'s.
        max_step: Longest step in the units of the times; None: one step from time to time.

    Returns:
        (..., row, time, latent). Its noise follows torch's seed.
    """
    if times.shape[-1] == 1:
        return start[..., None, :]
    substeps = 1
    if max_step is not None:
        longest = float(torch.diff(times, dim=-1).max())
        substeps = max(1, math.ceil(longest / max_step * (1 - 1e-9)))
    sde = _InStepTime(drift, diffusion, times, substeps)
    steps = torch.arange(times.shape[-1], dtype=torch.float64, device=times.device) * substeps
    flat = start.reshape(-1, start.shape[-1])
    noise = torchsde.BrownianInterval(
        t0=steps[0],
        t1=steps[-1],
        size=flat.shape,
        dtype=flat.dtype,
        device=flat.device,
        # from torch's generator: torchsde would ask numpy's global one, which no seed of ours sets
        entropy=int(torch.randint(2**31 - 1, ())),
        dt=1.0 if steps[-1] > _DEEP else None,
    )
    path: Tensor = torchsde.sdeint(sde, flat, steps, bm=noise, dt=1.0, method="midpoint")
    return path.movedim(0, -2).reshape(*start.shape[:-1], len(steps), start.shape[-1])
