"""Segments of trajectories, their minibatches, and weights that keep the ELBO unbiased (26, 27).

A segment is `length` observations, every `stride`-th one from a start. Starts are drawn with known
probabilities, so the probability that a draw includes an observation, or an instant of time, is
known too; weighting each by the inverse of it (Horvitz–Thompson) makes the minibatch's estimate of
both sums in (27) exactly unbiased. A shared end point thereby counts once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_msde.data.inputs import Inputs
from pyro_msde.data.instants import same_times
from pyro_msde.data.quadrature import StratifiedQuadrature
from pyro_msde.data.scaled_fields import ScaledFields
from pyro_msde.renaming import renamed_arguments, renamed_attribute

__all__ = ["LENGTH", "STRIDE", "SegmentBatch", "Segments"]

LENGTH, STRIDE = 64, 4  # of segments, unless a recipe says otherwise


@dataclass(frozen=True)
class SegmentBatch:
    """Minibatch of segments, the argument of models and guides.

    Attributes:
        times: (segment, time) float64.
        values: (segment, time, channel, *space).
        observation_weight: (segment, time) weight of each snapshot's log likelihood.
        initial_weight: (segment,) weight of KL(q(z₀) ‖ p(z₀)); 0 where a segment does not start
            its trajectory.
        quadrature: Time integrals over the segments, weighted likewise.
        num_segments: Size of the plate that this batch subsamples.
        shared_offsets: All segments have the same times but for their start.
        observations: (segment, time) place of each snapshot among those of all trajectories, one
            trajectory after the other.
        inputs: The trajectories' covariates, and controls at all times of a segment.
        observed: (segment, time, channel, *space) bool, where `values` are observations; elsewhere
            they are filled in, and the likelihood leaves them out. None: everywhere.
        unseen: (segment, time, num_zeta + 1) share of the variance that is left of each macroscale
            state and, last, of microscale states, 0 where all was observed. None likewise.
    """

    times: Tensor
    values: Tensor
    observation_weight: Tensor
    initial_weight: Tensor
    quadrature: StratifiedQuadrature
    num_segments: int
    shared_offsets: bool
    observations: Tensor
    inputs: Inputs = field(default_factory=Inputs)
    observed: Tensor | None = None
    unseen: Tensor | None = None
    parameters = renamed_attribute("parameters", "covariates")

    @property
    def covariates(self) -> Tensor | None:
        """(segment, p) the trajectories' covariates, or None."""
        return self.inputs.covariates

    def to(self, device: Any) -> SegmentBatch:
        """The batch on another device."""
        tensors: dict[str, Any] = {
            name: value.to(device, non_blocking=True)
            for name, value in vars(self).items()
            if isinstance(value, Tensor)
        }
        inputs = self.inputs.to(self.values.new_empty(0, device=device))
        return replace(self, quadrature=self.quadrature.to(device), inputs=inputs, **tensors)


