"""Fine grid of the observations and coarse grid of the macroscale (Ilersich & Nair 2025, App. G.4).

Every σ-th point of the fine grid is a coarse point: on periodic axes 0, σ, 2σ, …; on bounded axes
σ//2, σ//2 + σ, …, so that no coarse point lies on a wall and none is missing at the far end.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pyro_msde.grid.boundaries import per_axis
from pyro_msde.grid.neighbours import neighbour_table

__all__ = ["Grid"]

_MOST_POINTS = 2**31  # of an axis


@dataclass(frozen=True, init=False)
class Grid:
    """Fine points, coarse points among them, channels and boundaries.

    Attributes:
        shape: Fine points per axis.
        coarse: Coarse points per axis; each divides the fine number on its axis.
        channels: Values per grid point (d_u).
        boundary: One of `BOUNDARIES` per axis.
        lower: Lower end of the domain per axis, in the user's units; used for coordinates only.
        upper: Upper end of the domain per axis.
    """

    shape: tuple[int, ...]
    coarse: tuple[int, ...]
    channels: int
    boundary: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]

    def __init__(
        self,
        shape: int | Sequence[int],
        coarse: int | Sequence[int],
        *,
        channels: int = 1,
        boundary: str | Sequence[str] = "periodic",
        lower: float | Sequence[float] | None = None,
        upper: float | Sequence[float] | None = None,
    ) -> None:
        """Make a grid; a number stands for a sequence of length one.

        Args:
            shape: Fine points per axis.
            coarse: Coarse points per axis.
            channels: Values per grid point.
            boundary: One boundary for all axes, or one per axis.
            lower: Lower end per axis; 0 unless given.
            upper: Upper end per axis; 1 unless given.

        Raises:
            ValueError: Sizes that are not positive integers, a coarse size that does not divide
                the fine one, numbers of axes that differ, an unknown boundary, an empty domain.
        """
        fine_sizes = _sizes("shape", shape)
        coarse_sizes = _sizes("coarse", coarse)
        ndim = len(fine_sizes)
        if len(coarse_sizes) != ndim:
            raise ValueError(
                f"coarse: {len(coarse_sizes)} axes {coarse_sizes}, but shape has {ndim} "
                f"{fine_sizes}; give one coarse size per axis"
            )
        if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
            raise ValueError(f"channels: {channels!r} is not a positive integer")
        for axis, (n, n_c) in enumerate(zip(fine_sizes, coarse_sizes, strict=True)):
            _check_divides(axis, n, n_c)
        lower = _ends("lower", 0.0 if lower is None else lower, ndim)
        upper = _ends("upper", 1.0 if upper is None else upper, ndim)
        for axis, (start, end) in enumerate(zip(lower, upper, strict=True)):
            if not start < end:
                raise ValueError(f"upper: {end} is not above lower={start} on axis {axis}")
        object.__setattr__(self, "shape", fine_sizes)
        object.__setattr__(self, "coarse", coarse_sizes)
        object.__setattr__(self, "channels", channels)
        object.__setattr__(self, "boundary", per_axis(boundary, ndim))
        object.__setattr__(self, "lower", lower)
        object.__setattr__(self, "upper", upper)

    @property
    def ndim(self) -> int:
        """Number of space axes."""
        return len(self.shape)

    @property
    def stride(self) -> tuple[int, ...]:
        """Fine points per coarse point, σ, per axis."""
        return tuple(n // n_c for n, n_c in zip(self.shape, self.coarse, strict=True))

    @property
    def offset(self) -> tuple[int, ...]:
        """Fine index of the first coarse point per axis: 0 if periodic, else σ//2."""
        pairs = zip(self.stride, self.boundary, strict=True)
        return tuple(0 if name == "periodic" else stride // 2 for stride, name in pairs)

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
        """Shape of one snapshot, (channel, *space)."""
        return (self.channels, *self.shape)

    @property
    def coarse_index(self) -> tuple[NDArray[np.int64], ...]:
        """Fine indices of the coarse points, one array of shape (coarse[axis],) per axis."""
        triples = zip(self.coarse, self.stride, self.offset, strict=True)
        return tuple(offset + stride * np.arange(n_c) for n_c, stride, offset in triples)

    @property
    def coordinates(self) -> tuple[NDArray[np.float64], ...]:
        """Coordinates of the fine points, one array of shape (shape[axis],) per axis.

        Periodic: from `lower` on, `upper` left out. Dirichlet: the zeros at positions −1 and n
        lie on `lower` and `upper`. Neumann, replicate: cell centres.
        """
        axes = zip(self.shape, self.boundary, self.lower, self.upper, strict=True)
        return tuple(_coordinates(*axis) for axis in axes)

    @property
    def coarse_coordinates(self) -> tuple[NDArray[np.float64], ...]:
        """Coordinates of the coarse points, one array of shape (coarse[axis],) per axis."""
        pairs = zip(self.coordinates, self.coarse_index, strict=True)
        return tuple(x[index] for x, index in pairs)

    def neighbours(self, half_width: int) -> Tensor:
        """(num_coarse, (2q+1)^d) stencils on the coarse grid, see `neighbour_table`."""
        return neighbour_table(self.coarse, half_width, self.boundary)

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
        """Lists, numbers and strings that JSON can hold."""
        fields = asdict(self).items()
        return {name: list(v) if isinstance(v, tuple) else v for name, v in fields}


def _sizes(name: str, sizes: int | Sequence[int]) -> tuple[int, ...]:
    given: Sequence[Any] = sizes if isinstance(sizes, Sequence | np.ndarray) else (sizes,)
    if len(given) == 0:
        raise ValueError(f"{name}: empty; give at least one axis")
    for axis, size in enumerate(given):
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            raise ValueError(f"{name}: {size!r} on axis {axis} is not a positive integer")
        if size > _MOST_POINTS:
            raise ValueError(f"{name}: {size} on axis {axis} is more than {_MOST_POINTS} points")
    return tuple(int(size) for size in given)


def _ends(name: str, ends: float | Sequence[float], ndim: int) -> tuple[float, ...]:
    given = tuple(ends) if isinstance(ends, Sequence | np.ndarray) else (ends,) * ndim
    if len(given) != ndim:
        raise ValueError(f"{name}: {len(given)} given for {ndim} axes; give one, or one per axis")
    return tuple(float(end) for end in given)


def _check_divides(axis: int, n: int, n_c: int) -> None:
    if n % n_c:
        smaller = [k for k in range(1, math.isqrt(n) + 1) if n % k == 0]
        divisors = sorted({*smaller, *(n // k for k in smaller)})
        nearest = sorted(sorted(divisors, key=lambda k: abs(k - n_c))[:6])
        raise ValueError(
            f"n_y={n} not divisible by n_c={n_c} on axis {axis}; "
            f"choose one of {', '.join(map(str, nearest))}"
        )


def _coordinates(n: int, boundary: str, lower: float, upper: float) -> NDArray[np.float64]:
    extent = upper - lower
    position = np.arange(n, dtype=np.float64)
    if boundary == "periodic":
        return position * (extent / n) + lower
    if boundary == "dirichlet":
        return (position + 1) * (extent / (n + 1)) + lower
    return (position + 0.5) * (extent / n) + lower
