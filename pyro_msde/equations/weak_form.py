"""Equations in weak form: data times test functions, integrated over space and time.

For a test function φ(x, t) that vanishes at the edges of its support,

    −∫∫ φ_t u = Σ_k c_k (−1)^|α_k| ∫∫ ∂^α_k φ g_k(u),

so no data are differentiated, and noise is averaged over the support (weak SINDy, Messenger &
Bortz, J. Comput. Phys. 443, 2021). φ is a product of bumps (1 − τ²)^p along each axis and in time,
whose integrals are sums over grid points: the error of such a sum is as small as φ is smooth at its
edges. Noise of variance s² adds a constant to u², which no derivative sees. Slopes within products
that are no derivative are differences of the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from pyro_msde.equations.terms import Term

__all__ = ["NormalEquations", "TestFunctions", "weak_form"]

Array = NDArray[Any]

_SLOPE = (5 / 6, -5 / 21, 5 / 84, -5 / 504, 1 / 1260)
_LONGEST_GAP = 3.0  # of times, in usual ones
_EVEN, _FINER = 1e-3, 32  # relative differences of gaps; points of quadrature a time
_POWER = 8  # of a bump: a fourth derivative still vanishes at its edges, with three more


@dataclass(frozen=True)
class TestFunctions:
    """Supports of test functions.

    Attributes:
        half_widths: Of each axis, in points.
        half_time: In snapshots.
    """

    half_widths: tuple[int, ...]
    half_time: int

    __test__ = False  # no test of pytest's


@dataclass
class NormalEquations:
    """Sums of Gᵀ G, Gᵀ b and bᵀ b over test functions; they add up.

    Attributes:
        matrix: (term, term).
        right: (term, field).
        square: (field,).
        count: Of test functions.
    """

    matrix: Any = 0.0
    right: Any = 0.0
    square: Any = 0.0
    count: int = 0

    def __add__(self, other: NormalEquations) -> NormalEquations:
        """Of both."""
        return NormalEquations(
            self.matrix + other.matrix,
            self.right + other.right,
            self.square + other.square,
            self.count + other.count,
        )

    def __mul__(self, times: int) -> NormalEquations:
        """So many times the same."""
        return NormalEquations(
            self.matrix * times, self.right * times, self.square * times, self.count * times
        )

    def __sub__(self, other: NormalEquations) -> NormalEquations:
        """Without the other's."""
        return NormalEquations(
            self.matrix - other.matrix,
            self.right - other.right,
            self.square - other.square,
            self.count - other.count,
        )


