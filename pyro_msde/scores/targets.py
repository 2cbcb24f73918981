"""The truth that a forecast is scored against, and how much each of its values counts.

A forecast is a predictive distribution per trajectory, time and place (the mixture of App. F); the
truth has the shape of its mean. What was not observed, and what is off the grid's mask, does not
count; what does may be weighed by the area that it stands for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from pyro_msde.checks import check_kind
from pyro_msde.data import Metadata, Trajectories, matched, rounding, to_numpy
from pyro_msde.forecasts import Forecast
from pyro_msde.scores.areas import area_weights
from pyro_msde.scores.predictive import Array, by_lead, check_scored, to_array

__all__ = ["Target", "Truth", "aligned", "finite", "on_grid", "target_of"]

Truth = Trajectories | Tensor | NDArray[Any]


@dataclass(frozen=True, eq=False)
class Target:
    """The truth, with a batch axis in any case, and how much each of its values counts.

    Attributes:
        times: (time,) the forecast's.
        batched: Whether the user gave a batch.
        values: (batch, time, *field) float64; zero where nothing was observed.
        weights: (batch or 1, time or 1, *field) float64, whose sum over the field is one, or zero
            where nothing of a snapshot counts. None: all values count alike.
        has_gaps: Whether values are missing, beside those off the grid's mask.
        channel_sizes: (channel, 1, …) what squares of each are counted in, where channels are of
            unlike units and cannot be added; None: they can.
        metadata: Names and positions of the fields' axes; None: not known.
    """

    times: Array
    batched: bool
    values: Tensor
    weights: Tensor | None = None
    has_gaps: bool = False
    channel_sizes: Tensor | None = None
    metadata: Metadata | None = None

    @cached_property
    def counted(self) -> NDArray[np.bool_] | None:
        """(batch, time) whether anything of a snapshot counts; None: of all of them."""
        if self.weights is None:
            return None
        some = (self.weights > 0).flatten(2).any(2)
        return None if bool(some.all()) else some.expand(self.values.shape[:2]).numpy()

    def window(self, where: slice) -> Target:
        """Some of the times."""
        weights = self.weights
        if weights is not None and weights.shape[1] > 1:
            weights = weights[:, where]
        return replace(self, times=self.times[where], values=self.values[:, where], weights=weights)

    def kept(self, x: Tensor) -> Tensor:
        """Fields (…, batch, time, *field), zero where nothing counts."""
        return x if self.weights is None else x.where(self.weights > 0, 0)

    def over_field(self, x: Tensor) -> Array:
        """(batch, time) means over what counts of fields (batch, time, *field)."""
        if self.weights is None:
            return to_array(x.flatten(2).mean(2))
        return to_array((self.kept(x).double() * self.weights).flatten(2).sum(2))

    def addable(self, x: Tensor) -> Tensor:
        """Fields (…, *field), whose channels may be added."""
        return x if self.channel_sizes is None else x / self.channel_sizes

    def mean_square(self, x: Tensor, unit: Tensor) -> Array:
        """(batch, time) mean squares over the field of x / unit, unit (batch, time or 1)."""
        return self.over_field((x / unit.reshape(*unit.shape, *(1,) * (x.ndim - 2))).square())

    def by_lead(self, per_time: Array, bins: int) -> Array:
        """(batch, bins, …) means of (batch, time, …) over snapshots of which something counts."""
        return by_lead(self.times, per_time, bins, self.counted)

    def over_time(self, name: str, per_time: Array, bins: int | None) -> Array:
        """(batch, bins or nothing) means of (batch, time); refused if one is not finite."""
        check_scored(name, per_time, self.times, batched=self.batched)
        means = self.by_lead(per_time, 1 if bins is None else bins)
        return means if bins is not None else means[:, 0]

    def shaped(self, score: Array) -> float | Array:
        """Without the batch axis for a single forecast, and a float where nothing is left."""
        score = score if self.batched else score[0]
        return score if np.ndim(score) else float(score)


def target_of(fc: Forecast, truth: Truth, weights: Any = None) -> Target:
    """The truth at a forecast's times and places.

    Args:
        fc: Forecast.
        truth: An array, or `Trajectories`, of which what is missing does not count.
        weights: Of points, as `area_weights` takes them; None: all alike.

    Raises:
        ValueError: Another number of trajectories, other times or another grid than the forecast's,
            NaN where it does not stand for what is missing, infinite values, nothing observed of a
            trajectory; weights of another shape.
    """
    check_kind("fc", fc, ("times", "shape", "batched", "cdf"), "what fit.predict gave")
    truth = aligned(fc, truth)
    shape, may_be_missing = tuple(fc.shape), np.array(False)
    if isinstance(truth, Trajectories):
        values, there = _values_at(fc, truth)
        may_be_missing = np.array(True) if truth.missing == "mask" else ~there
    else:
        values = to_numpy(truth, "truth")
    if values.shape != shape:
        raise ValueError(
            f"truth: shape {values.shape}, but the forecast's mean has {shape}, "
            f"{'(batch, time, *field)' if fc.batched else '(time, *field)'}. Make them equal."
        )
    y = torch.as_tensor(values, dtype=torch.float64)
    y = y if fc.batched else y[None]
    exists = torch.ones(shape[1 + fc.batched :], dtype=torch.bool) if fc.mask is None else fc.mask
    _check_finite(fc, on_grid(fc, y), may_be_missing)
    seen = y.isfinite() & exists
    has_gaps = not bool(seen[..., exists].all())
    if has_gaps and not bool(seen.flatten(1).any(1).all()):
        k = int(seen.flatten(1).any(1).int().argmin())
        raise ValueError(
            f"truth: nothing was observed of trajectory {k} where there is a forecast. Leave it "
            "out."
        )
    sizes = _channel_sizes(fc)
    known = fc.metadata
    if known is None and isinstance(truth, Trajectories):
        known = Metadata.of(truth)
    if weights is None and fc.mask is None and not has_gaps:
        return Target(fc.times, fc.batched, y, channel_sizes=sizes, metadata=known)
    each = _weights(fc, weights, known) * exists
    if has_gaps:
        each = each * seen
    total = each.flatten(2).sum(2).reshape(*each.shape[:2], *(1,) * (each.ndim - 2))
    each = each / total.where(total > 0, 1)
    if not bool(each.flatten(1).any(1).all()):
        raise ValueError("weights: zero at all points that were observed of a trajectory.")
    return Target(fc.times, fc.batched, y.where(seen, 0), each, has_gaps, sizes, known)


def _channel_sizes(fc: Forecast) -> Tensor | None:
    """Those of the fit's training data, where channels have other units than each other."""
    known = fc.metadata
    if known is None or len({known.units.get(name) for name in known.channels}) < 2:
        return None
    return fc.scaling.field_scale(torch.empty(0, dtype=torch.float64), fc.grid.ndim)


