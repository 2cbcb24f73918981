"""Terms of partial differential equations, and libraries of them.

A term is a derivative of a product of fields, maybe times a covariate: a ∂^α (u^p v^q …). A static
field, such as a wind, may be one more factor under the derivative. Written so, as a conservation
law has it, all its derivatives can be moved to a test function; u u_x is ½ (u²)_x. Products that
are no derivative, such as v u_y and u_x², have slopes ∂_a u_c among their factors, which are taken
of the data.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

__all__ = [
    "AXES",
    "FIELDS",
    "Names",
    "Term",
    "axis_letters",
    "equation_text",
    "identities",
    "library",
    "written",
]

FIELDS = ("u", "v", "w", "q", "r", "s")
AXES = ("x", "y", "z")
_DEGREE = 3  # of products
_GEOGRAPHIC = {"lon": "x", "longitude": "x", "lat": "y", "latitude": "y"}
_ORDER_OF_STATICS = 2
_ORDER = {1: 4, 2: 2, 3: 2}  # of derivatives, by dimension


@dataclass(frozen=True)
class Term:
    """∂^α (∏ u_c^p_c), times a covariate if one is named.

    Attributes:
        powers: p_c of each channel.
        derivative: α of each axis.
        covariate: Number of the covariate, or after these of the control; None: there is none.
        static: Number of the static field in the product; None: there is none.
        slopes: Channel and axis of each first derivative in the product.
    """

    powers: tuple[int, ...]
    derivative: tuple[int, ...]
    covariate: int | None = None
    static: int | None = None
    slopes: tuple[tuple[int, int], ...] = ()

    @property
    def degree(self) -> int:
        """Of the product."""
        return sum(self.powers) + len(self.slopes)

    @property
    def factors(self) -> tuple[tuple[int, ...], int | None, tuple[tuple[int, int], ...]]:
        """Powers, static field and slopes of the product."""
        return self.powers, self.static, self.slopes

    def is_even(self, axis: int, zero_at_walls: bool) -> bool:
        """Whether the product is the same on both sides of the walls of an axis.

        Args:
            axis: Number of the axis.
            zero_at_walls: Whether fields change their sign there; else they are mirrored.
        """
        turned = sum(along == axis for _, along in self.slopes)
        return ((self.degree if zero_at_walls else 0) + turned) % 2 == 0

    @property
    def order(self) -> int:
        """Of the derivative."""
        return sum(self.derivative)


@dataclass(frozen=True)
class Names:
    """How an equation calls things.

    Attributes:
        fields: Of channels.
        axes: Of axes of space, a letter each.
        covariates: Of covariates, then of controls.
        statics: Of static fields.
    """

    fields: tuple[str, ...]
    axes: tuple[str, ...]
    covariates: tuple[str, ...] = ()
    statics: tuple[str, ...] = ()

    @classmethod
    def usual(
        cls,
        channels: int,
        ndim: int,
        covariates: int | Sequence[str] = 0,
        statics: int = 0,
        axes: str | None = None,
    ) -> Names:
        """Fields u, v, w, …, axes x, y, z, covariates c1, c2, … unless they have names.

        Static fields are s1, s2, …; axes may have other letters.
        """
        fields = FIELDS if channels <= len(FIELDS) else tuple(f"u{k + 1}" for k in range(channels))
        given = isinstance(covariates, int)
        count = covariates if isinstance(covariates, int) else len(covariates)
        named = tuple(f"c{k + 1}" for k in range(count)) if given else tuple(covariates)  # type: ignore[arg-type]
        known = tuple(f"s{k + 1}" for k in range(statics))
        letters = AXES[:ndim] if axes is None else tuple(axes)
        return cls(fields[:channels], letters, named, known)


def axis_letters(dims: Sequence[str], channels: int) -> str | None:
    """A letter for each axis of these names: its own, x of longitudes and y of latitudes.

    None: some have none, or two the same, or one that is a field's or the time's.
    """
    fields = Names.usual(channels, 1).fields
    letters = [_GEOGRAPHIC.get(name.lower(), name) for name in dims]
    fits = all(len(a) == 1 and a.isalpha() and a != "t" and a not in fields for a in letters)
    return "".join(letters) if fits and len(set(letters)) == len(letters) else None


def library(channels: int, ndim: int, covariates: int = 0, statics: int = 0) -> tuple[Term, ...]:
    """Products of up to three fields, and one, with derivatives up to fourth order (second in 2-D).

    In more than one dimension there are fourth derivatives along single axes, too. Each comes by
    itself and times each covariate or control. So do products of a field and another's slope, and
    of slopes along an axis. Static fields come by themselves and times one field, with derivatives
    up to the second, and times a slope.
    """
    order = _ORDER[ndim]
    shapes = [a for a in itertools.product(range(order + 1), repeat=ndim) if sum(a) <= order]
    shapes += [tuple(4 * (k == axis) for k in range(ndim)) for axis in range(ndim) if order < 4]
    powers = [
        p for p in itertools.product(range(_DEGREE + 1), repeat=channels) if 0 < sum(p) <= _DEGREE
    ]
    plain = [Term((0,) * channels, (0,) * ndim)]
    plain += [Term(p, a) for p in sorted(powers, key=sum) for a in sorted(shapes, key=sum)]
    plain += _with_slopes(channels, ndim)
    each = [replace(term, covariate=c) for c in (None, *range(covariates)) for term in plain]
    low = sorted((a for a in shapes if sum(a) <= _ORDER_OF_STATICS), key=sum)
    alone = [p for p in itertools.product(range(2), repeat=channels) if sum(p) <= 1]
    each += [Term(p, a, None, k) for k in range(statics) for p in alone for a in low]
    nothing = (0,) * channels, (0,) * ndim, None
    each += [
        Term(*nothing, k, ((c, axis),))
        for k in range(statics)
        for c in range(channels)
        for axis in range(ndim)
    ]
    return tuple(each)


def _with_slopes(channels: int, ndim: int) -> list[Term]:
    """Products of one field and another's slope, and of slopes along the same axis."""
    none, zero = (0,) * channels, (0,) * ndim
    found = []
    for axis in range(ndim):
        for c in range(channels):
            for other in range(channels):
                if c != other:
                    powers = tuple(int(k == c) for k in range(channels))
                    found.append(Term(powers, zero, slopes=((other, axis),)))
                if c <= other:
                    found.append(Term(none, zero, slopes=((c, axis), (other, axis))))
    return found


