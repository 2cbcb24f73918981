"""What follows the loop of training: steps that share one pass over the encoded training data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar, NamedTuple, Protocol

import torch

from pyro_msde.data import SegmentBatch, Segments
from pyro_msde.protocols import Adjustment, BoundModel, Guide, Model
from pyro_msde.sde import GaussianMarginals

__all__ = ["EncodedSegments", "FinishingStep", "encoded_segments"]


class EncodedSegments(NamedTuple):
    """Segments of one trajectory, and what the guide says of them at a draw of θ.

    Attributes:
        trajectory: Number of their trajectory.
        share: Factor by which their sum counts, where it estimates the sum over all segments.
        batch: The segments.
        bound: The model at the draw of θ.
        marginals: q(z|t) on the segments.
    """

    trajectory: int
    share: float
    batch: SegmentBatch
    bound: BoundModel
    marginals: GaussianMarginals


class FinishingStep(Protocol):
    """One of the steps that end `fit`: it is given all segments, then makes something of them.

    Attributes:
        changes_weights: Whether it ends the estimate itself; the others are left out where the user
            stops training.
    """

    changes_weights: ClassVar[bool]

    def add(self, part: EncodedSegments) -> None:
        """Take in some segments. The noise is torch's own."""

    def end(self) -> Adjustment | None:
        """Change the weights in place, or give what changes forecasts."""


@torch.no_grad()
def encoded_segments(
    model: Model, guide: Guide, trajectories: Iterable[Segments]
) -> Iterator[EncodedSegments]:
    """Encode the segments of one trajectory after the other, at a draw of θ each time.

    Args:
        model: The generative model.
        guide: Its guide.
        trajectories: Segments of one training trajectory each, in scaled units.
    """
    for k, segments in enumerate(trajectories):
        for probability, batch in segments.in_order():
            bound = model.bind(guide.read_theta())
            marginals = guide.path_marginals(batch, bound)
            yield EncodedSegments(k, probability * batch.num_segments, batch, bound, marginals)
