"""Where the drift was learned, and forecasts that stay there.

A drift is known on a tube around the training paths. A path that noise carries off it may run away
at an exponential rate, and one of sixty-four is enough to ruin a mean. Forecasts therefore take the
drift at a state nearby that is like the encoded training data, and are drawn back to it:

    γ̃(z) = γ(P z) − ρ (z − P z).

P first clips the state to a box, half as wide again as the data on either side. Then it looks at
what the macroscale drift sees of each coarse point, the stencil around it, along the principal
directions of the data's stencils: a front steeper than any of training's fits the box, but not
there. Stencils are clipped to a range as much wider than the data's, and P moves each point to the
middle of its own. Where nothing has to be clipped nothing changes.

How fast the encoded data move says how long a step of integration may be, too: the midpoint rule
lets a wave that turns by an angle a in a step lag by a²/6 of that, and its overtones by more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from pyro_msde.data import Segments
from pyro_msde.isolation import Isolation, place_of
from pyro_msde.networks import drift_of, offers
from pyro_msde.protocols import Guide, Model, StencilDrift
from pyro_msde.runs import register_adjustment
from pyro_msde.sde import FASTEST, ConfinedDrift, Dynamics

__all__ = ["LONGEST_STEP", "Region", "confined", "learned_region"]

LONGEST_STEP = 1.5 / FASTEST  # at which the midpoint rule still draws paths back

_MARGIN = 0.5  # of the data's range, beyond either end
_LEAST = 1e-2  # of that margin, in scaled units: constant data leave noise nowhere to go
_ROOM = 0.1  # of the region's width, around initial states
_MOST_MOVED = 1 / 20  # of the states' size, in a step: a wave then lags by 4e-4, its third by 4e-3
_SHORTEST = 1 / 5000  # that such a step may be, however fast states move
_SNAPSHOTS = 20  # of a trajectory that are encoded
_TURNED = 1e-2  # how far from orthonormal loaded axes may be: they were rounded to float32


@register_adjustment
@dataclass(frozen=True)
class Region:
    """Where the drift was learned, in scaled units; an `Adjustment` that keeps paths near it.

    Attributes:
        box: (2, latent) lower and upper ends of the states.
        axes: (k, k) principal directions of stencils, in columns; None: the drift has no stencil.
        ends: (2, k) lower and upper ends of stencils along them; None likewise.
        step: () longest step of integration, in training horizons, by how fast the learned drift
            moves the encoded data; None: not measured, as in runs that were saved before it was.
    """

    name: ClassVar[str] = "region"
    is_random: ClassVar[bool] = False

    box: Tensor
    axes: Tensor | None = None
    ends: Tensor | None = None
    step: Tensor | None = None

    def to(self, like: Tensor) -> Region:
        """With the dtype and on the device of a tensor."""
        values: Any = {name: None if x is None else x.to(like) for name, x in vars(self).items()}
        return Region(**values)

    def apply(self, dynamics: Dynamics) -> Dynamics:
        """Draw paths back to the region, which has room around each initial state."""
        widened = self.to(dynamics.encoded).around(dynamics.encoded, dynamics.model)
        # beside a linear part that is integrated exactly so is the pull
        pulled = math.inf if dynamics.linear_part is not None else LONGEST_STEP
        return replace(
            dynamics,
            drift=confined(dynamics.drift, widened, dynamics.model),
            box=widened.box,
            longest_step=min(
                dynamics.longest_step,
                pulled,
                LONGEST_STEP if self.step is None else float(self.step),
            ),
        )

    def to_dict(self) -> dict[str, Tensor]:
        """Its tensors."""
        return {name: x for name, x in vars(self).items() if x is not None}

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any], model: Model) -> Region:
        """What `to_dict` made, or lists of its numbers, as runs were saved till format 3.

        Raises:
            ValueError: It is not of the model's size, or has no inside.
        """
        values = {
            name: x if isinstance(x, Tensor) else torch.tensor(x, dtype=torch.float64)
            for name, x in saved.items()
        }
        region = cls(**values)
        _check_ends("region.box", region.box, model.num_latent)
        if region.step is not None and not (region.step.shape == () and 0 < region.step < math.inf):
            raise ValueError("region.step: is no positive number")
        if region.axes is None and region.ends is None:
            return region
        if not offers(model, StencilDrift) or region.axes is None or region.ends is None:
            raise ValueError("region: axes and ends go together, with a drift that has stencils")
        size = drift_of(model).stencils(region.box.to(place_of(model)[1])).shape[-1]
        if region.axes.shape != (size, size):
            raise ValueError(f"region.axes: {tuple(region.axes.shape)}, not ({size}, {size})")
        turned = region.axes.mT @ region.axes - torch.eye(size, dtype=region.axes.dtype)
        if not bool(turned.abs().max() < _TURNED):
            raise ValueError("region.axes: not orthonormal")
        _check_ends("region.ends", region.ends, size)
        return region

    def around(self, states: Tensor, model: Model) -> Region:
        """Regions (2, row, …) that have room around each initial state (row, latent)."""
        box = _widened(self.box, states[:, None])
        alone = getattr(drift_of(model), "resting", False)  # an equation holds of any stencil
        if self.axes is None or self.ends is None or alone:
            return Region(box)
        along = drift_of(model).stencils(states) @ self.axes
        return Region(box, self.axes, _widened(self.ends, along))

    def __repr__(self) -> str:
        """Sizes."""
        stencils = "" if self.axes is None else f", stencils of {len(self.axes)}"
        return f"Region({self.box.shape[-1]} states{stencils})"


def _check_ends(name: str, ends: Tensor, size: int) -> None:
    if ends.shape != (2, size):
        raise ValueError(f"{name}: {tuple(ends.shape)}, not (2, {size})")
    if not bool((ends.isfinite().all(0) & (ends[0] <= ends[1])).all()):
        raise ValueError(f"{name}: lower ends are not below upper ones, or are not finite")


def _widened(ends: Tensor, values: Tensor) -> Tensor:
    """(2, row, k): ends (2, k) with room around all values (row, any, k) of a row."""
    low, high = ends[:, None]
    room = _ROOM * (high - low)
    return torch.stack(
        [torch.minimum(low, values.amin(1) - room), torch.maximum(high, values.amax(1) + room)]
    )


@torch.no_grad()
def learned_region(model: Model, guide: Guide, segments: Segments) -> Region:
    """Region around the encoded training data.

    In the box all coarse points of a channel have one range, as a front may turn up anywhere; each
    microscale state has its own. The random state is left alone.
    """
    grid = model.grid
    like = next(v for v in model.state_dict().values() if v.is_floating_point())
    states, rates = [], []
    with Isolation(0, like.device).turn():
        bound = model.bind(guide.read_theta())
        for k, values in enumerate(segments.values):
            at = torch.linspace(0, len(values) - 1, min(_SNAPSHOTS, len(values)))
            fields = values[at.long()].to(like)
            clock = segments.times[k][at.long()].to(like.device)
            beside = segments.inputs(k).to(like).of_fields(clock[None])
            each = None if beside is None else beside[0].expand(len(fields), -1)
            z = guide.encode(fields, bound, each)[0]
            states.append(z)
            rates.append(bound.drift(z[:, None], clock[:, None], covariates=each)[:, 0])
    z = torch.cat(states)
    step = _unhurried_step(z, torch.cat(rates))
    low, high = z.amin(0), z.amax(0)
    for channel in range(grid.num_zeta // grid.num_coarse):  # one for modes, which mix them
        points = slice(channel * grid.num_coarse, (channel + 1) * grid.num_coarse)
        low[points], high[points] = low[points].min(), high[points].max()
    box = _with_margin(low, high, _LEAST)
    if not offers(model, StencilDrift):
        return Region(box, step=step)
    x = drift_of(model).stencils(z).flatten(0, 1)
    principal = torch.linalg.eigh(torch.atleast_2d(x.double().T.cov())).eigenvectors
    axes = principal.to(x).contiguous()  # as loaded from a saved run, to the last bit
    along = x @ axes
    return Region(box, axes, _with_margin(along.amin(0), along.amax(0)), step)


def _unhurried_step(states: Tensor, rates: Tensor) -> Tensor:
    """Step () in which states (snapshot, latent) move by a small share of their size."""
    speed = rates.square().sum(-1).mean().sqrt() / states.square().sum(-1).mean().sqrt()
    step = (_MOST_MOVED / speed).clamp(min=_SHORTEST, max=1.0)
    return torch.where(step.isfinite(), step, 1.0)


def _with_margin(low: Tensor, high: Tensor, least: float = 0.0) -> Tensor:
    room = (_MARGIN * (high - low)).clamp(min=least)
    return torch.stack([low - room, high + room])


def confined(drift: Callable[..., Tensor], region: Region, model: Model) -> Callable[..., Tensor]:
    """The drift that keeps paths near a region.

    Args:
        drift: γ(z, t, …) with z (sample, row, 1, latent).
        region: Of each row, as `Region.around` gives it.
        model: The model whose drift it is.
    """
    low, high = region.box[:, :, None]
    to_middle = None
    if region.axes is not None and region.ends is not None:
        to_middle = _to_middle(drift_of(model), region.axes, region.ends)

    def project(z: Tensor) -> Tensor:
        inside = torch.clamp(z, low, high)
        return inside if to_middle is None else inside + to_middle(inside)

    return ConfinedDrift(drift, project, FASTEST)


def _to_middle(drift: StencilDrift, axes: Tensor, ends: Tensor) -> Callable[[Tensor], Tensor]:
    """From each coarse point to that of its clipped stencil, shaped as z (..., row, 1, latent)."""
    low, high = ends[:, :, None, None]
    middle = axes[drift.middle].T  # looked up once: on a GPU every step would wait for it

    def displacement(z: Tensor) -> Tensor:
        along = drift.stencils(z) @ axes
        excess = torch.clamp(along, low, high) - along
        change = (excess @ middle).mT.flatten(-2)
        return F.pad(change, (0, z.shape[-1] - change.shape[-1]))

    return displacement