def identities(terms: Sequence[Term]) -> list[tuple[int, int, int]]:
    """Numbers of (u v)_a, u v_a and v u_a, the first of which is the sum of the others."""
    place = {term: k for k, term in enumerate(terms)}
    found = []
    for term, k in place.items():
        fields = [c for c, p in enumerate(term.powers) if p]
        plain = term.static is None and not term.slopes and term.order == 1
        if not plain or len(fields) != 2 or term.degree != 2:
            continue
        axis = term.derivative.index(1)
        halves = []
        for c, other in (fields, reversed(fields)):
            powers = tuple(int(i == c) for i in range(len(term.powers)))
            zero = (0,) * len(term.derivative)
            halves.append(place.get(Term(powers, zero, term.covariate, None, ((other, axis),))))
        if None not in halves:
            found.append((k, *halves))
    return found  # type: ignore[return-value]


def written(term: Term, names: Names) -> str:
    """A term as it is read: u_xx, (u^2)_x, nu*u_xx, 1."""
    factors = [
        name if power == 1 else f"{name}^{power}"
        for name, power in zip(names.fields, term.powers, strict=True)
        if power
    ]
    if term.static is not None:
        factors.insert(0, names.statics[term.static])
    factors += [f"{names.fields[c]}_{names.axes[axis]}" for c, axis in term.slopes]
    along = "".join(axis * count for axis, count in zip(names.axes, term.derivative, strict=True))
    product = "*".join(factors) or "1"
    if along:
        compound = len(factors) > 1 or term.degree > 1
        product = f"({product})_{along}" if compound else f"{product}_{along}"
    if term.covariate is None:
        return product
    name = names.covariates[term.covariate]
    return name if product == "1" else f"{name}*{product}"


def equation_text(field: str, parts: Iterable[tuple[float, str]]) -> str:
    """u_t = sum of coefficients times terms."""
    text = ""
    for value, term in parts:
        sign = " - " if value < 0 else " + "
        size = f"{abs(value):.6g}"
        text += sign + (size if term == "1" else term if size == "1" else f"{size}*{term}")
    text = text.removeprefix(" + ")
    text = "-" + text.removeprefix(" - ") if text.startswith(" - ") else text
    return f"{field}_t = {text or '0'}"