def _check_finite(fc: Forecast, y: Tensor, may_be_missing: NDArray[np.bool_]) -> None:
    """NaN is in snapshots (batch, time) only that may have missing values; nothing is infinite."""
    finite, known = (x.flatten(2).all(2).numpy() for x in (y.isfinite(), ~y.isinf()))
    bad = np.argwhere(~(finite | (known & may_be_missing)))
    if len(bad):
        k, i = bad[0]
        trajectory = f"trajectory {k}, " if fc.batched else ""
        raise ValueError(
            f"truth: NaN or infinite in {trajectory}index {i} (t={fc.times[i]:.6g}), "
            f"{len(bad)} snapshots in all. Leave them out, or pass pyro_msde.Trajectories(…, "
            "missing='mask'), of which NaN does not count. (Masked values are read as NaN.)"
        )


def _weights(fc: Forecast, weights: Any, known: Metadata | None) -> Tensor:
    """(1, 1, *field)."""
    field = tuple(fc.shape)[1 + fc.batched :]
    if weights is None:
        return torch.ones((1, 1, *field), dtype=torch.float64)
    ndim = len(field) if fc.grid is None else fc.grid.ndim
    return torch.tensor(area_weights(weights, field, ndim, known))[None, None]


def aligned(fc: Forecast, truth: Truth) -> Truth:
    """Truth whose times are in the units of the forecast's, where both are known.

    Of trajectories whose first snapshots were given to the forecast, the rest.

    Raises:
        ValueError: Other units, or another order, than the data of the fit had.
    """
    if isinstance(truth, xr.DataArray) and fc.metadata is not None:
        axes = len(fc.shape) - 1 - fc.batched
        fc.metadata.check("truth", Metadata.of_array(truth, axes))
    if not isinstance(truth, Trajectories):
        return truth
    truth = matched(fc.metadata, "truth", truth)
    return _from_start(fc, truth) if getattr(fc, "history", 1) > 1 else truth


