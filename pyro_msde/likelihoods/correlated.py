"""Normal fields whose elements err together, with the precision of a product of experts.

    y ~ N(μ, F S⁻¹ F),      F = diag(f) a spread, which is 1 but where forecasts narrow it

Taken element by element it is the law of each by itself, which forecasts mix; draws and the density
of a whole snapshot are of all of them (`pyro_msde/likelihoods/precisions.py`).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pyro_msde.likelihoods.families import FieldNormal
from pyro_msde.likelihoods.precisions import Precision

__all__ = ["CorrelatedNormal"]


class CorrelatedNormal(FieldNormal):
    """N(mean, F S⁻¹ F) of fields.

    Args:
        mean: (..., channel, *space).
        precision: S of fields flattened to (n,).
        field_ndim: Number of axes of a field, the channel's and those of space.
        spread: f, broadcast against the mean; None: 1.
    """

    def __init__(
        self, mean: Tensor, precision: Precision, field_ndim: int, spread: Tensor | None = None
    ) -> None:
        self.precision, self.field_ndim, self.spread = precision, field_ndim, spread
        variance = precision.variance.to(mean).reshape(mean.shape[mean.ndim - field_ndim :])
        super().__init__(mean, variance if spread is None else variance * spread.square())

    def expand(self, batch_shape: Any, _instance: Any = None) -> CorrelatedNormal:
        """The same law over a larger batch."""
        return CorrelatedNormal(
            self.loc.expand(batch_shape), self.precision, self.field_ndim, self.spread
        )

    def moved(self, shift: Tensor, factor: Tensor) -> CorrelatedNormal:
        """The same law elsewhere, and narrower or wider."""
        spread = factor if self.spread is None else self.spread * factor
        return CorrelatedNormal(self.loc + shift, self.precision, self.field_ndim, spread)

    def coloured(self, noise: Tensor) -> Tensor:
        """Errors y − μ of a draw from independent standard ones, shaped as the mean."""
        field = noise.shape[noise.ndim - self.field_ndim :]
        drawn = self.precision.coloured(noise.flatten(-self.field_ndim).double())
        errors = drawn.to(noise).unflatten(-1, field)
        return errors if self.spread is None else errors * self.spread

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        """Reparametrised draws of whole fields."""
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + self.coloured(noise)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        """Draws of whole fields."""
        with torch.no_grad():
            return self.rsample(sample_shape)

    def squares(self, value: Tensor, observed: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Squared distance of what was observed from its mean, and log |S_o|, (...) each.

        The distance is in units of the law's width: (y − μ)ᵀ S_o (y − μ).
        """
        error, seen = (value - self.loc).double(), None
        if observed is not None:
            seen = observed.expand(error.shape).flatten(-self.field_ndim)
        if self.spread is not None:
            error = error / self.spread
        squares, log_det = self.precision.squares(error.flatten(-self.field_ndim), seen)
        if self.spread is not None:
            logs = self.spread.log().expand(error.shape).flatten(-self.field_ndim)
            log_det = log_det - 2 * (logs if seen is None else logs.where(seen, 0)).sum(-1)
        return squares.to(self.loc), log_det.to(self.loc)

    def snapshot_log_prob(self, value: Tensor, observed: Tensor | None = None) -> Tensor:
        """Log density of what was observed of whole fields, (...)."""
        squares, log_det = self.squares(value, observed)
        count: Any = self.loc.shape[self.loc.ndim - self.field_ndim :].numel()
        if observed is not None:
            seen = observed.expand((value - self.loc).shape).flatten(-self.field_ndim)
            count = seen.sum(-1, dtype=squares.dtype)
        return 0.5 * (log_det - squares - count * math.log(2 * math.pi))

    def weighted_log_prob(
        self, value: Tensor, field_ndim: int, weight: Tensor | None, observed: Tensor | None
    ) -> Tensor:
        """As `WeightedFields.log_prob`."""
        each = self.snapshot_log_prob(value, observed)
        return (each if weight is None else each * weight).sum(-1)
