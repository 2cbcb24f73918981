"""Integration of dz = γ(z, t) dt + L dβ, C = L Lᵀ diagonal and constant.

The noise is additive, so Itô and Stratonovich agree and torchsde's midpoint rule, of second order
in the drift, may be used: Euler's method lets the fast waves of a dispersive drift grow.

Where a drift asks for short steps, the classical rule of Runge and Kutta takes fewer in all: it
looks at the drift four times in a step, not twice, but is stable in four times as long ones, and as
exact in five times as long ones. Within a step the noise is a constant force, as it is in the
midpoint rule; either is of first order in the noise.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
import torchsde
from torch import Tensor

from pyro_msde.sde.opposite_pairs import in_opposite_pairs

__all__ = ["FASTEST", "MOST_STEPS", "cheaper_rule", "integrate", "stable_step"]

FASTEST = 500.0  # per horizon: a decay that forecasts' default step still resolves

_LARGEST_ANGLE = 0.5  # step × spectral radius: waves then grow by less than 1 % a step
_LONGER = 4.0  # steps of the fourth-order rule, against what limits the midpoint rule's
_PULLED = 2.5 / FASTEST  # the longest of these in which a decay at that rate is stable
MOST_STEPS = 100_000  # of a path: two horizons of the shortest step
_DEEP = 4000  # steps beyond which torchsde needs a balanced tree, lest its recursion end
_ITERATIONS = 40  # of the power method, of which the later half counts


class _InStepTime(torch.nn.Module):
    """The SDE with the number of the step as its clock, so that rows may have their own times.

    The i-th interval of the times has counts[i] steps, over each of which time runs by
    (t_{i+1} − t_i) / counts[i]: the drift is multiplied by this rate and the diffusion by its root.
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
        counts: Sequence[int],
    ) -> None:
        super().__init__()
        self.drift = drift
        self.scale = diffusion.sqrt()
        self.times = times
        self.starts = [0, *accumulate(counts)]  # and the end
        steps = torch.tensor(counts, dtype=times.dtype, device=times.device)
        self.rates = torch.diff(times, dim=-1) / steps
        self._diffusions: dict[int, Tensor] = {}  # of the interval asked for last

    def _interval(self, s: Tensor) -> int:
        return min(bisect_right(self.starts, float(s)) - 1, self.rates.shape[-1] - 1)

    def f(self, s: Tensor, flat: Tensor, interval: int | None = None) -> Tensor:
        """Drift per step, in an interval that s may be the end of."""
        i = self._interval(s) if interval is None else interval
        rate = self.rates[..., i : i + 1]
        t = self.times[..., i : i + 1] + (s - self.starts[i]) * rate
        z = flat.reshape(-1, *self.times.shape[:-1], 1, flat.shape[-1])
        drift = self.drift(z, t) * rate[..., None].to(z.dtype)
        return drift.reshape(flat.shape)

    def g(self, s: Tensor, flat: Tensor) -> Tensor:
        """Diffusion per root of a step."""
        i = self._interval(s)
        if i not in self._diffusions:
            rate = self.rates[..., i : i + 1].to(flat.dtype).sqrt()
            rows = rate.expand(flat.shape[0] // rate.numel(), *rate.shape).reshape(-1, 1)
            self._diffusions = {i: rows * self.scale}
        return self._diffusions[i]


class _Silence(torchsde.BaseBrownian):  # type: ignore[misc]
    """The noise of an SDE without diffusion: zeros, which take no time to draw."""

    levy_area_approximation = "none"
    shape = property(lambda self: self.increment.shape)
    dtype = property(lambda self: self.increment.dtype)
    device = property(lambda self: self.increment.device)

    def __init__(self, like: Tensor) -> None:
        super().__init__()
        self.increment = torch.zeros_like(like)

    def __call__(self, *_: Any, **__: Any) -> Tensor:
        """Of any interval."""
        return self.increment

    def size(self) -> torch.Size:
        """Of an increment."""
        return self.increment.shape

    def __repr__(self) -> str:
        """Its name."""
        return "_Silence()"


class _Opposed(torchsde.BaseBrownian):  # type: ignore[misc]
    """Noise of blocks of rows of which each second one's is the opposite of that before.

    Args:
        half: Noise of the others, block after block.
        blocks: All of them, maybe an odd number.
        rows: Of each block.
    """

    levy_area_approximation = "none"
    shape = property(lambda self: self.size())
    dtype = property(lambda self: self.half.dtype)
    device = property(lambda self: self.half.device)

    def __init__(self, half: torchsde.BaseBrownian, blocks: int, rows: int) -> None:
        super().__init__()
        self.half, self.blocks, self.rows = half, blocks, rows

    def __call__(self, *interval: Any, **options: Any) -> Tensor:
        """Of an interval, (block and row, latent)."""
        increment = self.half(*interval, **options).unflatten(0, (-1, self.rows))
        return in_opposite_pairs(increment, self.blocks).flatten(0, 1)

    def size(self) -> torch.Size:
        """Of an increment."""
        return torch.Size([self.blocks * self.rows, *self.half.shape[1:]])

    def __repr__(self) -> str:
        """Of what it is made."""
        return f"_Opposed({self.half}, {self.blocks}, {self.rows})"


@torch.no_grad()
def stable_step(
    drift: Callable[[Tensor, Tensor], Tensor],
    start: Tensor,
    times: Tensor,
    *,
    generator: torch.Generator | None = None,
) -> float:
    """Longest step at which the midpoint rule is stable for the drift's Jacobian at given states.

    The spectral radius is found by the power method on finite differences, so the drift may be any
    function. Infinite where the drift does not depend on the state.

    Args:
        drift: As for `integrate`.
        start: (row, latent) states.
        times: (row,) float64.
        generator: Of the CPU, for where the power method begins; None: torch's own.

    Returns:
        In the units of the times.
    """
    z, t = start[None, :, None], times[:, None]
    here = drift(z, t)
    size = 1e-2 * (1 + z.square().mean().sqrt())  # large against float32's rounding of the drift
    v = torch.empty_like(z, device="cpu").normal_(generator=generator).to(z.device)
    logs = []
    for _ in range(_ITERATIONS):
        v = v / v.norm(dim=-1, keepdim=True).clamp(min=torch.finfo(v.dtype).tiny)
        v = (drift(z + size * v, t) - here) / size
        logs.append(v.norm(dim=-1).log())
    radius = torch.stack(logs[_ITERATIONS // 2 :]).mean(0).exp().max()
    return math.inf if not radius > 0 else _LARGEST_ANGLE / float(radius)


def cheaper_rule(max_step: float, limit: float) -> tuple[str, float]:
    """The rule that looks at the drift less often, for `integrate`, and its step.

    Args:
        max_step: Longest step wanted, in training horizons.
        limit: Longest step of the midpoint rule that is stable and exact enough, likewise.
    """
    midpoint, fourth = min(max_step, limit), min(max_step, _PULLED, _LONGER * limit)
    return ("runge-kutta", fourth) if fourth > 2.001 * midpoint else ("midpoint", midpoint)


def integrate(
    drift: Callable[[Tensor, Tensor], Tensor],
    diffusion: Tensor,
    start: Tensor,
    times: Tensor,
    *,
    max_step: float | None = None,
    generator: torch.Generator | None = None,
    rule: str = "midpoint",
    opposed: int = 0,
) -> Tensor:
    """Paths of the SDE at the given times.

    From time to time all rows take as many steps as the longest of their gaps needs, so that the
    cost follows the time that goes by, however unevenly it is divided.

    Args:
        drift: γ(z, t) with z (sample, row, 1, latent) and t (row, 1) float64.
        diffusion: (latent,) diagonal of C.
        start: (..., row, latent) z(t₀); samples to the left.
        times: (row, time) float64, increasing, one row for each of `start`'s.
        max_step: Longest step in the units of the times; None: one step from time to time.
        generator: Of the CPU, for the noise; None: torch's own.
        rule: "midpoint" or "runge-kutta".
        opposed: Blocks of samples of which each second one has the opposite noise of that before,
            so that the mean of all errs less; they are no independent draws then. Zero: they are.

    Returns:
        (..., row, time, latent).

    Raises:
        ValueError: That would be more than 100 000 steps.
    """
    if times.shape[-1] == 1:
        return start[..., None, :]
    sde = _InStepTime(drift, diffusion, times, _counts(times, max_step))
    steps = torch.tensor(sde.starts, dtype=torch.float64, device=times.device)
    flat = start.reshape(-1, start.shape[-1])
    # from torch's generator: torchsde would ask numpy's global one, which no seed of ours sets
    entropy = int(torch.randint(2**31 - 1, (), generator=generator))
    blocks = opposed or 1
    rows = len(flat) // blocks
    noise: Any = _Silence(flat)
    if bool(diffusion.any()):
        noise = torchsde.BrownianInterval(
            t0=steps[0],
            t1=steps[-1],
            size=((blocks + 1) // 2 * rows, flat.shape[-1]),
            dtype=flat.dtype,
            device=flat.device,
            entropy=entropy,
            dt=1.0 if steps[-1] > _DEEP else None,
        )
        noise = _Opposed(noise, blocks, rows) if opposed else noise
    path: Tensor
    if rule == "midpoint":
        path = torchsde.sdeint(sde, flat, steps, bm=noise, dt=1.0, method="midpoint")
    else:
        path = _runge_kutta(sde, flat, steps, noise)
    return path.movedim(0, -2).reshape(*start.shape[:-1], len(steps), start.shape[-1])


def _runge_kutta(
    sde: _InStepTime, flat: Tensor, ends: Tensor, noise: Callable[..., Tensor]
) -> Tensor:
    """Paths (time, row, latent) at the ends of intervals, in steps of one of the classical rule."""
    found = [flat]
    for i, (first, last) in enumerate(pairwise(ends.long().tolist())):
        for step in range(first, last):
            s = ends.new_tensor(step)
            force = sde.g(s, flat) * noise(s, s + 1)
            rates: list[Tensor] = []
            for part in (0.0, 0.5, 0.5, 1.0):
                at = flat + part * rates[-1] if rates else flat
                rates.append(sde.f(s + part, at, i) + force)
            a, b, c, d = rates
            flat = flat + (a + 2 * (b + c) + d) / 6
        found.append(flat)
    return torch.stack(found)


def _counts(times: Tensor, max_step: float | None) -> list[int]:
    """Steps from each time to the next.

    Raises:
        ValueError: Too many altogether.
    """
    gaps = torch.diff(times, dim=-1).reshape(-1, times.shape[-1] - 1).amax(0)
    if max_step is None:
        return [1] * len(gaps)
    counts = (gaps / max_step * (1 - 1e-9)).ceil().clamp(min=1)
    total = float(counts.sum())
    if not total <= MOST_STEPS:
        raise ValueError(
            f"times: a path over {float(gaps.sum()):.4g} training horizons takes {total:,.0f} "
            f"steps of at most {max_step:.3g} each, and {MOST_STEPS:,} are the most. Ask for "
            "times less far from t0 or for fewer, or for longer steps (max_step); a drift that is "
            "too stiff for these has shorter ones."
        )
    return [int(n) for n in counts.tolist()]
