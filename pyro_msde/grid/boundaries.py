"""What lies beyond the ends of an axis, and where its walls are: one object an end.

A boundary answers `ghosts` and `wall` (`pyro_msde.protocols.Boundary`); `Ends` derives from the two
of an axis all that grids, operators, stencils and spectra ask. Those with names:

* ``periodic``: the value at i mod n;
* ``dirichlet``: zero;
* ``neumann``: the half-sample mirror image, … y₁ y₀ | y₀ y₁ … (numpy's ``symmetric``, not torch's
  ``reflect``): the wall lies half a spacing beyond the end point, as for cell centres, so fine and
  coarse grids mirror at the same wall;
* ``antisymmetric``: that image with its sign changed, … −y₁ −y₀ | y₀ y₁ …: zero on the same wall;
* ``replicate``: the value at the nearest end.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray

from pyro_msde.protocols import Boundary

__all__ = ["BOUNDARIES", "BoundaryWords", "Ends", "ends_by_channel", "ends_of", "words_of"]

Array: TypeAlias = NDArray[Any]
Integers: TypeAlias = NDArray[np.int64]
Waves: TypeAlias = tuple[Array, Array, float]
EndWord: TypeAlias = str | Boundary
AxisWord: TypeAlias = EndWord | Sequence[EndWord]
BoundaryWords: TypeAlias = AxisWord | Sequence["AxisWord | Ends"] | Mapping[Any, Any]


@dataclass(frozen=True)  # equal to its copies
class _Periodic:
    wall = 0.0  # of the lower end; the upper one is the next point

    def ghosts(self, distance: Integers, n: int) -> tuple[ArrayLike, ArrayLike]:
        return -distance % n, 1.0

    def waves(self, values: Array, axis: int, spacing: float) -> Waves:
        n = values.shape[axis]
        transformed = scipy.fft.fft(values, axis=axis, norm="ortho")
        return transformed, scipy.fft.fftfreq(n, spacing), 1 / (n * spacing)


@dataclass(frozen=True)
class _Dirichlet:
    wall = 1.0

    def ghosts(self, distance: Integers, n: int) -> tuple[ArrayLike, ArrayLike]:
        return 0, 0.0

    def waves(self, values: Array, axis: int, spacing: float) -> Waves:
        n = values.shape[axis]
        step = 0.5 / ((n + 1) * spacing)
        transformed = scipy.fft.dst(values, type=1, axis=axis, norm="ortho")
        return transformed, np.arange(1, n + 1) * step, step


@dataclass(frozen=True)
class _Neumann:
    wall = 0.5

    def ghosts(self, distance: Integers, n: int) -> tuple[ArrayLike, ArrayLike]:
        return distance - 1, 1.0

    def waves(self, values: Array, axis: int, spacing: float) -> Waves:
        n = values.shape[axis]
        step = 0.5 / (n * spacing)
        return scipy.fft.dct(values, type=2, axis=axis, norm="ortho"), np.arange(n) * step, step


@dataclass(frozen=True)
class _Antisymmetric:
    wall = 0.5

    def ghosts(self, distance: Integers, n: int) -> tuple[ArrayLike, ArrayLike]:
        return distance - 1, -1.0

    def waves(self, values: Array, axis: int, spacing: float) -> Waves:
        n = values.shape[axis]
        step = 0.5 / (n * spacing)
        transformed = scipy.fft.dst(values, type=2, axis=axis, norm="ortho")
        return transformed, np.arange(1, n + 1) * step, step


@dataclass(frozen=True)
class _Replicate:
    wall = 0.5

    def ghosts(self, distance: Integers, n: int) -> tuple[ArrayLike, ArrayLike]:
        return 0, 1.0

    def waves(self, values: Array, axis: int, spacing: float) -> Waves:
        window = np.hanning(values.shape[axis] + 1)[:-1]
        window = window / np.sqrt(np.square(window).mean())
        values = (values - values.mean(axis, keepdims=True)) * window.reshape(-1, *(1,) * ~axis)
        return BOUNDARIES["periodic"].waves(values, axis, spacing)


BOUNDARIES: dict[str, Any] = {
    "periodic": _Periodic(),
    "dirichlet": _Dirichlet(),
    "neumann": _Neumann(),
    "antisymmetric": _Antisymmetric(),
    "replicate": _Replicate(),
}


@runtime_checkable
class _HasWaves(Protocol):
    """A boundary with waves that suit it, for power spectra."""

    def waves(self, values: Array, axis: int, spacing: float) -> Waves: ...


@dataclass(frozen=True)
class Ends:
    """The two ends of an axis."""

    lower: Boundary
    upper: Boundary

    @property
    def word(self) -> AxisWord:
        """The shortest: a name or an object, two of them if the ends differ."""
        names: dict[Boundary, str] = {end: name for name, end in BOUNDARIES.items()}
        lower, upper = (names.get(end, end) for end in (self.lower, self.upper))
        return lower if lower == upper else (lower, upper)

    @property
    def periodic(self) -> bool:
        """Whether the axis is a ring."""
        return isinstance(self.lower, _Periodic)

    @property
    def admits_constant(self) -> bool:
        """Whether what stands beyond the ends of a constant field is that constant."""
        return all(_is_open(end) for end in (self.lower, self.upper))

    @property
    def open(self) -> tuple[bool, bool]:
        """Which end may have more points put before it: those that no wall holds, nor a ring."""
        ends = (self.lower, self.upper)
        return (False, False) if self.periodic else (_is_open(ends[0]), _is_open(ends[1]))

    @property
    def has_waves(self) -> bool:
        """Whether its fields can be written in waves that suit both ends."""
        return self.lower == self.upper and isinstance(self.lower, _HasWaves)

    def waves(self, values: Array, axis: int, spacing: float) -> Waves:
        """Orthonormal transform along a (negative) axis; its wavenumbers (n,), and their step."""
        return cast(_HasWaves, self.lower).waves(values, axis, spacing)

    def coordinates(self, n: int, lower: float, upper: float) -> NDArray[np.float64]:
        """(n,) where the points are between the domain's ends."""
        before, after = self._walls
        spacing = (upper - lower) / (n - 1 + before + after)
        return (np.arange(n, dtype=np.float64) + before) * spacing + lower

    def domain(self, x: Array) -> tuple[float, float]:
        """Ends between which an axis has the (evenly spaced) points x: see `coordinates`."""
        before, after = self._walls
        spacing = float(x[-1] - x[0]) / (len(x) - 1)
        return x[0] - before * spacing, x[-1] + after * spacing

    def offset(self, stride: int) -> int:
        """Number of the first coarse point: no coarse point lies on a wall."""
        return 0 if self.periodic else stride // 2

    def sources(self, positions: Integers, n: int) -> tuple[Integers, NDArray[np.float64]]:
        """Which of n points stands at each position, any integer, and times which number."""
        source = np.array(positions, dtype=np.int64)
        weight = np.ones(source.shape)
        for _ in range(2 + int(np.abs(source).max(initial=0))):
            outside = source < 0
            if outside.any():
                source[outside], factor = _ghosts(self.lower, -source[outside], n)
                weight[outside] *= factor
                continue
            outside = source >= n
            if not outside.any():
                return source, weight
            from_end, factor = _ghosts(self.upper, source[outside] - n + 1, n)
            source[outside] = n - 1 - from_end
            weight[outside] *= factor
        raise ValueError(
            f"boundary: sources of {self.lower!r} and {self.upper!r} lie beyond each other's end "
            "for ever. Let `ghosts` give points closer to its end."
        )

    @property
    def _walls(self) -> tuple[float, float]:
        return (0.0, 1.0) if self.periodic else (self.lower.wall, self.upper.wall)


