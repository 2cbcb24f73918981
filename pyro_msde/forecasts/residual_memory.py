"""What the initial field says of the observation residual later on: a forecast starts at y₀.

A snapshot differs from what is decoded of its own encoding, μ_y(t₀): by noise, and by whatever the
model cannot hold, such as mountains or a coast. The latter is there an hour later as well. With the
autocorrelation ρ(τ) of the residual e = y − μ_y in time, path by path, the law of a field at t is

    N( μ_y,i(t) + ρ(t − t₀) (y₀ − μ_y,i(t₀)),  (1 − ρ²) Σ_y ),

the conditional one of a stationary residual given its value at t₀. ρ(0+) is below one by the share
of white noise. What a path starts off from y₀ by is undone for as long as ρ is near one. Points
that y₀ lacks have no residual, and laws of another family than a location and a scale have none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from pyro_msde.data import Segments
from pyro_msde.isolation import Isolation, place_of
from pyro_msde.likelihoods import can_be_moved, moved
from pyro_msde.protocols import BoundModel, Guide, Model
from pyro_msde.runs import register_adjustment
from pyro_msde.sde import Dynamics

__all__ = ["Residual", "ResidualMemory", "pooled_residual", "residual_memory"]

_EACH = 32  # lags that are looked at one by one; longer ones a quarter apart
_RATIO = 1.25
_POINTS = 1024  # of a channel that are looked at
_AT_ONCE = 64  # snapshots decoded together
_PAIRS = 96  # of a trajectory's snapshots at a lag
_MOST = 2**28  # values of fields that are decoded
_MOST_HELD = 2**24  # residuals of a trajectory
_ALIKE = 1.05  # ratio of lags that are taken for one
_CERTAIN = 0.995  # no more than that: finite records do not tell that a residual never changes
_LEAST = 0.05  # a correlation at the first lag that is worth having


@register_adjustment
@dataclass(frozen=True)
class ResidualMemory:
    """Autocorrelation in time of the observation residual; an `Adjustment` of no dynamics.

    Attributes:
        lags: (lag,) float64, increasing, in training horizons.
        correlation: (channel, lag) in [−1, 1].
    """

    name: ClassVar[str] = "memory"
    is_random: ClassVar[bool] = False

    lags: Tensor
    correlation: Tensor

    def apply(self, dynamics: Dynamics) -> Dynamics:
        """The dynamics as they are."""
        return dynamics

    def to_dict(self) -> dict[str, Tensor]:
        """Its tensors."""
        return {"lags": self.lags, "correlation": self.correlation}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], model: Model) -> ResidualMemory:
        """What `to_dict` gave.

        Raises:
            ValueError: Numbers without sense, or of another model.
        """
        if saved.keys() != {"lags", "correlation"}:
            raise ValueError(f"memory: holds {sorted(saved)}, not lags and correlation")
        lags, correlation = (
            torch.as_tensor(saved[name], dtype=torch.float64) for name in ("lags", "correlation")
        )
        steps = torch.diff(lags, prepend=lags.new_zeros(1)) if lags.ndim == 1 else lags.new_zeros(1)
        if not (len(steps) and bool((steps > 0).all()) and bool(lags.isfinite().all())):
            raise ValueError("memory.lags: not a row of increasing positive numbers")
        if correlation.shape != (model.grid.channels, len(lags)):
            raise ValueError(f"memory.correlation: {tuple(correlation.shape)}, not of this grid")
        if not bool((correlation.abs() <= 1).all()):
            raise ValueError("memory.correlation: not between −1 and 1")
        return cls(lags, correlation)

    def at(self, elapsed: Tensor) -> Tensor:
        """ρ (..., channel) float64 at times (...) since t₀, in training horizons.

        Linear between lags. Before the first one it is that one's, as nothing was seen there; after
        the last one it dies down over as long a time as that.
        """
        shape, elapsed = elapsed.shape, elapsed.double().cpu().flatten()
        last = float(self.lags[-1])
        rho = np.stack([np.interp(elapsed, self.lags, row) for row in self.correlation], -1)
        late = (-(elapsed - last).clamp(min=0) / last).exp()
        return (torch.as_tensor(rho) * late[:, None]).unflatten(0, shape)


@dataclass(frozen=True)
class Residual:
    """What initial fields leave of themselves in later ones, in scaled units.

    Attributes:
        values: (row, channel, *space) initial fields.
        observed: Shaped alike, where they were observed; None: everywhere.
        starts: (draw of θ, sample, row, latent) where paths start.
        share: (draw of θ, row or 1, time, channel) ρ at the forecast's times.
    """

    values: Tensor
    observed: Tensor | None
    starts: Tensor
    share: Tensor

    def of(self, bound: BoundModel, draw: int) -> Tensor:
        """(sample, row, channel, *space) y₀ − μ_y of a draw's paths, zero where not observed."""
        starts = self.starts[draw].to(bound.diffusion.device)
        left: Tensor = self.values.to(starts.device) - bound.observe(starts).mean
        return left if self.observed is None else left.where(self.observed.to(left.device), 0)

    def given(self, law: Distribution, draw: int, left: Tensor, where: slice) -> Distribution:
        """The law of fields (sample, row, chunk, channel, *space) given the residual at t₀."""
        share = self.share[draw, :, where].to(left)
        if not bool(share.any()):
            return law
        share = share[(..., *(None,) * (left.ndim - 3))]
        if self.observed is not None:
            share = share * self.observed.to(left)[:, None]
        return moved(law, share * left[:, :, None], (1 - share.square()).sqrt())


