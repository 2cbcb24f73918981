"""What validates where no validation data are given and paths are noisy.

A network learns a few hundred noisy snapshots by heart, and forecasts worse the longer it trains.
Without validation data the last fifth of each trajectory, or every fifth of many trajectories, is
kept from training, and short windows of it validate.
"""

from __future__ import annotations

import logging

from pyro_msde.data import Segments, Trajectories
from pyro_msde.inference import has_noisy_paths, linear_path
from pyro_msde.protocols import Model

__all__ = ["held_out", "needs_validation"]

_LOG = logging.getLogger(__name__)
_SHARE = 5
_LENGTH = 11  # snapshots of a window
_WINDOWS = 20  # about so many
_SHORTEST = 2  # snapshots of a part of a record that validates


def needs_validation(model: Model, segments: Segments) -> bool:
    """Whether a drift will start as a linear inverse model, since paths are noisy."""
    return linear_path(model) is not None and has_noisy_paths(model, segments)


def held_out(data: Trajectories) -> tuple[Trajectories, Trajectories] | None:
    """What is trained on, and windows that validate; None: the data are too short for both."""
    if len(data) >= _SHARE:
        held = list(range(_SHARE - 1, len(data), _SHARE))
        train = data[[k for k in range(len(data)) if k not in set(held)]]
        rest = data[held]
        told = f"{len(held)} of {len(data)} trajectories"
    else:
        kept = [len(t) - len(t) // _SHARE for t in data.times]
        if min(len(t) - n for t, n in zip(data.times, kept, strict=True)) < _LENGTH:
            return None
        train = data.snapshots([slice(n) for n in kept])
        rest = data.snapshots([slice(n, None) for n in kept])
        told = "the last fifth of each trajectory"
    lengths = [len(t) for t in rest.times]
    if max(lengths) < _SHORTEST:
        return None
    windows = rest.cut(length=min(_LENGTH, max(lengths)), every=max(1, sum(lengths) // _WINDOWS))
    _LOG.info(
        "Paths are noisy and no validation was given: %s validates. Pass validation=… to choose.",
        told,
    )
    return train, windows
