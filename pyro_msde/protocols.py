"""What the parts of a model have to offer, so that others can take their place.

`pyro_msde.testing` has a check for each: it tries an object of your own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

if TYPE_CHECKING:
    from pyro_msde.grid import GraphOperators, ScaleOperators, Stencil

__all__ = ["Boundary", "Places"]

# ruff: noqa: D102  (the docstring of a protocol says what its members are)


@runtime_checkable
class Boundary(Protocol):
    """One end of an axis: what stands beyond its last point, and where its wall is.

    `Grid` asks it, for operators, stencils and coordinates. The value at each `distance` (1, 2, …
    points beyond the end) is `weight` times the value at `source`, counted inwards from this end:
    0 is its last point; n and more lie beyond the other end, which then is asked in turn. `n` is
    the number of points on the axis; either answer may be one number for all distances. `wall` is
    the distance of the domain's end from the last point, in spacings. Must be hashable, and equal
    to its copies: a frozen dataclass is both.
    """

    @property
    def wall(self) -> float: ...

    def ghosts(self, distance: NDArray[np.int64], n: int) -> tuple[ArrayLike, ArrayLike]: ...


@runtime_checkable
class Places(Protocol):
    """Where fields and macroscale states are: `Grid`, `SensorGraph`; models and networks ask it.

    `regular`: fields have axes with even spacing. `periodic`: per axis, whether it is a ring.
    `kernel`: κ at the start. `half_width`: of a stencil at most so wide, and no wider than fits.
    `locations`: (num_coarse, k) features of where coarse points are.
    """

    @property
    def regular(self) -> bool: ...
    @property
    def channels(self) -> int: ...
    @property
    def ndim(self) -> int: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def coarse(self) -> tuple[int, ...]: ...
    @property
    def stride(self) -> tuple[int, ...]: ...
    @property
    def periodic(self) -> tuple[bool, ...]: ...
    @property
    def num_points(self) -> int: ...
    @property
    def num_coarse(self) -> int: ...
    @property
    def num_zeta(self) -> int: ...
    @property
    def field_shape(self) -> tuple[int, ...]: ...

    def flatten(self, coarse_field: Tensor) -> Tensor: ...
    def unflatten(self, zeta: Tensor) -> Tensor: ...
    def locations(self) -> Tensor: ...
    def half_width(self, most: int) -> int: ...
    def stencil(self, half_width: int) -> Stencil: ...
    def kernel(self, smoothing: str, radius: int) -> Tensor: ...
    def operators(self, kernel: Tensor) -> ScaleOperators | GraphOperators: ...
    def to_dict(self) -> dict[str, Any]: ...
