"""Units: a reference and one scale per channel, time in training horizons."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_msde.data.links import Link
from pyro_msde.data.padding import Padding, padded
from pyro_msde.data.reference import Reference

__all__ = ["ROOM", "Scaling"]

# a dtype's smallest and largest numbers, with room for what is far below or above the usual: in
# float32 for values, in float64 for their squares too
ROOM = {torch.float32: (1e-30, 1e30), torch.float64: (1e-100, 1e100)}


@dataclass(frozen=True)
class Scaling:
    """Scaled value = (value − reference) / scale of its channel, scaled time = time / horizon.

    Attributes:
        channels: Root mean square of each channel over the training data, less its reference, in
            the user's units; that of the reference for a channel that never differs from it.
        time: Training horizon, in the user's units.
        covariates: Root mean square of each of the trajectories' covariates.
        controls: Mean and standard deviation of each of the controls over the training data.
        reference: What is subtracted; nothing unless given.
        never_observed: (channel, *space) bool, points of which the training data have no value:
            that they lack it makes no snapshot less complete. None: there are none.
        link: Through which models see fields, with the reference and the scales of what they see;
            `channels` and `reference` are those of the fields themselves. None: as they are.
    """

    channels: tuple[float, ...]
    time: float
    covariates: tuple[float, ...] = ()
    controls: tuple[tuple[float, float], ...] = ()
    reference: Reference = field(default_factory=Reference)
    never_observed: Tensor | None = field(default=None, compare=False)
    link: Link | None = None

    @classmethod
    def of(
        cls,
        fields: Sequence[NDArray[Any]],
        horizon: float,
        covariates: NDArray[Any] | None = None,
        *,
        controls: Sequence[NDArray[Any]] | None = None,
        reference: Reference | None = None,
        times: Sequence[NDArray[Any]] | None = None,
    ) -> Scaling:
        """Scales of training fields, each (time, channel, *space), and covariates (trajectory, p).

        What is NaN was not observed. A covariate that is zero throughout is left as it is, and of a
        control that never changes its mean is subtracted.

        Args:
            fields: Per trajectory.
            horizon: Of the training data.
            covariates: Of the trajectories.
            controls: Per trajectory (time, c).
            reference: To be subtracted from the fields.
            times: Per trajectory (time,), for a reference that depends on them.

        Raises:
            ValueError: A channel is zero everywhere, or no trajectory lasts.
        """
        if not horizon > 0:
            raise ValueError(
                "data: every trajectory is a single snapshot. A drift is learned from how fields "
                "change: give each trajectory two snapshots or more."
            )
        reference = Reference() if reference is None else reference
        clocks = [np.zeros(len(f)) for f in fields] if times is None else times
        rms = _root_mean_square(
            (_less(reference, f, t) for f, t in zip(fields, clocks, strict=True))
        )
        if reference.coefficients is not None:
            axes = (0, *range(2, reference.coefficients.ndim))
            size = np.abs(reference.coefficients).max(axes)
            # what is left of a channel that never changes is rounding
            rms = np.where(rms > np.finfo(fields[0].dtype).eps * size, rms, size)
        if not (rms > 0).all():
            which = f"channel {int(np.argmin(rms))} is" if len(rms) > 1 else "the field is"
            mend = "Leave it out." if rms.any() else "There is nothing to learn."
            raise ValueError(f"values: {which} zero in every snapshot. {mend}")
        sizes = np.zeros(0) if covariates is None else _root_mean_square([covariates])
        never = torch.tensor(np.all([np.isnan(f).all(0) for f in fields], axis=0))
        return cls(
            tuple(map(float, rms)),
            float(horizon),
            tuple(float(p) or 1.0 for p in sizes),
            _mean_and_spread(controls or ()),
            reference,
            never if bool(never.any()) else None,
        )

    def check_room(self, dtype: torch.dtype) -> None:
        """Forecasts in the user's units are to fit a dtype, some way above and below their scale.

        Raises:
            ValueError: A channel is too large or too small for it.
        """
        least, most = ROOM[dtype]
        for k, size in enumerate(self.channels):
            if not least <= size <= most:
                which = f"channel {k}" if len(self.channels) > 1 else "the field"
                low, high = ROOM[torch.float64]
                wider = dtype != torch.float64 and low <= size <= high
                raise ValueError(
                    f"values: {which} has a root mean square of {size:.3g}, but "
                    f"{str(dtype).removeprefix('torch.')} has room for {least:g} to {most:g}. "
                    f"Change its units{' or pass dtype=torch.float64' if wider else ''}."
                )

    @property
    def seen(self) -> Scaling:
        """Of what models see: of fields themselves, unless they are seen through a link."""
        link = self.link
        if link is None:
            return self
        return replace(self, channels=link.channels, reference=link.reference, link=None)

    def field_scale(self, like: Tensor, ndim: int) -> Tensor:
        """Scale of fields (..., channel, *space) with `ndim` axes of space, broadcast to them.

        In `like`'s dtype and on its device.
        """
        scale = torch.tensor(self.channels, dtype=like.dtype, device=like.device)
        return scale.reshape(-1, *(1,) * ndim)

    def reference_at(self, times: Any, like: Tensor) -> Tensor:
        """Reference at times (...), (..., channel, *space) with axes of length one; else zero.

        float64, on the device of `like`.
        """
        if not self.reference:
            return torch.zeros((), dtype=torch.float64, device=like.device)
        return torch.as_tensor(self.reference.at(times), device=like.device)

    def to_scaled(self, values: Tensor, times: Any) -> Tensor:
        """(values − reference) / scale, float64, of what models see of the values.

        Args:
            values: Fields (..., channel, *space) in the user's units.
            times: (...) array of the fields' times in the user's units; only a mean cycle asks.
        """
        if self.link is not None:
            return self.seen.to_scaled(self.link.forward(values.double()), times)
        ndim = values.ndim - np.ndim(times) - 1
        scale = self.field_scale(values.new_empty(0, dtype=torch.float64), ndim)
        if self.reference:
            values = values - self.reference_at(times, values)
        return values / scale

    def with_never_observed(self, observed: Tensor, padding: Padding = ()) -> Tensor:
        """Fields (..., channel, *padded space) of bool, True also where training saw nothing."""
        if self.never_observed is None:
            return observed
        return observed | padded(self.never_observed, padding).to(observed.device)

    def scaled_covariates(self, covariates: Tensor) -> Tensor:
        """(..., p) in scaled units; as they are if their scales are unknown."""
        if not self.covariates:
            return covariates
        return covariates / torch.tensor(self.covariates, dtype=torch.float64).to(covariates)

    def scaled_controls(self, controls: Tensor) -> Tensor:
        """(..., c) less their means in units of their standard deviations, float64."""
        mean, sd = torch.tensor(self.controls, dtype=torch.float64, device=controls.device).mT
        return (controls.double() - mean) / sd

    def log_volume(self, observed: Sequence[int]) -> float:
        """Log Jacobian Σ log(scale) of so many observed values of each channel."""
        return sum(n * math.log(c) for n, c in zip(observed, self.channels, strict=True))


def _less(reference: Reference, fields: NDArray[Any], times: NDArray[Any]) -> NDArray[Any]:
    """Fields less their reference, channels last."""
    anomalies = fields - reference.at(times) if reference else fields
    return np.moveaxis(anomalies, 1, -1)


def _mean_and_spread(arrays: Sequence[NDArray[Any]]) -> tuple[tuple[float, float], ...]:
    """Mean and standard deviation of each column of arrays (time, c); 1 where nothing varies."""
    if not arrays:
        return ()
    rows = np.concatenate(arrays)
    mean = np.asarray(np.mean(rows, 0, dtype=np.float64))
    sd = _root_mean_square([rows - mean])
    varies = sd > 1e-12 * np.abs(mean)  # else it is rounding
    return tuple(
        (float(m), float(s) if v else 1.0) for m, s, v in zip(mean, sd, varies, strict=True)
    )


def _root_mean_square(
    arrays: Iterable[NDArray[Any]],
) -> NDArray[np.float64]:
    """(k,) over all axes but the last of arrays (..., k), without NaN, of any size of float64."""
    squares: Any = 0.0
    count: Any = 0
    unit: Any = None
    for array in arrays:
        flat = array.reshape(-1, array.shape[-1])
        seen = ~np.isnan(flat)
        flat = np.where(seen, flat, 0.0)
        # powers of two divide without rounding
        largest = np.clip(np.abs(flat).max(0).astype(np.float64), 1e-300, 1e300)
        new = np.exp2(np.frexp(largest)[1].astype(np.float64))
        unit, old = (new, new) if unit is None else (np.maximum(unit, new), unit)
        squares = squares * (old / unit) ** 2 + np.square(flat / unit).sum(0)
        count = count + seen.sum(0)
    return np.asarray(unit * np.sqrt(squares / np.maximum(count, 1)))
