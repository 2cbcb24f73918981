"""Fine grid of the observations and coarse grid of the macroscale (Ilersich & Nair 2025, App. G.4).

Every σ-th point of the fine grid is a coarse point: on periodic axes 0, σ, 2σ, …; on bounded axes
σ//2, σ//2 + σ, …, so that no coarse point lies on a wall and none is missing at the far end. Where
σ does not divide the number of points, more are put at the ends (`pyro_msde.grid.padding`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, is_dataclass
from numbers import Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_msde.checks import check_flag, check_whole
from pyro_msde.grid.boundaries import BoundaryWords, Ends, ends_by_channel, words_of
from pyro_msde.grid.filling import depth, filled
from pyro_msde.grid.kernels import gaussian_kernel, lanczos_kernel
from pyro_msde.grid.masks import mask_of, packed_mask
from pyro_msde.grid.neighbours import Stencil, neighbour_weights
from pyro_msde.grid.operators import ScaleOperators
from pyro_msde.grid.padding import padding_of, positions_at
from pyro_msde.grid.unseen import averaging, share_left, share_left_of_states

__all__ = ["Grid", "sizes_of"]

_MOST_AXES = 3  # that networks and operators are made for
_MOST_POINTS = 2**28  # of a grid: a gigabyte a snapshot


@dataclass(frozen=True, init=False)
class Grid:
    """Fine points, coarse points among them, channels and boundaries.

    Attributes:
        shape: Fine points per axis that models see; each a multiple of the coarse number.
        data_shape: Those that fields have. The others are never observed, and never forecast.
        padding: Points that models see before and after those of the fields, per axis.
        coarse: Coarse points per axis.
        channels: Values per grid point (d_u).
        boundary: Per axis a name or an object, a pair of them where the ends differ; by channel
            such a tuple, where the channels differ.
        ends: The same as objects: for each channel the ends of every axis; one entry if all
            channels are alike.
        lower: Where the domain begins per axis, in the user's units; used for coordinates only.
        upper: Where it ends; less than `lower` where coordinates run down, as latitudes may.
        mask: (channel, *space) bool, True where there is a field; None: everywhere. Elsewhere, as
            on land or in a solid body, nothing is observed, and nothing is forecast.
        packed: The mask as text, as `to_dict` gives it; it may be passed for the mask.
        unit_gain: Whether a constant is prolonged as that constant up to ends where the adjoint of
            T_r is another one; False where there are none.
    """

    shape: tuple[int, ...]
    data_shape: tuple[int, ...]
    padding: tuple[tuple[int, int], ...] = field(init=False, repr=False, compare=False)
    coarse: tuple[int, ...]
    channels: int
    boundary: Any = field(hash=False)
    ends: tuple[tuple[Ends, ...], ...] = field(init=False, repr=False, compare=False)
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    mask: NDArray[np.bool_] | None = field(repr=False, compare=False)
    packed: str | None = field(init=False, repr=False)
    unit_gain: bool = False

    regular = True  # fields have axes with even spacing

    def __init__(
        self,
        shape: int | Sequence[int],
        coarse: int | Sequence[int],
        *,
        channels: int = 1,
        boundary: BoundaryWords = "periodic",
        lower: float | Sequence[float] | None = None,
        upper: float | Sequence[float] | None = None,
        mask: Any = None,
        unit_gain: bool = False,
    ) -> None:
        """Make a grid; a number stands for a sequence of length one.

        Args:
            shape: Points per axis of the fields.
            coarse: Coarse points per axis. Where they do not divide the points, the grid gets more
                of these at ends that allow it: "neumann" and "replicate".
            channels: Values per grid point.
            boundary: What lies beyond the ends. "periodic": the axis is a ring. "dirichlet": zero,
                from a wall one spacing beyond the end point. "neumann": the mirror image, about a
                wall half a spacing beyond it. "antisymmetric": minus that image, which is zero on
                the same wall. "replicate": the end point's value. Or an object of your own,
                `pyro_msde.protocols.Boundary`. One for all axes, or one per axis, where a pair
                stands for the lower and the upper end: [("dirichlet", "neumann"), "periodic"]. Or
                such a boundary by channel: {0: "dirichlet", 1: "neumann"}.
            lower: Where the first end of each axis is; 0 unless given.
            upper: Where the last one is; 1 unless given.
            mask: (*space) or (channel, *space) of the fields, True where there is something.
            unit_gain: Let T_p of a constant be that constant near "neumann" and "replicate" ends
                too, where the adjoint of T_r has up to twice or half of it (`ScaleOperators`).

        Raises:
            ValueError: Sizes that are not positive integers, more than three axes, a coarse size
                that does not divide the fine one where this has to be, numbers of axes that differ,
                an unknown boundary, a domain that is empty or not finite, a mask of another shape
                or without a point.
        """
        fine_sizes = sizes_of("shape", shape)
        coarse_sizes = sizes_of("coarse", coarse)
        ndim = len(fine_sizes)
        if len(coarse_sizes) != ndim:
            raise ValueError(
                f"coarse: {len(coarse_sizes)} axes {coarse_sizes}, but shape has {ndim} "
                f"{fine_sizes}; give one coarse size per axis"
            )
        channels = check_whole("channels", channels, 1, _MOST_POINTS // math.prod(fine_sizes))
        lower = _ends("lower", 0.0 if lower is None else lower, ndim)
        upper = _ends("upper", 1.0 if upper is None else upper, ndim)
        for axis, (start, end) in enumerate(zip(lower, upper, strict=True)):
            if start == end or not math.isfinite(end - start):
                raise ValueError(
                    f"upper: {end} is not apart from lower={start} on axis {axis}, by a finite "
                    "number"
                )
        check_flag("unit_gain", unit_gain)
        ends = ends_by_channel(boundary, ndim, channels)
        padding = padding_of(fine_sizes, coarse_sizes, ends)
        pairs = zip(fine_sizes, padding, strict=True)
        self.__dict__.update(
            shape=sizes_of("shape", [n + before + after for n, (before, after) in pairs]),
            data_shape=fine_sizes,
            padding=padding,
            coarse=coarse_sizes,
            channels=channels,
            boundary=words_of(ends),
            ends=ends,
            lower=lower,
            upper=upper,
            mask=(exists := mask_of(mask, (channels, *fine_sizes))),
            packed=None if exists is None else packed_mask(exists),
            unit_gain=unit_gain and any(any(e.open) for channel in ends for e in channel),
        )

    @property
    def ndim(self) -> int:
        """Number of space axes."""
        return len(self.shape)

    @property
    def stride(self) -> tuple[int, ...]:
        """Fine points per coarse point, σ, per axis."""
        return tuple(n // n_c for n, n_c in zip(self.shape, self.coarse, strict=True))

    @property
    def periodic(self) -> tuple[bool, ...]:
        """Whether the axis is a ring, per axis."""
        return tuple(ends.periodic for ends in self.ends[0])

    @property
    def has_waves(self) -> bool:
        """Whether one set of waves per axis suits the fields, all channels alike."""
        return len(self.ends) == 1 and all(ends.has_waves for ends in self.ends[0])

    @property
    def admits_constant(self) -> tuple[bool, ...]:
        """Whether a constant field suits the boundaries, by channel: not if it is zero on one."""
        each = [all(ends.admits_constant for ends in channel) for channel in self.ends]
        return tuple(each if len(each) > 1 else each * self.channels)

    @property
    def offset(self) -> tuple[int, ...]:
        """Fine index of the first coarse point per axis: 0 if periodic, else σ//2."""
        pairs = zip(self.ends[0], self.stride, strict=True)
        return tuple(ends.offset(stride) for ends, stride in pairs)

    @property
    def num_points(self) -> int:
        """Fine points per channel."""
        return math.prod(self.shape)

    @property
    def num_coarse(self) -> int:
        """Coarse points (n_c)."""
        return math.prod(self.coarse)

    @property
    def num_zeta(self) -> int:
        """Size of the macroscale state, n_ζ = channels · n_c."""
        return self.channels * self.num_coarse

    @property
    def field_shape(self) -> tuple[int, ...]:
        """Shape of one snapshot as models see it, (channel, *space)."""
        return (self.channels, *self.shape)

    @property
    def coarse_index(self) -> tuple[NDArray[np.int64], ...]:
        """Which of the fields' points are coarse, one array of shape (coarse[axis],) per axis.

        Where there is padding, the first may be below 0 and the last beyond the last point.
        """
        axes = zip(self.coarse, self.stride, self.offset, self.padding, strict=True)
        return tuple(first - before + step * np.arange(n) for n, step, first, (before, _) in axes)

    @property
    def coordinates(self) -> tuple[NDArray[np.float64], ...]:
        """Coordinates of the fields' points, one array of shape (data_shape[axis],) per axis.

        Periodic: from `lower` on, `upper` left out. Dirichlet: the zeros at positions −1 and n
        lie on `lower` and `upper`. Neumann, antisymmetric, replicate: cell centres. Where channels
        have different walls, those of the first count.
        """
        axes = zip(self.ends[0], self.data_shape, self.lower, self.upper, strict=True)
        return tuple(ends.coordinates(n, low, high) for ends, n, low, high in axes)

    @property
    def coarse_coordinates(self) -> tuple[NDArray[np.float64], ...]:
        """Coordinates of the coarse points, one array of shape (coarse[axis],) per axis."""
        pairs = zip(self.coordinates, self.coarse_index, strict=True)
        return tuple(positions_at(x, index) for x, index in pairs)

    def locations(self) -> Tensor:
        """(num_coarse, k) where coarse points are: sines and cosines, or numbers in [−1, 1]."""
        axes = []
        for x, ring, low, high in zip(
            self.coarse_coordinates, self.periodic, self.lower, self.upper, strict=True
        ):
            u = torch.as_tensor((x - low) / (high - low), dtype=torch.get_default_dtype())
            turns = 2 * torch.pi * u[:, None] * torch.tensor([1.0, 2.0])
            axes.append(torch.cat([turns.sin(), turns.cos()], 1) if ring else 2 * u[:, None] - 1)
        index = torch.cartesian_prod(*(torch.arange(len(a)) for a in axes)).reshape(-1, len(axes))
        return torch.cat([a[i] for a, i in zip(axes, index.T, strict=True)], 1)

    def half_width(self, most: int) -> int:
        """Of a stencil: at most so many points, and no point twice on a ring."""
        room = [(n - 1) // 2 for n, ring in zip(self.coarse, self.periodic, strict=True) if ring]
        return min([most, *room])

    def stencil(self, half_width: int) -> Stencil:
        """Gathers (2q+1)^d neighbours of each coarse point, see `neighbour_table`."""
        rows = [neighbour_weights(self.coarse, half_width, ends) for ends in self.ends]
        parts = zip(*rows, strict=True)
        table, weight = (torch.stack(part) if len(rows) > 1 else part[0] for part in parts)
        known = ((weight == 0) | (weight == 1)).all()  # the table says which are zero
        return Stencil(table, None if known else weight)

    def kernel(self, smoothing: str, radius: int) -> Tensor:
        """κ at the start, "lanczos" or "gaussian", cut off at so many coarse spacings."""
        make = lanczos_kernel if smoothing == "lanczos" else gaussian_kernel
        return make(self, radius)

    def operators(self, kernel: Tensor) -> ScaleOperators:
        """Smoothing, restriction and prolongation with a kernel."""
        return ScaleOperators(kernel, self)

    def filled(self, fields: Tensor, observed: Tensor) -> Tensor:
        """Fields with their gaps filled smoothly; see `pyro_msde.grid.filling`.

        Args:
            fields: (..., channel, *space) anomalies.
            observed: Where they are given, shaped alike.
        """
        return filled(self, fields, observed)

    def unseen_points(self, observed: Tensor, dtype: torch.dtype) -> Tensor:
        """Share of the variance left at each point, shaped as `observed` (..., channel, *space)."""
        return share_left(depth(self, observed, dtype))

    def unseen_states(self, observed: Tensor, dtype: torch.dtype) -> Tensor:
        """Share of the variance left of each macroscale state and, last, of microscale states.

        (..., num_zeta + 1), from where fields (..., channel, *space) were observed; see
        `pyro_msde.grid.unseen`.
        """
        share = self.unseen_points(observed, dtype)
        return share_left_of_states(self, share, averaging(self, share))

    def flatten(self, coarse_field: Tensor) -> Tensor:
        """(..., num_zeta) from a coarse field (..., channel, *coarse), channel-major.

        Raises:
            ValueError: The last axes are not (channel, *coarse).
        """
        expected = (self.channels, *self.coarse)
        if tuple(coarse_field.shape[-len(expected) :]) != expected:
            raise ValueError(
                f"coarse_field: shape {tuple(coarse_field.shape)} does not end in "
                f"(channel, *coarse) = {expected}"
            )
        return coarse_field.flatten(-len(expected))

    def unflatten(self, zeta: Tensor) -> Tensor:
        """Coarse field (..., channel, *coarse) from zeta (..., num_zeta).

        Raises:
            ValueError: The last axis is not num_zeta long.
        """
        if zeta.shape[-1:] != (self.num_zeta,):
            raise ValueError(
                f"zeta: shape {tuple(zeta.shape)} does not end in num_zeta = {self.num_zeta}; "
                "drop the microscale part first"
            )
        return zeta.reshape(*zeta.shape[:-1], self.channels, *self.coarse)

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold: of a boundary of your own its `repr`, or the name of its class."""
        names = ("coarse", "channels", "boundary", "lower", "upper")
        described = {name: _plain(getattr(self, name)) for name in names}
        described = {"shape": _plain(self.data_shape), **described}
        if self.unit_gain:
            described["unit_gain"] = True
        return described if self.packed is None else described | {"mask": self.packed}


def sizes_of(name: str, sizes: int | Sequence[int]) -> tuple[int, ...]:
    """Points per axis, from a number or a sequence of one to three.

    Raises:
        ValueError: Sizes that are not positive integers, too many axes or points.
    """
    several = isinstance(sizes, Sequence | np.ndarray) and np.ndim(sizes)
    given: Sequence[Any] = sizes if several else (sizes,)  # type: ignore[assignment]
    if not 1 <= len(given) <= _MOST_AXES:
        raise ValueError(f"{name}: {len(given)} axes; give one to {_MOST_AXES}")
    for axis, size in enumerate(given):
        check_whole(f"{name}[{axis}]", size, 1)
    total = math.prod(int(size) for size in given)
    if total > _MOST_POINTS:
        raise ValueError(f"{name}: {total:.3g} points; give at most {_MOST_POINTS:.3g}")
    return tuple(int(size) for size in given)


def _plain(value: Any) -> Any:
    """Lists for tuples, strings for keys; the `repr` of dataclasses, else the class's name."""
    if isinstance(value, dict):
        return {str(key): _plain(v) for key, v in value.items()}
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, int | float | str):
        return value
    return repr(value) if is_dataclass(value) else type(value).__qualname__


def _ends(name: str, ends: float | Sequence[float], ndim: int) -> tuple[float, ...]:
    several = isinstance(ends, Sequence | np.ndarray) and not isinstance(ends, str)
    given: tuple[Any, ...] = tuple(np.atleast_1d(ends)) if several else (ends,) * ndim
    if len(given) != ndim:
        raise ValueError(f"{name}: {len(given)} given for {ndim} axes; give one, or one per axis")
    for axis, end in enumerate(given):
        real = isinstance(end, Real) and not isinstance(end, bool | np.timedelta64)
        if not real or not math.isfinite(end):
            raise ValueError(f"{name}: {end!r} on axis {axis} is not a finite number")
    return tuple(float(end) for end in given)
