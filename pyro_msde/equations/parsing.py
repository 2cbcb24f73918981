"""Equations as text: a small grammar of its own, in which nothing is evaluated.

    equations = equation { ";" equation }
    equation  = field "_t" "=" sum
    sum       = [sign] product { sign product }
    product   = factor { "*" factor }
    factor    = number | covariate | power | derivative [ "^" digits ]
    power     = (field | static) [ "^" digits ]
    derivative = field "_" axes | "(" power { "*" power } ")" "_" axes

Numbers are decimal; axes are letters, as in u_xx. A product of a power and a first derivative of
the same field, u^p u_a, is read as (u^{p+1})_a / (p + 1). Other products have first derivatives of
single fields only, as v*u_y and u_x^2.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import NoReturn

from pyro_msde.equations.terms import Names, Term

__all__ = ["parsed"]

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-zα-ωΑ-Ω][A-Za-z0-9α-ωΑ-Ω]*)|(?P<mark>[-+*^()_=;]))"
)
_LONGEST = 4096  # characters
_HIGHEST = 8  # power or order


@dataclass
class _Factor:
    """Powers of fields under a derivative."""

    powers: tuple[int, ...]  # then of static fields
    derivative: tuple[int, ...]


def parsed(text: str, names: Names) -> list[dict[Term, float]]:
    """Terms with their coefficients, one dictionary for each field.

    Args:
        text: One equation for each field, separated by semicolons.
        names: Of fields, axes, covariates and static fields.

    Raises:
        ValueError: Text that is no such equation, with where; a field without one or with two;
            products with derivatives of products or of higher order.
    """
    if not isinstance(text, str):
        raise ValueError(f"equation: {type(text).__name__}. Give text as 'u_t = -u*u_x'.")
    if len(text) > _LONGEST:
        raise ValueError(f"equation: {len(text)} characters, and {_LONGEST} are the most.")
    return _Parser(text, names).equations()


class _Parser:
    """Reads tokens from left to right."""

    def __init__(self, text: str, names: Names) -> None:
        self.text, self.names = text, names
        self.tokens: list[tuple[str, str, int]] = []
        place, end = 0, len(text.rstrip())
        while place < end:
            found = _TOKEN.match(text, place)
            if found is None:
                self.refuse("a sign that no equation has", place)
            kind = str(found.lastgroup)
            self.tokens.append((kind, found[kind], found.start(kind)))
            place = found.end()
        self.at = 0

    def refuse(self, what: str, place: int | None = None) -> NoReturn:
        """Say what is wrong and where.

        Raises:
            ValueError: Always.
        """
        if place is None:
            place = self.tokens[self.at][2] if self.at < len(self.tokens) else len(self.text)
        known = ", ".join((*self.names.fields, *self.names.covariates, *self.names.statics))
        raise ValueError(
            f"equation: {what} at character {place + 1}, …{self.text[place : place + 12]!r}. Write "
            f"one as 'u_t = -u*u_x + 0.1*u_xx'; names are {known}, axes "
            f"{', '.join(self.names.axes)}."
        )

    def peek(self, mark: str) -> bool:
        """Whether this mark is next."""
        return self.at < len(self.tokens) and self.tokens[self.at][:2] == ("mark", mark)

    def take(self, mark: str) -> bool:
        """Whether this mark is next, which is read."""
        found = self.peek(mark)
        self.at += found
        return found

    def need(self, mark: str) -> None:
        """Read this mark."""
        if not self.take(mark):
            self.refuse(f"{mark!r} is missing")

    def name(self) -> str:
        """Read a name."""
        if self.at >= len(self.tokens) or self.tokens[self.at][0] != "name":
            self.refuse("a name is missing")
        self.at += 1
        return self.tokens[self.at - 1][1]

    def equations(self) -> list[dict[Term, float]]:
        """All of the text."""
        found: dict[str, dict[Term, float]] = {}
        while True:
            field = self.name()
            if field not in self.names.fields:
                self.at -= 1
                self.refuse(f"{field} is no field")
            self.need("_")
            if self.name() != "t":
                self.at -= 1
                self.refuse("the left side is no derivative by t")
            self.need("=")
            if field in found:
                self.refuse(f"{field} has two equations")
            found[field] = self.sum()
            if not self.take(";") or self.at == len(self.tokens):
                break
        if self.at < len(self.tokens):
            self.refuse("not understood")
        for field in self.names.fields:
            if field not in found:
                raise ValueError(f"equation: none for {field}. Add '; {field}_t = …'.")
        return [found[field] for field in self.names.fields]

    def sum(self) -> dict[Term, float]:
        """Terms and their coefficients."""
        total: dict[Term, float] = {}
        sign = -1.0 if self.take("-") else 1.0
        if sign > 0:
            self.take("+")
        while True:
            value, term = self.product()
            if term is not None:
                total[term] = total.get(term, 0.0) + sign * value
            if self.take("+"):
                sign = 1.0
            elif self.take("-"):
                sign = -1.0
            else:
                return total

    def product(self) -> tuple[float, Term | None]:
        """A coefficient and a term; none where the coefficient is zero."""
        begun = self.at
        value, covariate = 1.0, None
        factors: list[_Factor] = []
        while True:
            kind = self.tokens[self.at][0] if self.at < len(self.tokens) else ""
            if kind == "number":
                value *= float(self.tokens[self.at][1])
                if not math.isfinite(value):
                    self.refuse("a number that is too large")
                self.at += 1
            elif kind == "name" and self.tokens[self.at][1] in self.names.covariates:
                if covariate is not None:
                    self.refuse("two covariates in one term")
                covariate = self.names.covariates.index(self.name())
            else:
                factors += self.factor()
            if not self.take("*"):
                break
        zero = (0,) * len(self.names.axes)
        plain = [f for f in factors if f.derivative == zero]
        sloped = [f for f in factors if f.derivative != zero]
        powers = [sum(p) for p in zip(*(f.powers for f in plain), strict=True)]
        slopes: tuple[tuple[int, int], ...] = ()
        powers = powers or [0] * (len(self.names.fields) + len(self.names.statics))
        derivative = zero
        if sloped:
            slope = sloped[0]
            own = [c for c, p in enumerate(slope.powers) if p]
            alone = sum(powers) == 0
            same = len(own) == 1 and slope.powers[own[0]] == 1 and sum(slope.derivative) == 1
            same = same and all(p == 0 or c == own[0] for c, p in enumerate(powers))
            if len(sloped) == 1 and (alone or same):
                derivative = slope.derivative
                if not alone:
                    value /= powers[own[0]] + 1
                powers = [p + q for p, q in zip(powers, slope.powers, strict=True)]
            else:
                slopes = tuple(sorted(self.slope(factor, begun) for factor in sloped))
        if max(sum(powers) + len(slopes), sum(derivative)) > _HIGHEST:
            self.at = begun
            self.refuse(f"a power or an order above {_HIGHEST}")
        count = len(self.names.fields)
        statics = [k for k, power in enumerate(powers[count:]) for _ in range(power)]
        if len(statics) > 1:
            self.at = begun
            self.refuse("two static fields in one term")
        static = statics[0] if statics else None
        term = Term(tuple(powers[:count]), derivative, covariate, static, slopes)
        return value, term if value else None

    def slope(self, factor: _Factor, begun: int) -> tuple[int, int]:
        """Channel and axis of a first derivative of a single field."""
        count = len(self.names.fields)
        known = sum(factor.powers[:count]) == 1 and not any(factor.powers[count:])
        if not known or sum(factor.derivative) != 1:
            self.at = begun
            self.refuse(
                "a product with a derivative that is none of first order of one field, such as "
                "v*u_y, and no derivative of a product, such as (u*v)_y,"
            )
        return factor.powers.index(1), factor.derivative.index(1)

    def factor(self) -> list[_Factor]:
        """A power, or a derivative, or a derivative's power."""
        found = self.one()
        if any(found.derivative) and self.take("^"):
            return [found] * self.exponent()
        return [found]

    def one(self) -> _Factor:
        """A power, or a derivative."""
        if self.take("("):
            powers = self.power()
            while self.take("*"):
                powers = tuple(p + q for p, q in zip(powers, self.power(), strict=True))
            self.need(")")
            self.need("_")
            return _Factor(powers, self.axes())
        powers = self.power()
        if self.take("_"):
            if sum(powers) != 1:
                self.refuse("a derivative of a power has brackets, as (u^2)_x;")
            return _Factor(powers, self.axes())
        return _Factor(powers, (0,) * len(self.names.axes))

    def power(self) -> tuple[int, ...]:
        """Of a field."""
        field, count = self.name(), 1
        known = *self.names.fields, *self.names.statics
        if field not in known:
            self.at -= 1
            self.refuse(f"{field} is no field and no covariate")
        if self.take("^"):
            count = self.exponent()
        return tuple(count * (name == field) for name in known)

    def exponent(self) -> int:
        """A whole number."""
        if self.at >= len(self.tokens) or not self.tokens[self.at][1].isdigit():
            self.refuse("a whole number is missing")
        self.at += 1
        return min(int(self.tokens[self.at - 1][1][:4]), _HIGHEST + 1)

    def axes(self) -> tuple[int, ...]:
        """Of a derivative."""
        letters = self.name()
        if any(letter not in self.names.axes for letter in letters):
            self.at -= 1
            self.refuse(f"{letters} are no axes")
        return tuple(letters.count(axis) for axis in self.names.axes)
