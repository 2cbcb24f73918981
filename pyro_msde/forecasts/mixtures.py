"""Equal mixtures of fields' laws over sampled paths, point by point (Ilersich & Nair 2025, App. F).

    p(y) = (1/N) Σ_i p(y|z_i),    mean (33) = average of μ_i,
                                  variance (34) = average of Σ_i + SampleVar{μ_i}

p(y|z) is what the model's `observe` returns, of any family. The sample variance is split by the law
of total variance into what differs among paths of one draw of θ (propagated) and the rest
(parameter).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal
from torch.special import log_ndtr

from pyro_msde.data import Link, Padding, cropped, padded
from pyro_msde.isolation import Isolation
from pyro_msde.likelihoods import CorrelatedNormal

__all__ = ["Mixture"]

_STEPS = 60  # of a root search: more than float64 can bisect


@dataclass(frozen=True, eq=False)
class Mixture:
    """Predictive distribution at some of a forecast's times.

    Laws and moments are held in scaled units, of which the dtype holds the squares; methods take
    and give fields in the user's, on the CPU.

    Attributes:
        where: Which times.
        laws: For each draw of θ one of elements (sample, batch, chunk, channel, *space).
        scale: Of the scaled units in the user's, (channel, 1, …) float64.
        has_channel: Whether fields carry a channel axis.
        reference: What is added in the user's units, float64, broadcast against (batch, chunk,
            channel, *space). None: nothing.
        mask: (channel, *space), False where there is no field, and results are NaN. None: nowhere.
        padding: Points of the laws beyond those of the fields, per axis of space.
        link: Through which the laws, all normal then, are of the fields, which are never negative;
            `scale` and `reference` are of what it makes of these. None: of the fields themselves.
        opposites: (sample,) of all draws of θ after one another, as in `Forecast`.
    """

    where: slice
    laws: Sequence[Distribution]
    scale: Tensor
    has_channel: bool = True
    reference: Tensor | None = None
    mask: Tensor | None = None
    padding: Padding = ()
    link: Link | None = None
    opposites: Tensor | None = None

    @property
    def mean(self) -> Tensor:
        """(batch, chunk, *field), eq. (33)."""
        mean = self.moments["mean"] * self._scale(self.moments["mean"])
        if self.reference is None or self.link is not None:
            return mean
        return mean + (
            self.reference if self.has_channel else self._without_channel(self.reference)
        )

    @property
    def sd(self) -> Tensor:
        """(batch, chunk, *field), root of eq. (34)."""
        m = self.moments
        var = m["reconstruction"] + m["propagated"] + m["parameter"]
        return var.sqrt() * self._scale(var)

    @cached_property
    def moments(self) -> dict[str, Tensor]:
        """Mean and three parts of the variance, (batch, chunk, *field) each, in scaled units.

        In the user's where there is a link, through which no scale goes.
        """
        if self.link is not None:
            linked = [self._linked(law, self.link) for law in self.laws]
            parts = _split_variance(linked, self.opposites).items()
            return {name: self._in_layout(value) for name, value in parts}
        parts = _split_variance(self.laws, self.opposites).items()
        return {name: self._given(value) for name, value in parts}

    def cdf(self, values: Tensor) -> Tensor:
        """Distribution function at values (batch, chunk, *field), shaped as these."""
        return self._given(_cdf(self.laws, self._scaled(values)))

    def quantile(self, level: float) -> Tensor:
        """(batch, chunk, *field), level inside (0, 1)."""
        if all(isinstance(law, Normal) for law in self.laws):
            at = _normal_quantile(level, *_normals(self.laws))
        else:
            at = _bisected_quantile(level, self.laws)
        return self._in_units(at)

    def log_density(self, values: Tensor) -> Tensor:
        """Log of p(y|z_i) for each path, (sample, batch, chunk, *field), in the user's units.

        Of a value that has a probability of its own (`atoms`) it is the log of that.

        Args:
            values: y, (batch, chunk, *field).
        """
        at = self._scaled(values)
        each = torch.cat([law.log_prob(at) for law in self.laws])
        each = cropped(each - self.scale.log().to(each), self.padding)
        if self.link is not None:
            given = self._with_channel(values)
            each = each + self.link.log_slope(given).to(each)
            if bool((atoms := self.link.has_mass(given)).any()):
                mass = [log_ndtr((at - law.mean) / law.variance.sqrt()) for law in self.laws]
                each = torch.where(
                    atoms.to(each.device), cropped(torch.cat(mass), self.padding), each
                )
        return self._in_layout(each)

    def snapshot_log_density(self, values: Tensor, observed: Tensor) -> Tensor:
        """Log density of whole snapshots for each path, (sample, batch, chunk), likewise float64.

        Args:
            values: y, (batch, chunk, *field).
            observed: Bool, shaped alike: what counts.
        """
        each = self.log_density(values)
        total = each.where(observed, 0).flatten(3).sum(3, dtype=torch.float64)
        together = [law for law in self.laws if isinstance(law, CorrelatedNormal)]
        if not together:
            return total
        at, seen = self._scaled(values), padded(self._with_channel(observed), self.padding)
        seen = seen.to(at.device)
        alone = torch.cat([law.log_prob(at) for law in together]).where(seen, 0)
        joint = torch.cat([law.snapshot_log_prob(at, seen) for law in together])
        change = joint.double() - alone.flatten(3).sum(3, dtype=torch.float64)
        return total + change.detach().cpu()

    def atoms(self, values: Tensor) -> Tensor | None:
        """Whether values (batch, chunk, *field) have a probability of their own; None: none has.

        With a link zero has, where it has an offset.
        """
        if self.link is None:
            return None
        return self._in_layout(self.link.has_mass(self._with_channel(values)))

    def sample(self, generator: torch.Generator) -> Tensor:
        """A draw from each p(y|z_i), (sample, batch, chunk, *field), those of θ side by side.

        Draws at different points and times are of one path, and otherwise independent, but for
        those at the points of a time that a `CorrelatedNormal` draws together.
        """
        return self._in_units(torch.cat(_draws(self.laws, generator)))

    def _in_units(self, fields: Tensor) -> Tensor:
        """Fields in the user's units and layout, in the laws' dtype; float64 with a reference."""
        fields = cropped(fields, self.padding) * self.scale.to(fields)
        if self.reference is not None:
            fields = fields + self.reference.to(fields.device)
        if self.link is not None:
            fields = self.link.inverse(fields.double())
        return self._in_layout(fields)

    def _linked(self, law: Distribution, link: Link) -> _Moments:
        """Mean and variance of fields given each path, in the user's units."""
        mean = cropped(law.mean, self.padding).double() * self.scale.to(law.mean.device)
        if self.reference is not None:
            mean = mean + self.reference.to(mean.device)
        variance = cropped(law.variance, self.padding) * self.scale.square().to(mean.device)
        return _Moments(*link.moments(mean, variance))

    def _given(self, values: Tensor) -> Tensor:
        """What the laws have at each point, at the user's points and in the user's layout."""
        return self._in_layout(cropped(values, self.padding))

    def _in_layout(self, values: Tensor) -> Tensor:
        """Values in the user's layout, on the CPU, NaN where there is no field."""
        values = values.detach().cpu()
        if self.mask is not None:
            values = values.masked_fill(
                ~self.mask, False if values.dtype == torch.bool else math.nan
            )
        return values if self.has_channel else self._without_channel(values)

    def _with_channel(self, values: Tensor) -> Tensor:
        return values if self.has_channel else values.unsqueeze(-self.scale.ndim)

    def _without_channel(self, values: Tensor) -> Tensor:
        return values.squeeze(-self.scale.ndim)

    def _scale(self, like: Tensor) -> Tensor:
        """Of the moments' units in the user's, broadcast to fields in the user's layout."""
        if self.link is not None:
            return torch.ones((), dtype=like.dtype)
        return (self.scale if self.has_channel else self.scale.squeeze(0)).to(like)

    def _scaled(self, values: Tensor) -> Tensor:
        """The user's values in scaled units: divided first, as their dtype may hold more."""
        values = self._with_channel(values)
        if self.link is not None:
            values = self.link.forward(values.double())
        if self.reference is not None:
            values = values - self.reference
        return padded((values / self.scale).to(self.laws[0].mean), self.padding)


