"""Where the drift was learned, and forecasts that stay there.

A drift is known on a tube around the training paths. A path that noise carries off it may run away
at an exponential rate, and one of sixty-four is enough to ruin a mean. Forecasts therefore take the
drift at the nearest state of a box around the encoded training data, and are drawn back to it:

    γ̃(z) = γ(clip z) − ρ (z − clip z).

Inside the box, which is half as wide again as the data on either side, nothing changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pyro_msde.sde import FASTEST
from pyro_msde.segments import Segments

__all__ = ["confined", "learned_region"]

_MARGIN = 0.5  # of the data's range, beyond either end
_SNAPSHOTS = 20  # of a trajectory that are encoded


@torch.no_grad()
def learned_region(model: Any, guide: Any, segments: Segments) -> Tensor:
    """Box around the encoded training data: lower and upper ends, (2, latent), scaled units.

    All coarse points of a channel have one range, as a front may turn up anywhere; each microscale
    state has its own. The random state is left alone.
    """
    grid, device = model.grid, segments.scale.device
    like = next(v for v in model.state_dict().values() if v.is_floating_point())
    devices = [] if like.device.type == "cpu" else [like.device]
    states = []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(0)
        sites = guide.read_theta()
        operators = model.read_parameters(sites).operators
        for k, values in enumerate(segments.values):
            at = torch.linspace(0, len(values) - 1, min(_SNAPSHOTS, len(values)), device=device)
            fields = (values[at.long()] / segments.scale).to(like)
            own = None if segments.parameters is None else segments.parameters[k].to(like)
            states.append(guide.encode(fields, sites, operators, own)[0])
    z = torch.cat(states)
    low, high = z.amin(0), z.amax(0)
    for channel in range(grid.channels):
        points = slice(channel * grid.num_coarse, (channel + 1) * grid.num_coarse)
        low[points], high[points] = low[points].min(), high[points].max()
    room = _MARGIN * (high - low)
    return torch.stack([low - room, high + room])


def confined(drift: Callable[..., Tensor], region: Tensor) -> Callable[..., Tensor]:
    """The drift that keeps paths near a box.

    Args:
        drift: γ(z, t) with z (sample, row, 1, latent).
        region: (2, row, latent) lower and upper ends.
    """
    low, high = region[:, :, None]

    def inward(z: Tensor, t: Tensor) -> Tensor:
        inside = torch.minimum(torch.maximum(z, low), high)
        return drift(inside, t) - FASTEST * (z - inside)

    return inward
