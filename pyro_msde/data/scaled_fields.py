"""Snapshots of a trajectory as models see them: less their reference, scaled, without gaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_msde.data.padding import Padding, padded
from pyro_msde.data.units import Scaling
from pyro_msde.protocols import Places

__all__ = ["ScaledFields", "observed_by_channel", "observed_in", "without_gaps"]

_AT_ONCE = 256  # snapshots whose gaps are filled at a time


class ScaledFields:
    """Fields of one trajectory in scaled units, made when they are asked for.

    They are indexed along time as a tensor is. Fields with gaps are filled once, and held as a copy
    beside the data.

    Args:
        values: (time, channel, *space) in the user's units, NaN where nothing was observed.
        times: (time,) in the user's units.
        scaling: Between the two kinds of units.
        dtype: Of the scaled fields.
        places: Where the fields are: it fills gaps, and has points beyond those of the data and
            such without a field.

    Attributes:
        values: As given.
        observed: (time, channel, *space) bool, False in gaps and the padding; None: there are none.
        unseen: (time, num_zeta + 1) of `Places.unseen_states`; None likewise.
    """

    def __init__(
        self,
        values: Tensor,
        times: Any,
        scaling: Scaling,
        *,
        dtype: torch.dtype,
        places: Places,
    ) -> None:
        self.values, self.dtype = values, dtype
        self._times, self._scaling, self._padding = times, scaling, places.padding
        mask = None if places.mask is None else torch.tensor(places.mask, device=values.device)
        if scaling.link is not None:
            scaling.link.check("values", values if mask is None else values.where(mask, torch.nan))
        self.observed = observed_in(values, mask, places.padding)
        self._filled: Tensor | None = None
        self.unseen: Tensor | None = None
        if self.observed is not None:
            self._filled = values.new_empty(self.observed.shape, dtype=dtype)
            self.unseen = values.new_empty(len(values), places.num_zeta + 1, dtype=dtype)
            for start in range(0, len(values), _AT_ONCE):
                part = slice(start, start + _AT_ONCE)
                seen = self.observed[part]
                self._filled[part] = places.filled(self._scaled(part).where(seen, 0), seen)
                alike = bool((seen == seen[:1]).all())  # such as those of a solid body
                self.unseen[part] = self._unseen(seen[:1] if alike else seen, places)

    def __len__(self) -> int:
        """Number of snapshots."""
        return len(self.values)

    def __getitem__(self, index: Any) -> Tensor:
        """Scaled fields without gaps of some snapshots."""
        return self._scaled(index) if self._filled is None else self._filled[index]

    def _unseen(self, seen: Tensor, places: Places) -> Tensor:
        """Shares of fields seen here; microscale states are of points that are seen at all."""
        share = places.unseen_states(seen, self.dtype)
        if self._scaling.never_observed is not None:
            known = self._scaling.with_never_observed(seen, self._padding)
            share[..., -1:] = places.unseen_states(known, self.dtype)[..., -1:]
        return share

    def _scaled(self, index: Any) -> Tensor:
        times = self._times[index.numpy(force=True) if isinstance(index, Tensor) else index]
        scaled = self._scaling.to_scaled(self.values[index], times).to(self.dtype)
        return padded(scaled, self._padding)


def observed_by_channel(fields: Sequence[NDArray[Any]]) -> list[int]:
    """Number of observed values of each channel in fields (time, channel, *space)."""
    counts = [(~np.isnan(f)).sum((0, *range(2, f.ndim))) for f in fields]
    return [int(n) for n in np.sum(counts, 0)]


def observed_in(values: Tensor, mask: Tensor | None = None, padding: Padding = ()) -> Tensor | None:
    """Where fields (..., channel, *space) with their padding are observed; None: everywhere.

    Args:
        values: NaN where nothing was observed.
        mask: Of points where there is something to observe; None: everywhere.
        padding: Points that models have beyond those of the data, per axis of space.
    """
    seen = ~values.isnan()
    if mask is not None:
        seen = seen & mask
    seen = padded(seen, padding)
    return None if bool(seen.all()) else seen


def without_gaps(scaled: Tensor, values: Tensor, places: Places) -> tuple[Tensor, Tensor | None]:
    """Fields as models see them: with the padding, and filled in where nothing was observed.

    Args:
        scaled: (..., channel, *space) in scaled units.
        values: The same in the user's units, NaN where nothing was observed.
        places: Where they are.

    Returns:
        Fields (..., channel, *padded space), and where they were observed; None: everywhere.
    """
    mask = None if places.mask is None else torch.tensor(places.mask, device=values.device)
    observed = observed_in(values, mask, places.padding)
    scaled = padded(scaled, places.padding)
    if observed is None:
        return scaled, None
    return places.filled(scaled.where(observed, 0), observed), observed
