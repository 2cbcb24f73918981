"""An axis laid on a ring with its ghosts, for convolution by FFT.

The n points are at ring positions 0 … n−1, the ghosts beyond the upper end follow, those before the
lower end close the ring. `Ring.fold` is the transpose of `Ring.extend`, so that each is the other's
derivative: as autograd would take it from slices, flips and sums, it would fill and add full-sized
arrays of zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from scipy.fft import next_fast_len
from torch import Tensor

from pyro_msde.grid.boundaries import Ends, Integers

__all__ = ["Ring", "ring_of"]

_Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Run:
    """Neighbouring ghosts of neighbouring points, or of one: slices do, which no GPU waits for."""

    first: int  # point of the first ghost
    step: int  # from one ghost's point to the next: −1, 0 or 1
    count: int
    weight: float

    @property
    def window(self) -> tuple[int, int]:
        """First and number of the points."""
        last = self.first + self.step * (self.count - 1)
        return min(self.first, last), 1 + abs(last - self.first)

    def write(self, ghosts: Tensor, points: Tensor, dim: int) -> None:
        """Set the ghosts of these points."""
        if not self.weight:
            ghosts.zero_()
            return
        values = points.narrow(dim, *self.window)
        ghosts.copy_(values.flip(dim) if self.step < 0 else values)
        if self.weight != 1:
            ghosts.mul_(self.weight)

    def add(self, points: Tensor, ghosts: Tensor, dim: int) -> None:
        """Add to points what ghosts give them."""
        if not self.weight:
            return
        if self.step < 0:
            ghosts = ghosts.flip(dim)
        elif self.window[1] < self.count:
            ghosts = ghosts.sum(dim, keepdim=True)
        points.narrow(dim, *self.window).add_(ghosts, alpha=self.weight)


class Ring:
    """One axis, for all channels or for each.

    Args:
        channels: Ends of the axis: one entry for all channels, or one each.
        n: Points.
        stride: The length is a multiple of it, so that zero-insertion is a tiling of the coarse
            spectrum.
        padding: How many points the kernel reaches each way.

    Attributes:
        length: Of the ring.
        plain: Nothing but zeros beyond the points, which are left to the FFT.
    """

    def __init__(self, channels: tuple[Ends, ...], n: int, stride: int, padding: int) -> None:
        self.n, self.length = n, _length(channels, n, stride, padding)
        before = min(padding, self.length - n)
        ghosts = np.concatenate([np.arange(n, self.length - before), np.arange(-before, 0)])
        self._runs = [_runs(ends, ghosts, n) for ends in channels]
        self.plain = not any(run.weight for runs in self._runs for run in runs)

    def extend(self, y: Tensor, dim: int, channel: int) -> Tensor:
        """Axis `dim` of y with its ghosts; `channel` is y's axis of channels, both negative."""
        return y if self.plain else _linear(y, *self._maps(dim, channel))

    def fold(self, ring: Tensor, dim: int, channel: int) -> Tensor:
        """Transpose of `extend` (with the FFT's zeros): ring values added up on the n points."""
        if self.plain:
            return ring.narrow(dim, 0, self.n)
        extended, folded = self._maps(dim, channel)
        return _linear(ring, folded, extended)

    def _maps(self, dim: int, channel: int) -> tuple[_Map, _Map]:
        """`extend` and `fold` without derivatives."""
        extended, folded = (
            partial(f, dim=dim, channel=channel) for f in (self._extended, self._folded)
        )
        return extended, folded

    def _extended(self, y: Tensor, dim: int, channel: int) -> Tensor:
        """As `extend`."""
        sizes = list(y.shape)
        sizes[dim] = self.length
        ring = y.new_empty(sizes)
        for points, whole, runs in self._parts(y, ring, channel):
            own, *ghosts = whole.split([self.n, *(run.count for run in runs)], dim)
            own.copy_(points)
            for run, values in zip(runs, ghosts, strict=True):
                run.write(values, points, dim)
        return ring

    def _folded(self, ring: Tensor, dim: int, channel: int) -> Tensor:
        """As `fold`."""
        y = ring.narrow(dim, 0, self.n).clone()
        for points, whole, runs in self._parts(y, ring, channel):
            _, *ghosts = whole.split([self.n, *(run.count for run in runs)], dim)
            for run, values in zip(runs, ghosts, strict=True):
                run.add(points, values, dim)
        return y

    def _parts(
        self, points: Tensor, ring: Tensor, channel: int
    ) -> Iterator[tuple[Tensor, Tensor, list[_Run]]]:
        """Views of both with the runs of their channels."""
        if len(self._runs) == 1:
            yield points, ring, self._runs[0]
            return
        views = (x.split(1, channel) for x in (points, ring))
        yield from zip(*views, self._runs, strict=True)


class _Linear(torch.autograd.Function):
    """A linear map whose derivative is its transpose, given as another map."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, apply: _Map, transpose: _Map) -> Tensor:
        ctx.maps = transpose, apply
        return apply(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _linear(gradient, *ctx.maps), None, None


def _linear(x: Tensor, apply: _Map, transpose: _Map) -> Tensor:
    """`_Linear.apply`, which torch gives no types."""
    function: Any = _Linear
    applied: Tensor = function.apply(x, apply, transpose)
    return applied


ring_of = lru_cache(maxsize=256)(Ring)


def _length(channels: tuple[Ends, ...], n: int, stride: int, padding: int) -> int:
    """Room for the ghosts of both ends, unless these can share it."""
    needed, most = n + 2 * padding, np.inf
    if len(channels) == 1:
        window = np.arange(-2 * n - padding, 3 * n + padding)
        source, weight = channels[0].sources(window, n)
        if not weight[(window < 0) | (window >= n)].any():
            needed = n + padding  # zeros serve both ends at once
        for period in (2 * n, n):  # images may repeat
            same = source[:-period] == source[period:]
            if (same & (weight[:-period] == weight[period:])).all():
                most = period
    return int(min(stride * int(next_fast_len(-(-needed // stride), real=True)), most))


def _runs(ends: Ends, positions: Integers, n: int) -> list[_Run]:
    """Ghosts at positions one after the other, in as few runs as there are."""
    source, weight = ends.sources(positions, n)
    source = np.where(weight == 0, 0, source)
    runs: list[_Run] = []
    i = 0
    while i < len(source):
        left = len(source) - i
        step = int(source[i + 1] - source[i]) if left > 1 else 0
        step = step if abs(step) == 1 else 0
        same = (source[i:] == source[i] + step * np.arange(left)) & (weight[i:] == weight[i])
        count = left if same.all() else int(same.argmin())
        runs.append(_Run(int(source[i]), step if count > 1 else 0, count, float(weight[i])))
        i += count
    return runs
