"""Families of laws that fields may have around their mean, independent at each element.

Each is made from the mean (..., channel, *space) and the variance, which broadcasts against it. The
laws check none of their arguments: a forecast whose paths diverge has means that are not finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from pyro import distributions as dist
from scipy import special
from torch import Tensor
from torch.distributions import Distribution

from pyro_msde.checks import check_number
from pyro_msde.likelihoods.weighted_squares import weighted_squares

__all__ = ["FAMILIES", "FieldNormal", "StudentT", "can_be_moved", "laplace", "moved", "student"]


class FieldNormal(dist.Normal):
    """N(mean, variance) at each element, with one variance for many snapshots.

    Torch's own would take the variance's logarithm again for each snapshot.

    Args:
        mean: (..., channel, *space).
        variance: Broadcasts against the mean.
    """

    def __init__(self, mean: Tensor, variance: Tensor) -> None:
        self.shared_variance = variance
        super().__init__(mean, variance.sqrt(), validate_args=False)

    @property
    def variance(self) -> Tensor:
        """Expanded to the mean's shape."""
        return self.shared_variance.expand(self.loc.shape)

    def expand(self, batch_shape: Any, _instance: Any = None) -> FieldNormal:
        """The same law over a larger batch."""
        return type(self)(self.loc.expand(batch_shape), self.shared_variance)

    def moved(self, shift: Tensor, factor: Tensor) -> FieldNormal:
        """The same law elsewhere, and narrower or wider; see the function `moved`."""
        return FieldNormal(self.loc + shift, self.shared_variance * factor.square())

    def log_prob(self, value: Tensor) -> Tensor:
        """Of each element."""
        constant = self.shared_variance.log() + math.log(2 * math.pi)
        return -0.5 * ((value - self.loc).square() / self.shared_variance + constant)

    def weighted_log_prob(
        self, value: Tensor, field_ndim: int, weight: Tensor | None, observed: Tensor | None
    ) -> Tensor:
        """As `WeightedFields.log_prob`, for a variance (channel, *space) of all snapshots.

        Squares are summed over time before they are divided by the variance, so that few arrays of
        the size of all snapshots are written.
        """
        mean, value = torch.broadcast_tensors(self.loc, value)
        shape = mean.shape[:-field_ndim]
        weight = mean.new_ones(shape) if weight is None else weight.expand(shape)
        squares = weighted_squares(mean, value, weight, observed)
        if observed is None:
            count = weight.sum(-1)[(..., *(None,) * field_ndim)]
        else:
            flat = observed.expand(mean.shape).flatten(-field_ndim).to(weight.dtype)
            count = torch.einsum("...t,...tx->...x", weight, flat).view(squares.shape)
        constant = self.shared_variance.log() + math.log(2 * math.pi)
        each = squares / self.shared_variance + count * constant
        return -0.5 * each.flatten(-field_ndim).sum(-1)


class StudentT(dist.StudentT):  # type: ignore[misc]
    """Torch's Student t, with the distribution function and quantiles that torch lacks.

    These two are scipy's: not differentiable, and computed on the CPU.
    """

    def cdf(self, value: Tensor) -> Tensor:
        """Distribution function at each element."""
        return self._of_scipy(special.stdtr, (value - self.loc) / self.scale)

    def icdf(self, value: Tensor) -> Tensor:
        """Quantile at each element."""
        return self.loc + self.scale * self._of_scipy(special.stdtrit, value)

    def _of_scipy(self, function: Callable[..., Any], value: Tensor) -> Tensor:
        result = function(self.df.detach().cpu().numpy(), value.detach().cpu().numpy())
        return torch.as_tensor(np.asarray(result)).to(self.loc)


def laplace(mean: Tensor, variance: Tensor) -> Distribution:
    """Laplace's law with this mean and variance."""
    return dist.Laplace(mean, (variance / 2).sqrt(), validate_args=False)


def student(mean: Tensor, variance: Tensor, df: float = 4.0) -> Distribution:
    """Student's t with this mean and variance, for observations with outliers.

    Args:
        mean: (..., channel, *space).
        variance: Broadcasts against the mean.
        df: Degrees of freedom, above 2; the fewer, the heavier the tails.

    Raises:
        ValueError: So few that there is no variance.
    """
    if check_number("df", df) <= 2:
        raise ValueError(f"df={df}: the variance is infinite. Give more than 2.")
    scale = (variance * ((df - 2) / df)).sqrt()
    return StudentT(df, mean, scale, validate_args=False)


FAMILIES: dict[str, Callable[[Tensor, Tensor], Distribution]] = {
    "normal": FieldNormal,
    "laplace": laplace,
    "student": student,
}


def can_be_moved(law: Distribution) -> bool:
    """Whether `moved` knows the law: these families are a location and a scale each."""
    return isinstance(law, FieldNormal | StudentT | dist.Laplace)


def moved(law: Distribution, shift: Tensor, factor: Tensor) -> Distribution:
    """The same law elsewhere, and narrower or wider.

    Args:
        law: Of elements (..., channel, *space), one that `can_be_moved`.
        shift: Is added to its mean, against which it broadcasts.
        factor: Multiplies its standard deviation; broadcasts against its variance.
    """
    if isinstance(law, FieldNormal):
        return law.moved(shift, factor)
    if isinstance(law, StudentT):
        return StudentT(law.df, law.loc + shift, law.scale * factor, validate_args=False)
    if isinstance(law, dist.Laplace):
        return dist.Laplace(law.loc + shift, law.scale * factor, validate_args=False)
    raise TypeError(f"law: {type(law).__name__} has no location and scale.")