def pooled_residual(forecasts: Sequence[Any]) -> Residual | None:
    """Of several forecasts from the same fields, some of which may remember nothing of these."""
    known = [fc.residual for fc in forecasts if fc.residual is not None]
    if not known:
        return None
    parts = [
        (fc.residual.starts, fc.residual.share)
        if fc.residual is not None
        else (torch.zeros_like(fc.paths[..., 0, :]), known[0].share.new_zeros(()))
        for fc in forecasts
    ]
    shares = [
        share if share.ndim else share.expand(len(starts), *known[0].share.shape[1:])
        for starts, share in parts
    ]
    starts = torch.cat([starts.to(known[0].starts) for starts, _ in parts])
    return replace(known[0], starts=starts, share=torch.cat(shares))


@torch.no_grad()
def residual_memory(model: Model, guide: Guide, segments: Segments) -> ResidualMemory | None:
    """The residual's autocorrelation along trajectories, at one draw of θ.

    The random state is left alone.

    Returns:
        None: it is too small to matter, or fields have a law that cannot be moved.
    """
    with Isolation(0, place_of(model)[1]).turn():
        bound = model.bind(guide.read_theta())
    if not can_be_moved(bound.observe(torch.zeros_like(bound.diffusion))):
        return None
    found: list[tuple[float, Tensor]] = []
    spent = 0
    for times, left in _residuals(model, guide, segments, bound):
        for k in _lags(len(times)):
            step = -(-(len(left) - k) // _PAIRS)
            early, late = left[:-k:step], left[k::step]
            both = early.isfinite() & late.isfinite()
            early, late = early.where(both, 0), late.where(both, 0)
            products = ((early * late), early.square(), late.square())
            elapsed = float((times[k:] - times[:-k]).mean())
            found.append((elapsed, torch.stack([x.sum((0, 2)).double() for x in products])))
        spent += len(times) * model.grid.num_points * model.grid.channels
        if spent > _MOST:
            break
    lags, rho = _correlations(found)
    if not len(lags) or float(rho[:, 0].abs().max()) < _LEAST:
        return None
    return ResidualMemory(lags, rho.clamp(-_CERTAIN, _CERTAIN))


def _correlations(found: list[tuple[float, Tensor]]) -> tuple[Tensor, Tensor]:
    """Lags (lag,), and (channel, lag) correlations of sums (product and squares, channel) at each.

    Lags of several trajectories that hardly differ are one. Where a channel has no pair at a lag,
    it has what its other lags say.
    """
    groups: list[list[tuple[float, Tensor]]] = []
    for elapsed, sums in sorted(found, key=lambda entry: entry[0]):
        if not bool((sums[1:] > 0).all(0).any()):
            continue
        if not groups or elapsed > _ALIKE * groups[-1][0][0]:
            groups.append([])
        groups[-1].append((elapsed, sums))
    if not groups:
        return torch.zeros(0), torch.zeros(0, 0)
    lags = torch.tensor([np.mean([t for t, _ in group]) for group in groups], dtype=torch.float64)
    total = torch.stack([torch.stack([x for _, x in group]).sum(0) for group in groups], -1)
    known = (total[1:] > 0).all(0)  # (channel, lag)
    rho = total[0] / (total[1] * total[2]).sqrt().where(known, 1.0)
    rows = [
        torch.as_tensor(np.interp(lags, lags[k], row[k])) if k.any() else torch.zeros_like(row)
        for row, k in zip(rho, known, strict=True)
    ]
    return lags, torch.stack(rows)


def _lags(count: int) -> list[int]:
    """Numbers of snapshots, up to half of so many."""
    lags: list[int] = []
    lag = 1.0
    while 2 * round(lag) <= count:
        if not lags or round(lag) > lags[-1]:
            lags.append(round(lag))
        lag = lag + 1 if lag < _EACH else lag * _RATIO
    return lags


def _residuals(
    model: Model, guide: Guide, segments: Segments, bound: BoundModel
) -> Iterator[tuple[Tensor, Tensor]]:
    """Times (time,) and residuals (time, channel, point) of each trajectory's beginning."""
    generator = torch.Generator().manual_seed(0)
    count = model.grid.num_points
    points = torch.randperm(count, generator=generator)[:_POINTS].sort().values
    device = bound.diffusion.device
    values = model.grid.channels * count
    longest = max(2, min(_MOST_HELD // (model.grid.channels * len(points)), _MOST // values))
    for k, (clock, fields) in enumerate(zip(segments.times, segments.values, strict=True)):
        times = clock[:longest]
        inputs = segments.inputs(k).to(bound.diffusion)
        seen = getattr(fields, "observed", None)
        parts = []
        for start in range(0, len(times), _AT_ONCE):
            part = slice(start, min(start + _AT_ONCE, len(times)))
            y = fields[part].to(device)
            observed = None if seen is None else seen[part].to(device)
            gaps = {} if observed is None else {"observed": observed}
            now = inputs.of_fields(times[None, part])
            z = guide.encode(y, bound, None if now is None else now[0], **gaps)[0]
            left = y - bound.observe(z).mean
            if observed is not None:
                left = left.where(observed, torch.nan)
            parts.append(left.flatten(2)[..., points.to(device)].float().cpu())
        yield times.cpu(), torch.cat(parts)