class _Moments(NamedTuple):
    mean: Tensor
    variance: Tensor


def _split_variance(
    laws: Sequence[Distribution | _Moments], opposites: Tensor | None = None
) -> dict[str, Tensor]:
    """Mean and the three variances, (batch, chunk, channel, *space).

    Propagated is the unbiased variance within draws of θ, so that parameter is what the mixture has
    beyond it: (K − 1)/K of the posterior's for K independent draws, all of it for the jackknife's,
    which come in opposite pairs and have no mean of their own. A single path for each θ tells the
    two not apart, and counts as parameter.
    """
    mean = torch.stack([law.mean for law in laws])
    draws, paths = mean.shape[:2]
    average = mean.mean((0, 1))
    total = _variance(mean.flatten(0, 1) - average, opposites)
    propagated = torch.zeros_like(total)
    if draws == 1:
        propagated = total
    elif paths > 1:
        propagated = torch.minimum(mean.var(1).mean(0), total)
    return {
        "mean": average,
        "reconstruction": torch.stack([_distinct(law.variance).mean(0) for law in laws]).mean(0),
        "propagated": propagated,
        "parameter": total - propagated,
    }


def _variance(away: Tensor, opposites: Tensor | None) -> Tensor:
    """Unbiased variance of draws less their mean, (sample, …).

    Of opposite pairs it is that of their middles and the mean square of half their distances, which
    have nothing to do with each other, as either may come first.
    """
    n = len(away)
    if opposites is None or bool((opposites == torch.arange(n)).any()):
        return away.square().sum(0) / max(1, n - 1)
    other = away[opposites]
    middle, half = 0.5 * (away + other), 0.5 * (away - other)
    return middle.square().sum(0) / max(1, n - 2) + half.square().mean(0)