def _from_start(fc: Forecast, truth: Trajectories) -> Trajectories:
    """Trajectories from the forecast's first time on."""
    first = np.atleast_1d(fc.valid_times[..., 0])
    if len(first) not in (1, len(truth)):
        return truth  # of another number of trajectories, which is refused later
    places = [
        int(np.searchsorted(t, start - rounding(np.append(t, start))))
        for t, start in zip(truth.times, np.broadcast_to(first, len(truth)), strict=True)
    ]
    return truth.snapshots([slice(i, None) for i in places])


def _values_at(fc: Forecast, truth: Trajectories) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Values at the forecast's times, NaN where these go on without a trajectory, and where not.

    Returns:
        Shaped as `fc.mean`; and (batch, time) whether a trajectory has the time.
    """
    count = fc.shape[0] if fc.batched else 1
    if len(truth) != count:
        raise ValueError(
            f"truth: number of trajectories {len(truth)}, but the forecast has {count}. "
            "Select those that were forecast: truth[k]."
        )
    valid = fc.valid_times if isinstance(fc, Forecast) else fc.times
    valid = np.broadcast_to(valid, (count, len(fc.times)))
    places = [_nearest(v, t) for v, t in zip(valid, truth.times, strict=True)]
    # trajectories of unequal lengths are forecast at all times that any of them has
    united = len(np.unique(np.concatenate(places))) == len(fc.times)
    rows, there = [], np.zeros(valid.shape, dtype=bool)
    for k, (times, clock, place) in enumerate(zip(valid, truth.times, places, strict=True)):
        if len(clock) > len(times) or not (united or len(clock) == len(times)):
            raise ValueError(
                f"truth: trajectory {k} has {_span(clock)}, but the forecast {_span(times)}. "
                "Predict at them."
            )
        i = int(np.abs(clock - times[place]).argmax())
        if abs(clock[i] - times[place[i]]) > rounding(times):
            raise ValueError(
                f"truth: trajectory {k} has t={clock[i]:.9g} at index {i}, but the forecast "
                f"t={times[place[i]]:.9g}. Predict at the trajectory's times."
            )
        there[k, place] = True
        values = np.full((len(times), *truth.field_shape), np.nan, truth.values[k].dtype)
        values[place] = truth.values[k]
        rows.append(values)
    return np.stack(rows) if fc.batched else rows[0], there


def _nearest(times: Array, clock: Array) -> NDArray[np.int64]:
    """Where among `times` each of the clock's is; one after the other if there are as many."""
    if len(clock) == len(times):
        return np.arange(len(times))
    return np.searchsorted(0.5 * (times[1:] + times[:-1]), clock).astype(np.int64)


def _span(times: Array) -> str:
    return f"{len(times)} times ({times[0]:.6g} to {times[-1]:.6g})"


def finite(fc: Forecast, name: str) -> Tensor:
    """(batch, time, *field) float64 mean or standard deviation, zero where the grid has no field.

    Raises:
        ValueError: It is NaN or infinite elsewhere.
    """
    values = on_grid(fc, getattr(fc, name))
    values = values if fc.batched else values[None]
    check_scored(name, to_array(values), fc.times, batched=fc.batched)
    return values.double()


def on_grid(fc: Forecast, x: Tensor) -> Tensor:
    """Fields (…, *field) of a forecast, zero where the grid has none."""
    return x if fc.mask is None else x.where(fc.mask, 0)
