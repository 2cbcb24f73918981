"""Single snapshots that dwarf all others: an error of recording more often than the field's doing.

One scale serves all snapshots of a channel, so that beside such a one the others are all but zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde.errors import warn

__all__ = ["FAR", "warn_of_outliers"]

FAR = 5e3  # times the usual size: bursts and fronts of a flow stay far below

Array = NDArray[Any]


def warn_of_outliers(fields: Sequence[Array], times: Sequence[Array]) -> None:
    """Warn if a snapshot's largest value is more than `FAR` times the usual one of its channel.

    Values are counted from the channel's usual mean. Usual is the median over the snapshots that
    are not zero.

    Args:
        fields: Per trajectory (time, channel, *space), NaN where nothing was observed.
        times: Per trajectory (time,).
    """
    middle = np.median(np.concatenate([_means(f) for f in fields]), 0)
    sizes = [_largest(f - middle.reshape(-1, *(1,) * (f.ndim - 2))) for f in fields]
    together = np.concatenate(sizes)
    for channel, size in enumerate(together.T):
        usual = float(np.median(size[size > 0])) if size.any() else np.inf
        far = int((size > FAR * usual).sum())
        if not far:
            continue
        k = int(np.argmax([s[:, channel].max() for s in sizes]))
        i = int(sizes[k][:, channel].argmax())
        which = f"channel {channel} of " if together.shape[1] > 1 else ""
        warn(
            f"values: {which}trajectory {k}, index {i} (t={times[k][i]:.6g}) reaches "
            f"{sizes[k][i, channel]:.3g}, {sizes[k][i, channel] / usual:.2g} times the median over "
            f"snapshots; {far} of {len(size)} are more than {FAR:g} times. The others are all but "
            "zero beside it. If it is an error, drop the snapshot or mend the value."
        )


def _largest(fields: Array) -> Array:
    """(time, channel) largest absolute value, 0 where there is none."""
    sizes = np.abs(fields.reshape(*fields.shape[:2], -1))
    return np.fmax.reduce(sizes, 2, initial=0.0).astype(np.float64)


def _means(fields: Array) -> Array:
    """(time, channel) mean of what was observed; 0 where nothing was."""
    flat = fields.reshape(*fields.shape[:2], -1)
    seen = np.isfinite(flat)
    return np.where(seen, flat, 0.0).sum(2, dtype=np.float64) / np.maximum(seen.sum(2), 1)