class Segments:
    """All segments of some trajectories, to be drawn in minibatches.

    Args:
        times: Per trajectory (time,) float64.
        values: Per trajectory (time, channel, *space) in scaled units, a tensor or what is indexed
            as one, such as `ScaledFields`; never copied whole.
        covariates: (trajectory, p) in scaled units, or None.
        controls: Per trajectory (time, c) in scaled units, or None.
        length: Observations a segment.
        stride: Every how many snapshots a segment takes one.
        starts: "random": any start, those at both ends of a trajectory as often as its middle is
            covered (in between up to twice as often, which the weights undo); "fixed": consecutive
            segments that share their end points, the last one shifted back to fit.
        first: Number of the first observation, where these trajectories come after others.

    At a stride, fixed starts, and random ones in trajectories of fewer than span + stride
    observations, never take some observations; the likelihood is then that of the others, each
    counted once.

    Raises:
        ValueError: A trajectory has fewer observations than one segment needs.
    """

    @renamed_arguments(windows="starts")
    def __init__(
        self,
        times: Sequence[Tensor],
        values: Sequence[Tensor | ScaledFields],
        *,
        covariates: Tensor | None = None,
        controls: Sequence[Tensor] | None = None,
        length: int,
        stride: int = 1,
        starts: str = "random",
        first: int = 0,
    ) -> None:
        if length < 2 or stride < 1:
            raise ValueError(f"length={length}, stride={stride}: need at least 2 and 1.")
        if starts not in ("random", "fixed"):
            raise ValueError(f"starts={starts!r}: choose 'random' or 'fixed'.")
        self.span = (length - 1) * stride
        for k, t in enumerate(times):
            if len(t) <= self.span:
                raise ValueError(
                    f"data: trajectory {k} has {len(t)} observations; a segment of {length} at "
                    f"stride {stride} needs {self.span + 1}. Choose shorter ones, as in "
                    f"fit(…, length={max(2, min(length, len(t) // 2))}, stride=1)."
                )
        self.times, self.values, self.covariates = list(times), list(values), covariates
        self.controls = controls
        self.dtype = values[0].dtype
        self.stride = stride
        sizes = np.array([len(t) - 1 for t in times])
        self._first = np.cumsum([first, *(len(t) for t in times)])
        self.num_segments = int(np.ceil(sizes / self.span).sum())
        self._trajectory = sizes / sizes.sum()
        law = _random_starts if starts == "random" else _fixed_starts
        self._starts = [law(n, self.span, stride) for n in sizes]
        self._weights = [
            _inclusion_weights(s, p * share, self.span, stride, n, self.num_segments)
            for (s, p), share, n in zip(self._starts, self._trajectory, sizes, strict=True)
        ]

    @property
    def duration(self) -> float:
        """Mean time from a segment's start to its end, over all stretches of its many intervals."""
        intervals = sum(len(t) - 1 for t in self.times)
        return self.span * float(sum(t[-1] - t[0] for t in self.times)) / intervals

    def draw(self, num_segments: int, rng: np.random.Generator) -> SegmentBatch:
        """Independent draws of `num_segments` segments."""
        rows = rng.choice(len(self.times), size=num_segments, p=self._trajectory)
        starts = [int(rng.choice(self._starts[k][0], p=self._starts[k][1])) for k in rows]
        return self.gather(list(zip(rows.tolist(), starts, strict=True)))

    def inputs(self, k: int) -> Inputs:
        """Covariates and controls of the k-th trajectory, a single row."""
        return self._inputs([k], self.times[k][None], [slice(None)])

    def _inputs(self, index: list[int], times: Tensor, parts: Sequence[slice]) -> Inputs:
        """Of parts of some trajectories, at times (row, time)."""
        covariates = None if self.covariates is None else self.covariates[index]
        if self.controls is None:
            return Inputs(covariates)
        controls = [self.controls[k][part] for k, part in zip(index, parts, strict=True)]
        return Inputs(covariates, times, torch.stack(controls))

    def in_order(self) -> Iterator[tuple[float, SegmentBatch]]:
        """Each possible segment, one after the other, with the probability of drawing it."""
        for k, share in enumerate(self._trajectory):
            for start, probability in zip(*self._starts[k], strict=True):
                yield float(share * probability), self.gather([(k, int(start))])

    def gather(self, places: Sequence[tuple[int, int]]) -> SegmentBatch:
        """The segments that begin at the given (trajectory, start) places."""
        times, values, edges, numbers = [], [], [], []
        observation, density, initial, seen, left = [], [], [], [], []
        for k, s in places:
            window = slice(s, s + self.span + 1, self.stride)
            per_observation, per_interval = self._weights[k]
            times.append(self.times[k][window])
            values.append(self.values[k][window])
            mask = getattr(self.values[k], "observed", None)
            seen.append(None if mask is None else mask[window])
            share = getattr(self.values[k], "unseen", None)
            left.append(None if share is None else share[window])
            numbers.append(int(self._first[k]) + torch.arange(s, s + self.span + 1, self.stride))
            edges.append(self.times[k][s : s + self.span + 1])
            observation.append(per_observation[window])
            density.append(per_interval[s : s + self.span])
            initial.append(per_observation[0] if s == 0 else torch.zeros(()))
        stacked, edge = torch.stack(times), torch.stack(edges)
        offsets = (edge - edge[:, :1]).numpy(force=True)
        shared = all(same_times(offsets[0], row) for row in offsets)
        index = [k for k, _ in places]
        batch = SegmentBatch(
            times=stacked,
            values=torch.stack(values),
            observation_weight=torch.stack(observation).to(self.dtype),
            initial_weight=torch.stack(initial).to(self.dtype),
            quadrature=StratifiedQuadrature(
                edge, torch.stack(density), pinned=stacked, shared_offsets=shared
            ),
            num_segments=self.num_segments,
            shared_offsets=shared,
            observations=torch.stack(numbers),
            inputs=self._inputs(index, edge, [slice(s, s + self.span + 1) for _, s in places]),
            **_stacked_gaps(seen, left, values),
        )
        device = values[0].device
        return batch if device.type == "cpu" else batch.to(device)  # the weights as well


def _stacked_gaps(
    masks: Sequence[Tensor | None], shares: Sequence[Tensor | None], values: Sequence[Tensor]
) -> dict[str, Tensor]:
    """`observed` and `unseen` of several segments; neither where all of it was observed."""
    if all(mask is None or bool(mask.all()) for mask in masks):
        return {}
    seen = [
        torch.ones_like(v, dtype=torch.bool) if m is None else m
        for m, v in zip(masks, values, strict=True)
    ]
    size = max(share.shape[-1] for share in shares if share is not None)
    left = [
        v.new_zeros(len(v), size) if s is None else s for s, v in zip(shares, values, strict=True)
    ]
    return {"observed": torch.stack(seen), "unseen": torch.stack(left)}


def _fixed_starts(intervals: int, span: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts of consecutive segments of `span` intervals, and their equal probabilities."""
    starts = np.unique(np.append(np.arange(0, intervals - span + 1, span), intervals - span))
    return starts, np.full(len(starts), 1 / len(starts))


def _random_starts(intervals: int, span: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
    """All starts; the outermost ones more likely, so that the ends are seen as often as the middle.

    A start drawn uniformly over [−span, intervals] is moved inside by whole strides, hence every
    phase of the stride is equally likely at the ends.
    """
    last = intervals - span
    drawn = np.arange(-span, intervals + 1)
    inside = np.where(drawn < 0, drawn % stride, drawn)
    inside = np.where(inside > last, last - (last - inside) % stride, inside).clip(0, last)
    count = np.bincount(inside, minlength=last + 1)
    starts = np.flatnonzero(count)
    return starts, count[starts] / count.sum()


def _inclusion_weights(
    starts: np.ndarray, probability: np.ndarray, span: int, stride: int, intervals: int, size: int
) -> tuple[Tensor, Tensor]:
    """1 / (size × probability of inclusion) of each observation and of each interval."""
    observed, covered = np.zeros(intervals + 1), np.zeros(intervals + 1)
    for s, p in zip(starts, probability, strict=True):
        observed[s : s + span + 1 : stride] += p
        covered[s : s + span] += p
    with np.errstate(divide="ignore"):
        # Observations that no segment takes (fixed starts at a stride) have no weight to give.
        observation = np.where(observed > 0, 1 / (size * observed), 0.0)
    return torch.as_tensor(observation), torch.as_tensor(1 / (size * covered[:-1]))
