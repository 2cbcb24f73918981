"""Sparse regression of a partial differential equation in weak form, by PySINDy, and its solution.

Terms, integrals over random boxes of space and time, and thresholded least squares are PySINDy's
(`WeakPDELibrary`, `STLSQ`; Reinbold et al. 2020, Brunton et al. 2016); a covariate is one more
field of its library, in products with derivatives of u. The equation is solved with exponential
time differencing on the data's grid from the first snapshot, of which waves above a limit are left
out. Boxes, threshold and limit are those with which validation trajectories are forecast best.
Fields of one channel on a ring.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_msde import Trajectories
from pyro_msde.datasets import etdrk4

__all__ = ["Discovered", "best_equation"]

Array = NDArray[Any]

_BOXES = (
    (1 / 6, 1 / 8),
    (1 / 8, 1 / 20),
    (1 / 12, 1 / 12),
    (1 / 16, 1 / 16),
    (1 / 16, 1 / 40),
    (1 / 32, 1 / 40),
)  # halves, of the ring and the time
_THRESHOLDS = (3e-3, 1e-2, 3e-2, 0.1, 0.2)  # of normalised columns, relative to the largest
_LIMITS = (1 / 3, 1 / 8, 1 / 16)  # of a grid's waves
_DOMAINS = 200  # a trajectory
_MOST = 20  # trajectories that equations are found from
_POINTS, _TIMES = 500, 500


@dataclass(frozen=True)
class Discovered:
    """An equation and how it is solved.

    Attributes:
        terms: Coefficient, power of u, power of the covariate, order of the derivative that these
            multiply (0: none) of each term.
        limit: Share of the grid's waves that an initial field has.
        length: Of the ring.
        longest_step: Of the solver.
    """

    terms: tuple[tuple[float, int, int, int], ...]
    limit: float
    length: float
    longest_step: float

    def forecast(self, one: Trajectories) -> Array:
        """(time, x) from the first snapshot of one trajectory, at its evenly spaced times."""
        y, times = one.values[0][0].astype(float), one.times[0]
        n = len(y)
        c = 1.0 if one.covariates is None else float(one.covariates[0, 0])
        k = 2 * np.pi / self.length * np.arange(n // 2 + 1)
        inside = np.arange(n // 2 + 1) <= n / 3
        linear = np.zeros(n // 2 + 1, complex)
        products = []
        for value, power, own, order in self.terms:
            size = value * c**own
            if power + (order > 0) == 1:
                linear += size * (1j * k) ** order
            else:
                products.append((size, power, (1j * k) ** order if order else None))

        def nonlinear(spectrum: Array) -> Array:
            kept = spectrum * inside
            u = np.fft.irfft(kept, n)
            total = np.zeros_like(u)
            for size, power, derivative in products:
                part = size * u**power
                total += part if derivative is None else part * np.fft.irfft(derivative * kept, n)
            return np.fft.rfft(total) * inside

        start = np.fft.rfft(y)
        start[np.arange(n // 2 + 1) > self.limit * n / 2] = 0
        dt = float(np.median(np.diff(times)))
        with np.errstate(all="ignore"):
            return np.asarray(
                etdrk4.solve_periodic(
                    np.fft.irfft(start, n),
                    linear,
                    nonlinear,
                    dt=dt,
                    num_steps=len(times) - 1,
                    substeps=None,
                    longest_step=self.longest_step,
                )
            )

    def __str__(self) -> str:
        """As an equation is read."""
        parts = [
            f"{value:+.4g}"
            + ("*c" * own)
            + (f"*u^{power}" if power else "")
            + (f"*u_{'x' * order}" if order else "")
            for value, power, own, order in self.terms
        ]
        return "u_t = " + " ".join(parts)


def best_equation(train: Trajectories, validation: Trajectories, order: int) -> Discovered:
    """The equation that forecasts validation trajectories best, of derivatives up to an order."""
    x = np.asarray((train.coords or {})["x"], float)
    length = float(x[1] - x[0]) * len(x)
    spacing = float(np.diff(train.times[0]).min())
    found: dict[tuple[Any, ...], tuple[float, Discovered]] = {}
    sums = {box: _columns(train, box, order, length) for box in _BOXES}
    for box, threshold in product(_BOXES, _THRESHOLDS):
        terms = _regression(*sums[box], threshold)
        key = tuple(term[1:] for term in terms)
        if not terms or (key, box) in found:
            continue
        trial = Discovered(terms, _LIMITS[1], length, spacing)
        found[key, box] = _error(trial, validation), trial
    best = min(found.values(), key=lambda pair: pair[0])[1]
    limited = [replace(best, limit=limit) for limit in _LIMITS]
    return min(limited, key=lambda trial: _error(trial, validation))


def _error(trial: Discovered, data: Trajectories) -> float:
    errors = []
    for one in data:
        try:
            away = np.square(trial.forecast(one) - one.values[0]).sum()
        except FloatingPointError:  # it blew up
            return math.inf
        if not np.isfinite(away):
            return math.inf
        errors.append(math.sqrt(away / np.square(one.values[0]).sum()))
    return float(np.mean(errors))


def _regression(
    theta: Array, b: Array, names: Sequence[tuple[int, int, int]], threshold: float
) -> tuple[tuple[float, int, int, int], ...]:
    import pysindy

    optimiser = pysindy.STLSQ(threshold=threshold, normalize_columns=True, alpha=1e-8)
    size = np.linalg.norm(b)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimiser.fit(theta, b / size)
    values = np.asarray(optimiser.coef_)[0] * size
    return tuple((float(v), *powers) for v, powers in zip(values, names, strict=True) if v)


def _columns(
    train: Trajectories, box: Sequence[float], order: int, length: float
) -> tuple[Array, Array, list[tuple[int, int, int]]]:
    """Integrals of terms, of −u φ_t, and powers of u and covariate and orders of the terms."""
    import pysindy

    fine, count = train.values[0].shape[1], len(train.times[0])
    over, every = max(1, fine // _POINTS), max(1, count // _TIMES)
    x, t = length / fine * np.arange(fine)[::over], train.times[0][::every]
    grid = np.stack(np.meshgrid(x, t, indexing="ij"), -1)
    has = train.covariates is not None
    library = pysindy.WeakPDELibrary(
        function_library=pysindy.PolynomialLibrary(degree=2, include_bias=False),
        derivative_order=order,
        spatiotemporal_grid=grid,
        K=_DOMAINS,
        H_xt=[box[0] * length, box[1] * float(t[-1] - t[0])],
    )
    np.random.seed(0)  # noqa: NPY002 - PySINDy draws its boxes from the global state
    rows, left, names = [], [], None
    for k in range(min(len(train), _MOST)):
        u = train.values[k][::every, ::over].T[..., None].astype(float)
        fields = u
        if train.covariates is not None:
            fields = np.concatenate([u, np.full_like(u, train.covariates[k, 0])], -1)
        whole = pysindy.AxesArray(fields, {"ax_spatial": [0], "ax_time": 1, "ax_coord": 2})
        if names is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                library.fit([whole])
            names = library.get_feature_names(["u", "c"][: 1 + has])
        rows.append(np.asarray(library.transform([whole])[0]))
        left.append(np.asarray(library.convert_u_dot_integral(whole))[:, :1])
    powers = [_powers(name) for name in names or []]
    kept = [k for k, p in enumerate(powers) if p is not None]
    return (
        np.concatenate(rows)[:, kept],
        np.concatenate(left),
        [p for p in powers if p is not None],
    )


def _powers(name: str) -> tuple[int, int, int] | None:
    """Powers of u and of the covariate, and the derivative's order, by a name such as "u^2u_11".

    None: of no use, as the covariate is constant in space, or alone.
    """
    head, order = name, 0
    if "_" in name:
        head, digits = name.split("_")
        if head[-1] == "c":
            return None
        head, order = head[:-1], len(digits)
    factors = re.findall(r"([uc])(?:\^(\d))?", head)
    power = sum(int(n or 1) for field, n in factors if field == "u")
    own = sum(int(n or 1) for field, n in factors if field == "c")
    if own > 1 or power + order == 0:
        return None
    return power, own, order