def _cdf(laws: Sequence[Distribution], at: Tensor) -> Tensor:
    """Of the mixture, at (batch, chunk, channel, *space)."""
    return torch.stack([law.cdf(at).mean(0) for law in laws]).mean(0)


def _draws(laws: Sequence[Distribution], generator: torch.Generator) -> list[Tensor]:
    """One of each element of each law."""
    if all(isinstance(law, Normal) for law in laws):
        shape, like = laws[0].batch_shape, laws[0].mean
        noise = torch.randn(len(laws), *shape, generator=generator, dtype=like.dtype)
        return [law.mean + _coloured(law, e.to(like)) for law, e in zip(laws, noise, strict=True)]
    # torch's families draw from the process's random state only, which is borrowed
    seed = int(torch.randint(2**62, (), generator=generator))
    with Isolation(seed, laws[0].mean.device).turn():
        return [law.sample() for law in laws]


def _coloured(law: Distribution, noise: Tensor) -> Tensor:
    return law.coloured(noise) if isinstance(law, CorrelatedNormal) else law.stddev * noise


def _normals(laws: Sequence[Distribution]) -> tuple[Tensor, Tensor]:
    """Means and variances of normals, (path or 1, batch, chunk, channel, *space)."""
    mean, var = ([getattr(law, name) for law in laws] for name in ("mean", "variance"))
    return torch.cat(mean), _distinct(var[0]) if len(laws) == 1 else torch.cat(var)


def _distinct(values: Tensor) -> Tensor:
    """Values (path, …), or (1, …) where all paths were given the same by `expand`."""
    return values[:1] if values.stride(0) == 0 else values


def _bisected_quantile(level: float, laws: Sequence[Distribution]) -> Tensor:
    """Quantile of an equal mixture, by bisection of its distribution function.

    The search starts from the mean and one standard deviation on either side, which doubles until
    the quantile is inside.
    """
    moments = _split_variance(laws)
    x = moments.pop("mean")
    half = sum(moments.values(), torch.zeros_like(x)).sqrt()
    enough = torch.finfo(x.dtype).eps * (x.abs() + half)
    for _ in range(_STEPS):
        short = (_cdf(laws, x - half) > level) | (_cdf(laws, x + half) < level)
        if not bool(short.any()):
            break
        half = torch.where(short, 2 * half, half)
    for _ in range(_STEPS):
        half = half / 2
        x = torch.where(_cdf(laws, x) < level, x + half, x - half)
        if bool((half <= enough).all()):
            break
    return x


def _normal_quantile(level: float, mean: Tensor, var: Tensor) -> Tensor:
    """Quantile over axis 0 of an equal mixture of normals.

    From that of a normal with its moments, Newton's steps where they stay between the bounds known
    and halve the step before, bisection of these elsewhere. A point is done once its step is small
    beside the narrowest normal; the others go on by themselves.
    """
    z = float(torch.special.ndtri(torch.tensor(level, dtype=torch.float64)))
    shape, eps = mean.shape[1:], torch.finfo(mean.dtype).eps
    sd = var.sqrt()
    if sd.shape[0] not in (1, mean.shape[0]):
        sd = sd.repeat_interleave(mean.shape[0] // sd.shape[0], 0)
    mean, sd = mean.flatten(1), sd.expand(-1, *shape).flatten(1)
    each = mean + z * sd
    low, high = each.amin(0), each.amax(0)
    enough = eps ** (2 / 3) * sd.amin(0) + 4 * eps * torch.maximum(low.abs(), high.abs())
    total = (sd.square().mean(0) + mean.var(0, correction=0)).sqrt()
    x, step = (mean.mean(0) + z * total).clamp(low, high), high - low
    quantile, left = torch.empty_like(x), torch.arange(len(x), device=x.device)
    for _ in range(_STEPS):
        u = (x - mean) / sd
        off = torch.special.ndtr(u).mean(0) - level
        low, high = torch.where(off < 0, x, low), torch.where(off < 0, high, x)
        density = ((-0.5 * u.square()).exp() / sd).mean(0) / math.sqrt(2 * math.pi)
        newton = x - off / density  # not a number where both are zero
        good = (newton >= low) & (newton <= high) & ((newton - x).abs() <= 0.5 * step)
        new = torch.where(good, newton, 0.5 * (low + high))
        done = step <= enough
        step, x = torch.where(done, step, (new - x).abs()), torch.where(done, x, new)
        if 2 * int(done.sum()) >= len(done):
            quantile[left[done]] = x[done]
            going = ~done
            left, x, step, low, high, enough, mean, sd = (
                t[..., going] for t in (left, x, step, low, high, enough, mean, sd)
            )
            if len(left) == 0:
                break
    quantile[left] = x
    return quantile.reshape(shape)
