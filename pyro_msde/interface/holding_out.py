"""What validates where no validation data are given and paths are noisy.

A network learns a few hundred noisy snapshots by heart, and forecasts worse the longer it trains.
Without validation data the last fifth of each trajectory, or every fifth of many that are about as
long, is kept from training, and short windows of it validate. Units and references are those of all
the data.
"""

from __future__ import annotations

import logging

import numpy as np

from pyro_msde.data import Segments, Trajectories
from pyro_msde.inference import has_noisy_paths, linear_path
from pyro_msde.protocols import Model

__all__ = ["held_out", "needs_validation"]

_LOG = logging.getLogger(__name__)
_SHARE = 5
_UNEVEN = 2  # times the median length, beyond which a trajectory is cut rather than left out whole
_LENGTHS = (11, 6, 4)  # snapshots of a window: the longest that there is
_WINDOWS = 20  # about so many


def needs_validation(model: Model, segments: Segments) -> bool:
    """Whether paths are noisy, and the drift has a linear path for them.

    What a model that was started beforehand was started from cannot judge it.
    """
    return linear_path(model) is not None and has_noisy_paths(model, segments)


def held_out(data: Trajectories, shortest: int = 2) -> tuple[Trajectories, Trajectories] | None:
    """What is trained on, and windows that validate; None: the data are too short for both.

    Args:
        data: All of them.
        shortest: Snapshots that each trajectory has to keep.
    """
    parts = _parts(data, shortest)
    windows = None if parts is None else _windows(parts[1])
    if parts is None or windows is None:
        _LOG.info(
            "Paths are noisy, no validation was given, and the data are too short to keep some for "
            "it: training goes on to the end, whatever it learns by heart. Pass validation=…"
        )
        return None
    train, rest = parts
    _LOG.info(
        "Paths are noisy and no validation was given: %d of %d snapshots validate, in %d windows "
        "of %d. Pass validation=… to choose.",
        sum(len(t) for t in rest.times),
        sum(len(t) for t in data.times),
        len(windows),
        len(windows.times[0]),
    )
    return train, windows


def _parts(data: Trajectories, shortest: int) -> tuple[Trajectories, Trajectories] | None:
    """What is left for training, and what is kept from it."""
    lengths = np.array([len(t) for t in data.times])
    if len(data) >= _SHARE and lengths.max() <= _UNEVEN * np.median(lengths):
        held = np.arange(len(data)) % _SHARE == _SHARE - 1
        return data[~held], data[held]
    fifths = lengths // _SHARE
    cut = (fifths >= _LENGTHS[-1]) & (lengths - fifths >= shortest)  # others are kept whole
    if not cut.any():
        return None
    kept = np.where(cut, lengths - fifths, lengths)
    train = data.snapshots([slice(n) for n in kept])
    rest = data[cut].snapshots([slice(n, None) for n in kept[cut]])
    return train, rest


def _windows(rest: Trajectories) -> Trajectories | None:
    """Windows of one length, about so many; None: holes leave none."""
    every = max(1, sum(len(t) for t in rest.times) // _WINDOWS)
    longest = max(len(t) for t in rest.times)
    for length in dict.fromkeys(min(n, longest) for n in _LENGTHS):
        try:
            return rest.cut(length=length, every=every)
        except ValueError:  # each would span a hole, or is longer than all of them
            continue
    return None