def _is_open(end: Boundary) -> bool:
    """Whether a constant goes on beyond an end as it is."""
    return bool((np.asarray(end.ghosts(np.array([1]), 2)[1]) == 1).all())


def _ghosts(end: Boundary, distance: Integers, n: int) -> tuple[Integers, NDArray[np.float64]]:
    """What an end answers, one a distance.

    Raises:
        ValueError: Sources that are no whole numbers from 0 on, weights that are not finite.
    """
    source, weight = (np.asarray(answer) for answer in end.ghosts(distance, n))
    whole = source.dtype.kind in "iu" and (source >= 0).all()
    if not whole or weight.dtype.kind not in "fiu" or not np.isfinite(weight).all():
        raise ValueError(
            f"boundary: {end!r}.ghosts(distance, n) gave sources {source} and weights {weight}. "
            "Give whole numbers from 0 on, counted from its own end, and finite numbers."
        )
    return np.broadcast_to(source, distance.shape), np.broadcast_to(weight, distance.shape)


def ends_of(boundary: BoundaryWords, ndim: int) -> tuple[Ends, ...]:
    """Ends of every axis, from one boundary for all axes or a sequence of `ndim`.

    A boundary is a name or an object; in a sequence, a pair of them is for the two ends of an axis.

    Raises:
        ValueError: An unknown name, an object that is no `pyro_msde.protocols.Boundary`, a ring
            with one end, or a sequence of another length.
    """
    alone = isinstance(boundary, str | Boundary)
    if not alone and not isinstance(boundary, Sequence):
        raise ValueError(f"boundary: {boundary!r}; give a name, or one per axis")
    axes: Any = (boundary,) * ndim if alone else boundary
    if len(axes) != ndim:
        raise ValueError(
            f"boundary: {len(axes)} given for {ndim} axes; give one, or one per axis, in which a "
            "pair stands for the two ends: [(lower, upper)]"
        )
    return tuple(_ends_of_axis(axis, word) for axis, word in enumerate(axes))


