"""Fields that are never negative, which models see through a logarithm.

    g = log(1 + y/c),    y = max(0, c (e^g − 1)),      g = log y,  y = e^g  where the offset c is 0

A model knows nothing of it: g is less a reference and scaled as other fields are, and normal given
the state, so that y is lognormal but for the offset. What g has below zero is the probability of
y = 0, such as that of a dry day: with a = μ/s of N(μ, s²), Φ(x) the normal distribution function
and A = e^(μ + s²/2),

    E y/c = A Φ(a + s) − Φ(a),    E (y/c)² = A² e^(s²) Φ(a + 2s) − 2 A Φ(a + s) + Φ(a),

which are those of a lognormal law, A and A² e^(s²), without the offset. In training a zero is an
observation of g = 0 like any other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_msde.checks import check_number
from pyro_msde.data.reference import Reference

__all__ = ["Link", "Log"]


@dataclass(frozen=True)
class Log:
    """The logarithm, as `fit(link=…)` takes it, with an offset of one's own.

    Attributes:
        offset: c in log(1 + y/c), in the user's units, such as the least that an instrument tells
            from nothing. 0: log y, for fields that are never zero. None: 0 where the training data
            hold no zero, else the value that a twentieth of their positive values lies below.
    """

    offset: float | None = None

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            ValueError: An offset that is negative or not finite.
        """
        if self.offset is not None:
            check_number("offset", self.offset, zero=True)


@dataclass(frozen=True)
class Link:
    """Between fields y and what models see of them, g, channel by channel.

    Attributes:
        ndim: Number of axes of space.
        offsets: c of each channel, in the user's units; None: g is y.
        channels: Root mean square of each channel of g over the training data, less its reference.
        reference: What is subtracted from g.
    """

    ndim: int
    offsets: tuple[float | None, ...]
    channels: tuple[float, ...] = ()
    reference: Reference = field(default_factory=Reference)

    def forward(self, values: Tensor) -> Tensor:
        """Return g of fields (..., channel, *space); −∞ below zero, where no y is."""
        return self._by_channel(values, self._log, values)

    def inverse(self, values: Tensor) -> Tensor:
        """y, shaped as g; never negative."""

        def back(g: Tensor, c: float) -> Tensor:
            return g.exp() if c == 0 else (c * g.expm1()).clamp(min=0)

        return self._by_channel(values, back, values)

    def log_slope(self, values: Tensor) -> Tensor:
        """Log of dg/dy at y, shaped as it."""
        return self._by_channel(values, lambda y, c: -(y + c).log(), torch.zeros_like(values))

    def has_mass(self, values: Tensor) -> Tensor:
        """Whether y is a value with a probability of its own, as zero is with an offset."""
        nowhere = torch.zeros_like(values, dtype=torch.bool)
        return self._by_channel(values, lambda y, c: (y == 0) & (c > 0), nowhere)

    def moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of y where g is normal with these, shaped alike."""
        variance = variance.to(mean).expand(mean.shape)
        sd = variance.sqrt()

        def first(mu: Tensor, c: float, s: Tensor) -> Tensor:
            A, _, once, p = _parts(mu, c, s)
            return (c or 1.0) * (A * once - p).clamp(min=0)

        def second(mu: Tensor, c: float, s: Tensor) -> Tensor:
            A, twice, once, p = _parts(mu, c, s)
            # far above zero both are 1, and what is small is not added to what cancels
            square = A.square() * (s.square().expm1() * twice + (twice - once.square()))
            if c:
                square = square - 2 * A * once * (1 - p) + p * (1 - p)
            square = square.where(A.isfinite() & ~square.isnan(), torch.inf)  # ∞ − ∞ and ∞ · 0
            return (c or 1.0) ** 2 * square.clamp(min=0)

        return (
            self._by_channel(mean, first, mean, sd),
            self._by_channel(mean, second, variance, sd),
        )

    def log_volume(self, fields: Sequence[NDArray[Any]]) -> float:
        """Σ log dy/dg over what was observed of fields (time, channel, *space)."""
        slopes = (self.log_slope(torch.as_tensor(f).double()).nan_to_num(0.0) for f in fields)
        return -sum(float(s.sum()) for s in slopes)

    def check(self, name: str, values: Any, *, trajectory: int | None = None) -> None:
        """Refuse fields that have no logarithm.

        Args:
            name: What errors call them.
            values: (row, channel, *space), NaN where nothing was observed.
            trajectory: Whose snapshots the rows are; None: they are single fields.

        Raises:
            ValueError: A negative value, or a zero where there is no offset.
        """
        held = np.asarray(values.cpu() if isinstance(values, Tensor) else values)
        for k, c in enumerate(self.offsets):
            if c is None:
                continue
            one = held[:, k]
            bad = np.argwhere(one < 0 if c else one <= 0)
            if not len(bad):
                continue
            row, *point = (int(i) for i in bad[0])
            place = [] if trajectory is None else [f"trajectory {trajectory}"]
            place += [f"index {row}", f"point {tuple(point)}"]
            place += [f"channel {k}"] if len(self.offsets) > 1 else []
            value = one[(row, *point)]
            if value < 0:
                why = (
                    "takes no negative values. Set what is noise about zero to zero, or fit "
                    "without a link"
                )
            else:
                had = "" if trajectory is not None else ", and the training data had none"
                why = (
                    f"without an offset takes no zeros{had}. Fit with "
                    "link=pyro_msde.Log(offset=…), the least value that counts"
                )
            raise ValueError(
                f"{name}: {value:.3g} at {', '.join(place)}, and {len(bad) - 1} more; link='log' "
                f"{why}."
            )

    def _log(self, y: Tensor, c: float) -> Tensor:
        g = y.log() if c == 0 else (y / c).log1p()
        return g.where(~(y < 0), -math.inf)

    def _by_channel(self, values: Tensor, function: Any, others: Tensor, *more: Tensor) -> Tensor:
        """Function of values, offset and `more` where there is an offset, `others` elsewhere."""
        axis = -1 - self.ndim
        columns = (x.unbind(axis) for x in (values, others, *more))
        parts = [
            other if c is None else function(one, c, *rest)
            for c, one, other, *rest in zip(self.offsets, *columns, strict=True)
        ]
        return torch.stack(parts, axis)


def _parts(mu: Tensor, c: float, s: Tensor) -> tuple[Tensor, Any, Any, Any]:
    """A, Φ(a + 2s), Φ(a + s) and Φ(a); without an offset 1, 1 and 0."""
    A = (mu + 0.5 * s.square()).exp()
    if c == 0:
        one = torch.ones(())
        return A, one, one, 0.0
    a = mu / s
    return A, *(torch.special.ndtr(a + k * s) for k in (2, 1, 0))