def weak_form(
    fields: Any,
    times: Array,
    spacing: Sequence[float],
    periodic: Sequence[bool],
    terms: Sequence[Term],
    tests: TestFunctions,
    *,
    covariates: Sequence[Any] = (),
    statics: Any = None,
    observed: Any = None,
) -> Iterator[NormalEquations]:
    """The equations of one trajectory, a block of test functions at a time, in order of time.

    Args:
        fields: (time, channel, *space), sliced along time only.
        times: (time,) increasing.
        spacing: Between points, of each axis.
        periodic: Whether an axis is a ring; test functions stay inside of others.
        terms: Columns.
        tests: Supports.
        covariates: Of the trajectory, a number each; controls after them, (time,) each.
        statics: (s, *space) fields that never change.
        observed: Shaped as the fields, what was observed; None: everything. Test functions whose
            support holds anything else are left out.

    Yields:
        Sums over the test functions at one time.
    """
    half = tests.half_time
    shape = tuple(fields.shape[2:]) if hasattr(fields, "shape") else tuple(fields[:1].shape[2:])
    orders = [max(t.derivative[axis] for t in terms) for axis in range(len(shape))]
    axes = [
        _along(n, dx, ring, m, order)
        for n, dx, ring, m, order in zip(
            shape, spacing, periodic, tests.half_widths, orders, strict=True
        )
    ]
    boxes = [(np.abs(rows[0]) > 0).astype(float) for rows in axes]
    usual = float(np.median(np.diff(times)))
    for start in range(0, len(times) - 2 * half, max(1, half // 2)):
        span = slice(start, start + 2 * half + 1)
        gaps = np.diff(times[span])
        if gaps.max() > _LONGEST_GAP * usual:
            continue  # between such times nothing is known
        u = np.asarray(fields[span], dtype=np.float64)
        bump, slope = _in_time(times[span])
        keep: Array | None = None
        if observed is not None:
            missing = ~np.asarray(observed[span], dtype=bool).all((0, 1))
            keep = _contracted(missing.astype(float), boxes).ravel() < 0.5
            if not keep.any():
                continue
        whole = [rows[0] for rows in axes]
        b = np.stack(
            [
                -_contracted(np.tensordot(slope, u[:, c], 1), whole).ravel()
                for c in range(u.shape[1])
            ],
            1,
        )
        columns: dict[Any, Array] = {}
        slopes = {
            (c, axis): _slope(u[:, c], axis, spacing[axis], periodic[axis])
            for c, axis in dict.fromkeys(which for term in terms for which in term.slopes)
        }
        products: dict[Any, Array] = {}
        averaged: dict[Any, Array] = {}
        G = np.empty((len(b), len(terms)))
        for k, term in enumerate(terms):
            factor: Any = 1.0 if term.covariate is None else covariates[term.covariate]
            control = term.covariate if np.ndim(factor) else None
            base = *term.factors, control
            if base not in averaged:
                weights = bump if control is None else bump * factor[span]
                key = term.powers, term.slopes
                if key not in products:
                    product = _product(u, term.powers)
                    for which in term.slopes:
                        product = product * slopes[which]
                    products[key] = product
                mean = np.tensordot(weights, products[key], 1)
                averaged[base] = mean if term.static is None else mean * statics[term.static]
            if (base, term.derivative) not in columns:
                rows = [along[order] for along, order in zip(axes, term.derivative, strict=True)]
                column = _contracted(averaged[base], rows).ravel()
                columns[base, term.derivative] = (-1) ** term.order * column
            G[:, k] = columns[base, term.derivative] * (factor if control is None else 1.0)
        if keep is not None:
            G, b = G[keep], b[keep]
        yield NormalEquations(G.T @ G, G.T @ b, np.square(b).sum(0), len(b))


def _product(u: Array, powers: Sequence[int]) -> Array:
    """∏ u_c^p_c, (time, *space), of fields (time, channel, *space)."""
    result: Array = np.ones((len(u), *u.shape[2:]))
    for channel, power in enumerate(powers):
        for _ in range(power):
            result = result * u[:, channel]
    return result


def _slope(u: Array, axis: int, dx: float, ring: bool) -> Array:
    """∂u of (time, *space) along an axis, by central differences of tenth order.

    Near ends, where test functions vanish, of second order.
    """
    along = axis + 1
    ahead = (np.roll(u, -k, along) - np.roll(u, k, along) for k in range(1, 6))
    found: Array = reduce(add, (w * d for w, d in zip(_SLOPE, ahead, strict=True))) / dx
    if not ring:
        near = np.gradient(u, dx, axis=along)
        inner = (slice(None),) * along
        for end in (slice(None, 5), slice(-5, None)):
            found[(*inner, end)] = near[(*inner, end)]
    return found


def _contracted(field: Array, rows: Sequence[Array]) -> Array:
    """Sums over each axis of (*space) with weights (centre, point): (*centres)."""
    for axis, weights in enumerate(rows):
        field = np.moveaxis(np.tensordot(weights, field, (1, axis)), 0, axis)
    return field


def _bumps(tau: Array, order: int) -> list[Array]:
    """(1 − τ²)^p and its derivatives by τ up to an order."""
    polynomial = np.poly1d([-1, 0, 1]) ** _POWER
    return [polynomial.deriv(k)(tau) if k else polynomial(tau) for k in range(order + 1)]


def _in_time(times: Array) -> tuple[Array, Array]:
    """Weights (time,) of the bump over these times, and of its derivative.

    At even times those of the trapezoidal rule, whose error is as small as the bump is smooth at
    its ends, where it is zero. At others those of the bump's exact integral with a cubic spline
    through the data, of which constants are one: what is integrated along is smooth, the bump is
    not.
    """
    middle, half = 0.5 * (times[0] + times[-1]), 0.5 * (times[-1] - times[0])
    gaps = np.diff(times)
    if np.ptp(gaps) < _EVEN * gaps.mean():
        bump, slope = _bumps((times - middle) / half, 1)
        weights = np.gradient(times)
        return bump * weights, slope / half * weights
    at = np.linspace(times[0], times[-1], _FINER * len(times) + 1)
    step = at[1] - at[0]
    bump, slope = _bumps((at - middle) / half, 1)
    between = CubicSpline(times, np.eye(len(times)))(at)
    return step * bump @ between, step * slope / half @ between


def _along(n: int, dx: float, ring: bool, half: int, order: int) -> list[Array]:
    """For each derivative up to an order, weights (centre, point) of bumps along an axis."""
    step = max(1, half // 2)
    centres = np.arange(0, n, step) if ring else np.arange(half, n - half, step)
    offsets = np.arange(-half, half + 1)
    derivatives = _bumps(offsets / half, order)
    index = (centres[:, None] + offsets) % n
    found = []
    for k, values in enumerate(derivatives):
        weights = np.zeros((len(centres), n))
        np.add.at(
            weights, (np.arange(len(centres))[:, None], index), values * dx / (half * dx) ** k
        )
        found.append(weights)
    return found
