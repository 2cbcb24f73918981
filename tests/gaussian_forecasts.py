"""Forecasts of independent normals, all of whose scores have closed forms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Gaussian", "NormalWindow"]


def _normal(law: Any) -> torch.distributions.Normal:
    """Its law; parameters are NaN where the grid has no field."""
    return torch.distributions.Normal(law.mean, law.sd, validate_args=False)


@dataclass(frozen=True)
class NormalWindow:
    """Some times of it, (batch, chunk, *field)."""

    where: slice
    mean: Tensor
    sd: Tensor
    samples: int

    def cdf(self, values: Tensor) -> Tensor:
        return _normal(self).cdf(values)

    def atoms(self, values: Tensor) -> None:
        """No value has a probability of its own."""

    def quantile(self, level: float) -> Tensor:
        return _normal(self).icdf(self.mean.new_tensor(level))

    def sample(self, generator: torch.Generator) -> Tensor:
        shape = (self.samples, *self.mean.shape)
        unit = torch.randn(shape, generator=generator, dtype=self.mean.dtype)
        return self.mean + self.sd * unit


@dataclass(frozen=True)
class Gaussian:
    """A forecast, in chunks of two times. mean, sd: ([batch,] time, *field)."""

    times: np.ndarray
    mean: Tensor
    sd: Tensor
    batched: bool = True
    samples: int = 3
    grid: Any = None
    size: int = 2
    metadata: Any = None
    mask: Any = None
    reference_field: Any = None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.mean.shape)

    def cdf(self, values: Tensor) -> Tensor:
        return _normal(self).cdf(values)

    def mixtures(self) -> Iterator[NormalWindow]:
        mean, sd = (x if self.batched else x[None] for x in (self.mean, self.sd))
        for start in range(0, len(self.times), self.size):
            where = slice(start, min(start + self.size, len(self.times)))
            yield NormalWindow(where, mean[:, where], sd[:, where], self.samples)

    def chunks(self, seed: int = 11) -> Iterator[tuple[slice, Tensor]]:
        generator = torch.Generator().manual_seed(seed)
        for window in self.mixtures():
            draws = window.sample(generator)
            yield window.where, draws if self.batched else draws[:, 0]
