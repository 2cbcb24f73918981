"""Training data as baselines read them: rows of numbers with gaps, and which follow which in time.

Arrays are (snapshot, point) float64, NaN where nothing was observed; fields are flattened, and
divided by a power of two near the largest value, so that their squares are numbers. Of large data a
random share of the snapshots is read, the same one every time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.checks import check_kind
from pyro_msde.data import (
    Metadata,
    Trajectories,
    evenly_spaced,
    in_order,
    rounding,
    to_numpy,
)

__all__ = ["Records", "Window"]

Array = NDArray[Any]
Indices = NDArray[np.int64]

_MOST_NUMBERS = 2**24  # that a pass over the data reads
_BLOCK = 2**22  # numbers held at once
_NEAR = 0.25  # of a step, by which the next snapshot may be early or late
_STARTS = 64  # of forecasts that measure errors


@dataclass(frozen=True)
class Window:
    """A snapshot to forecast from, and those to compare with.

    Attributes:
        start: (point,).
        t0: Its time.
        steps: (target,) about how many steps later each target is, from 0.
        leads: (target,) how much later it is.
        targets: (target, point).
    """

    start: Array
    t0: float
    steps: Indices
    leads: Array
    targets: Array


@dataclass(frozen=True, eq=False)
class Records:
    """Fields at the times of several records, windows or trajectories.

    Attributes:
        times: (n_k,) of each.
        values: (n_k, *field) of each.
        weights: (point,) of each point's square in means.
        unit: By which rows are divided.
    """

    times: Sequence[Array]
    values: Sequence[Array]
    weights: Array
    unit: float = 1.0

    @classmethod
    def of(
        cls, data: Any, weights: Any = None, *, argument: str = "train", unit: float | None = None
    ) -> Records:
        """The records of `Trajectories`, or of what has their `times` and `values`.

        Args:
            data: Them.
            weights: Areas or the like, broadcast to fields; None: all equal.
            argument: What errors call the data.
            unit: By which rows are divided; None: what suits these data.

        Raises:
            ValueError: Weights of another shape, negative, or zero throughout.
        """
        check_kind(argument, data, ("times", "values"), "pyro_msde.Trajectories")
        field_shape = data.values[0].shape[1:]
        if isinstance(data, Trajectories):
            weights = in_order("weights", weights, Metadata.of(data), field_shape, same_units=False)
        checked = checked_weights(weights, field_shape)
        return cls(data.times, data.values, checked, unit or _unit(data.values))

    @property
    def field_shape(self) -> tuple[int, ...]:
        """Of one snapshot."""
        return tuple(self.values[0].shape[1:])

    @property
    def step(self) -> float:
        """The median time between snapshots.

        Raises:
            ValueError: No record has two.
        """
        steps = [np.diff(t) for t in self.times if len(t) > 1]
        if not steps:
            raise ValueError("train: no trajectory has a second snapshot. Pass longer ones.")
        return float(np.median(np.concatenate(steps)))

    def rows(self, k: int, chosen: Any) -> Array:
        """Some snapshots of record k."""
        values = self.values[k][chosen].astype(np.float64)
        return values.reshape(len(values), -1) / self.unit

    def blocks(self, most: int = _MOST_NUMBERS) -> Iterator[tuple[Array, Array]]:
        """Times and rows of all snapshots, some at a time; a share of them where they are many."""
        for k, chosen in self._chosen([np.arange(len(t)) for t in self.times], most):
            yield self.times[k][chosen], self.rows(k, chosen)

    def pairs(self) -> Iterator[tuple[Array, Array, Array, Array]]:
        """Times and rows of snapshots, and those of snapshots about one step later."""
        step = self.step
        next_ones = [following(t, step, _NEAR * step) for t in self.times]
        rows = [np.flatnonzero(j >= 0) for j in next_ones]
        for k, i in self._chosen(rows, _MOST_NUMBERS // 2):
            j = next_ones[k][i]
            yield self.times[k][i], self.rows(k, i), self.times[k][j], self.rows(k, j)

    def windows(self) -> Iterator[Window]:
        """Forecasts to try: from snapshots all over the records, the first ones among them.

        Targets are 0, 1, 2, 3, 4, 6, 8, 12, 16, … steps later, to the record's end.
        """
        long = [k for k, t in enumerate(self.times) if len(t) > 1]
        if not long:
            return
        step = self.step
        long = [long[i] for i in evenly_spaced(len(long), _STARTS)]
        for k in long:
            clock = self.times[k]
            for i in evenly_spaced(len(clock) - 1, max(1, _STARTS // len(long))):
                leads = clock[i:] - clock[i]
                steps = _ladder(leads[-1] / step)
                near = np.abs(leads[:, None] - step * steps).argmin(0)
                kept = np.abs(leads[near] - step * steps) <= 0.5 * step
                near, steps = near[kept], steps[kept]
                rows = self.rows(k, i + near)
                yield Window(rows[0], float(clock[i]), steps, leads[near], rows)

    def held_out(self) -> tuple[Records, Records]:
        """All but the last quarter, and that: of the records, or of each one's snapshots."""
        count = len(self.times)
        if count >= 4:
            cut = count - count // 4
            parts = [(self.times[s], self.values[s]) for s in (slice(cut), slice(cut, None))]
        else:
            cuts = [len(t) - len(t) // 4 for t in self.times]
            halves = [[slice(c) for c in cuts], [slice(c, None) for c in cuts]]
            parts = [
                (
                    [t[s] for t, s in zip(self.times, half, strict=True)],
                    [v[s] for v, s in zip(self.values, half, strict=True)],
                )
                for half in halves
            ]
        first, last = (Records(times, values, self.weights, self.unit) for times, values in parts)
        return first, last

    def _chosen(self, rows: Sequence[Indices], most: int) -> Iterator[tuple[int, Indices]]:
        """Record and rows of it, as many as a block holds, of `most` numbers altogether."""
        points = len(self.weights)
        share = most / max(1, points * sum(map(len, rows)))
        rng = np.random.default_rng(0)  # even strides would see one phase of a cycle only
        size = max(1, _BLOCK // points)
        for k, all_rows in enumerate(rows):
            some = all_rows if share >= 1 else all_rows[rng.random(len(all_rows)) < share]
            for start in range(0, len(some), size):
                yield k, some[start : start + size]


def _unit(values: Sequence[Array]) -> float:
    """A power of two near the largest value."""
    ends = [np.fmax.reduce(v, axis=None) for v in values]
    ends += [-np.fmin.reduce(v, axis=None) for v in values]
    size = float(np.nan_to_num(np.fmax.reduce(ends), nan=0.0))
    return 2.0 ** int(np.log2(size)) if size > 0 else 1.0


def checked_weights(weights: Any, field_shape: tuple[int, ...]) -> Array:
    """(point,) weights with mean 1.

    Raises:
        ValueError: They do not broadcast to fields, are negative, NaN, or zero throughout.
    """
    if weights is None:
        return np.ones(int(np.prod(field_shape)))
    given = to_numpy(weights, "weights").astype(np.float64)
    try:
        full = np.broadcast_to(given, field_shape).ravel()
    except ValueError as error:
        raise ValueError(
            f"weights: shape {given.shape} does not broadcast to fields {field_shape}. Pass one "
            "for each point."
        ) from error
    if not (np.isfinite(full).all() and (full >= 0).all() and full.any()):
        raise ValueError("weights: negative, not finite, or all zero. Pass areas.")
    return full / full.max() / (full / full.max()).mean()


def following(times: Array, lag: float, within: float) -> Indices:
    """(n,) which snapshot is nearest to `lag` later than each; -1: none is so near."""
    wanted = times + lag
    after = np.searchsorted(times, wanted).clip(1, max(1, len(times) - 1))
    if len(times) < 2:
        return np.full(len(times), -1)
    nearer = after - (wanted - times[after - 1] < times[after] - wanted)
    off = np.abs(times[nearer] - wanted)
    late = nearer > np.arange(len(times))
    return np.where(late & (off <= within + rounding(times)), nearer, -1)


def _ladder(most: float) -> Indices:
    """0, 1, 2, 3, 4, 6, 8, 12, 16, … up to `most`."""
    doubled = 2 ** np.arange(1, 2 + int(np.log2(max(1.0, most))))
    steps = np.unique(np.concatenate([[0, 1], doubled, doubled * 3 // 2]))
    return steps[steps <= most + 0.5].astype(np.int64)
