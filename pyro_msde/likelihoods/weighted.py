"""What the training program observes: snapshots under a model's own law, each with a weight."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import Distribution, constraints

from pyro_msde.likelihoods.correlated import CorrelatedNormal
from pyro_msde.likelihoods.families import FieldNormal

__all__ = ["WeightedFields"]


class WeightedFields(TorchDistribution):
    """Fields of a segment given its latent states, Σ_i w_i Σ_x log p(y_i(x) | z_i).

    The inner sum is over what was observed.

    batch_shape (...,), event_shape (time, channel, *space).

    Args:
        law: Of elements (..., time, channel, *space), independent of each other unless it is a
            `CorrelatedNormal`, such as `observe` of a bound model returns.
        field_ndim: Number of axes of a field, the channel's and those of space.
        weight: (..., time) weight of each snapshot's log density: the inverse of how often
            segments include it, so that minibatches estimate (27) without bias. None: ones.
        observed: (..., time, channel, *space) bool, which elements were. None: all.

    Raises:
        ValueError: The law has events, which forecasts could not mix at single points.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012
    support = constraints.real

    def __init__(
        self,
        law: Distribution,
        field_ndim: int,
        *,
        weight: Tensor | None = None,
        observed: Tensor | None = None,
    ) -> None:
        if law.event_shape:
            raise ValueError(
                f"observe: a {type(law).__name__} of events {tuple(law.event_shape)}. Return a law "
                "of single elements, (..., channel, *space), without to_event."
            )
        self.law, self.weight, self.observed = law, weight, observed
        split = len(law.batch_shape) - field_ndim - 1
        super().__init__(law.batch_shape[:split], law.batch_shape[split:], validate_args=False)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Whether draws are differentiable."""
        return bool(self.law.has_rsample)

    @property
    def mean(self) -> Tensor:
        """(..., time, channel, *space)."""
        return self.law.mean

    @property
    def variance(self) -> Tensor:
        """(..., time, channel, *space)."""
        return self.law.variance

    def expand(self, batch_shape: Any, _instance: Any = None) -> WeightedFields:
        """The same law over a larger batch."""
        batch_shape = torch.Size(batch_shape)
        if batch_shape == self.batch_shape:
            return self
        law = self.law.expand(batch_shape + self.event_shape)
        ndim = len(self.event_shape) - 1
        return WeightedFields(law, ndim, weight=self.weight, observed=self.observed)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        """Draws (sample, ..., time, channel, *space)."""
        return self.law.sample(torch.Size(sample_shape))

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        """Reparametrised draws, shaped alike."""
        return self.law.rsample(torch.Size(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Weighted sum over the segment's snapshots of log p(y_i | z_i), (...,)."""
        field = len(self.event_shape) - 1
        if isinstance(self.law, CorrelatedNormal):
            return self.law.weighted_log_prob(value, field, self.weight, self.observed)
        # a subclass may have another density
        if type(self.law) is FieldNormal and self.law.shared_variance.ndim <= field:
            return self.law.weighted_log_prob(value, field, self.weight, self.observed)
        each = self.law.log_prob(value)
        if self.observed is not None:
            each = each.where(self.observed, 0)
        each = each.flatten(1 - len(self.event_shape)).sum(-1)
        return (each if self.weight is None else each * self.weight).sum(-1)
