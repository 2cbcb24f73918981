"""How fast a field forgets: the autocorrelation of its anomalies over lag.

    ρ(k) = ⟨a_i a_{i+k}⟩ / ⟨a²⟩,      a = y − ⟨y⟩ at each point

Averages are over snapshots of all trajectories and over points; ⟨y⟩ is the point's mean over all
snapshots. Lags are counted in snapshots.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["decorrelation_lag"]

Array = NDArray[Any]

_POINTS = 512  # of a field, evenly spaced, that are looked at
_NUMBERS = 2**22  # at all snapshots together


def decorrelation_lag(values: Sequence[Array], longest: int) -> int:
    """The first lag, in snapshots, at which the autocorrelation is below 1/e.

    Args:
        values: Per trajectory (time, *field); what is not finite is left out.
        longest: Lag to look up to, and the result where the autocorrelation stays above until then,
            or where nothing varies.
    """
    anomalies, known = _anomalies(values)
    count = sum(int(k.sum()) for k in known)
    variance = sum(float(np.square(a).sum()) for a in anomalies) / max(1, count)
    if not variance > 0:
        return longest
    for lag in range(1, longest):
        pairs = [(a[lag:], a[:-lag]) for a in anomalies if len(a) > lag]
        both = sum(int((k[lag:] & k[:-lag]).sum()) for k in known if len(k) > lag)
        product = sum(float((later * now).sum()) for later, now in pairs)
        if both and product / both < variance / math.e:
            return lag
    return longest


def _anomalies(values: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """Per trajectory (time, point) anomalies, zero where nothing is known, and where it is."""
    snapshots = sum(len(v) for v in values)
    points = min(_POINTS, max(1, _NUMBERS // snapshots))
    size = int(np.prod(values[0].shape[1:]))
    chosen = np.unique(np.linspace(0, size - 1, min(points, size)).astype(np.int64))
    fields = [v.reshape(len(v), -1)[:, chosen].astype(np.float64) for v in values]
    known = [np.isfinite(f) for f in fields]
    total = sum(np.where(k, f, 0.0).sum(0) for f, k in zip(fields, known, strict=True))
    mean = total / np.maximum(1, sum(k.sum(0) for k in known))
    return [np.where(k, f - mean, 0.0) for f, k in zip(fields, known, strict=True)], known