def ends_by_channel(
    boundary: BoundaryWords, ndim: int, channels: int
) -> tuple[tuple[Ends, ...], ...]:
    """For each channel the ends of every axis; one entry if all channels are alike.

    Raises:
        ValueError: As `ends_of`; channels that lack a boundary; an axis that is a ring for some.
    """
    if not isinstance(boundary, Mapping):
        return (ends_of(boundary, ndim),)
    given = {str(channel): word for channel, word in boundary.items()}  # JSON has no other keys
    if len(given) < len(boundary):
        raise ValueError(f"boundary: a channel is given twice, among {list(boundary)}")
    if set(given) != {str(channel) for channel in range(channels)}:
        raise ValueError(
            f"boundary: given for channels {', '.join(given)}; give one for each from "
            f"0 to {channels - 1}"
        )
    ends = tuple(ends_of(given[str(channel)], ndim) for channel in range(channels))
    for axis in range(ndim):
        if len({channel[axis].periodic for channel in ends}) > 1:
            raise ValueError(
                f"boundary: axis {axis} is periodic for some channels; make it so for all or none"
            )
    return ends if any(channel != ends[0] for channel in ends) else ends[:1]


def words_of(ends: tuple[tuple[Ends, ...], ...]) -> tuple[AxisWord, ...] | dict[int, Any]:
    """The shortest words for them: by axis, or by channel and axis; a pair where ends differ."""
    words = [tuple(axis.word for axis in channel) for channel in ends]
    return words[0] if len(words) == 1 else dict(enumerate(words))


def _ends_of_axis(axis: int, word: Any) -> Ends:
    if isinstance(word, Ends):
        return word
    pair = word if isinstance(word, tuple | list) else (word, word)
    if len(pair) != 2:
        raise ValueError(f"boundary: {word!r} on axis {axis}; give one, or a pair for its two ends")
    ends = Ends(*(_end(axis, end) for end in pair))
    if isinstance(ends.lower, _Periodic) != isinstance(ends.upper, _Periodic):
        raise ValueError(f"boundary: {word!r} on axis {axis}; it is periodic at both ends or none")
    return ends


def _end(axis: int, word: Any) -> Boundary:
    if isinstance(word, str):
        if word not in BOUNDARIES:
            known = ", ".join(BOUNDARIES)
            raise ValueError(
                f"boundary: {word!r} on axis {axis} is unknown; choose one of {known}, or pass an "
                "object of your own"
            )
        end: Boundary = BOUNDARIES[word]
        return end
    if isinstance(word, type) or not isinstance(word, Boundary) or not isinstance(word, Hashable):
        raise ValueError(
            f"boundary: {word!r} on axis {axis}; give a name, or a hashable object with wall and "
            "ghosts(distance, n), see pyro_msde.protocols.Boundary"
        )
    if not isinstance(word.wall, Real) or not 0 <= word.wall < np.inf:
        raise ValueError(
            f"boundary: {word!r}.wall is {word.wall!r}; give the distance of the wall "
            "from the end point, in spacings"
        )
    return word
