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

__all__ = ["FAMILIES", "FieldNormal", "StudentT", "laplace", "student"]


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

    def log_prob(self, value: Tensor) -> Tensor:
        """Of each element."""
        constant = self.shared_variance.log() + math.log(2 * math.pi)
        return -0.5 * ((value - self.loc).square() / self.shared_variance + constant)


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
    """
    scale = (variance * ((df - 2) / df)).sqrt()
    return StudentT(df, mean, scale, validate_args=False)


FAMILIES: dict[str, Callable[[Tensor, Tensor], Distribution]] = {
    "normal": FieldNormal,
    "laplace": laplace,
    "student": student,
}
