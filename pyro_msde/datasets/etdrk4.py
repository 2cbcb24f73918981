"""Exponential time differencing, fourth order: dv/dt = L v + N(v) with diagonal L.

Cox & Matthews (2002) with the coefficients of Kassam & Trefethen (2005, SIAM J. Sci. Comput. 26,
1214-1233), who average over a circle around each L·dt to avoid cancellation at small |L·dt|. The
linear part is exact, so a stiff L (a dispersion or diffusion operator in Fourier or sine space)
does not limit the step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

__all__ = ["ETDRK4", "integrate", "solve_periodic"]

Array = NDArray[Any]
_CIRCLE_POINTS = 64  # a trapezoidal rule of an entire function: rounding only from about 32 on


@dataclass(frozen=True)
class ETDRK4:
    """Coefficients of one step of length `dt`. All of shape (*modes).

    Attributes:
        decay: exp(L dt).
        half_decay: exp(L dt / 2).
        half_step: dt (exp(L dt / 2) − 1) / (L dt), the weight of N in the inner stages.
        first: Weight of N at the start of the step.
        middle: Weight of N at each of the two middle stages.
        last: Weight of N at the last stage.
    """

    decay: Array
    half_decay: Array
    half_step: Array
    first: Array
    middle: Array
    last: Array

    @classmethod
    def of(cls, linear: Array, dt: float) -> ETDRK4:
        """The coefficients (Kassam & Trefethen 2005, eqs. 2.5 and 2.8).

        Args:
            linear: (*modes), the diagonal of L, real or complex.
            dt: Length of a step, > 0, in the units of 1/L.

        Raises:
            ValueError: If `dt` is not positive and finite, or `linear` is not finite.
        """
        linear = np.asarray(linear)
        if not (np.isfinite(dt) and dt > 0):
            raise ValueError(f"dt: {dt} is not a step length. Pass a positive number.")
        if not np.isfinite(linear).all():
            raise ValueError("linear: NaN or infinity in the symbol. Pass finite numbers.")
        z = linear * dt
        angles = 2 * np.pi * (np.arange(_CIRCLE_POINTS) + 0.5) / _CIRCLE_POINTS
        r = z[..., None] + np.exp(1j * angles)
        exp_r = np.exp(r)

        def mean(values: Array) -> Array:
            average = values.mean(axis=-1)
            return np.asarray(dt * (average if np.iscomplexobj(linear) else average.real))

        return cls(
            decay=np.exp(z),
            half_decay=np.exp(z / 2),
            half_step=mean((np.exp(r / 2) - 1) / r),
            first=mean((-4 - r + exp_r * (4 - 3 * r + r**2)) / r**3),
            middle=mean(2 * (2 + r + exp_r * (r - 2)) / r**3),
            last=mean((-4 - 3 * r - r**2 + exp_r * (4 - r)) / r**3),
        )

    def step(self, v: Array, nonlinear: Callable[[Array], Array]) -> Array:
        """One step. v: (..., *modes); `nonlinear` maps (..., *modes) to the same shape."""
        n_v = nonlinear(v)
        half = self.half_decay * v
        a = half + self.half_step * n_v
        n_a = nonlinear(a)
        n_b = nonlinear(half + self.half_step * n_a)
        c = self.half_decay * a + self.half_step * (2 * n_b - n_v)
        weighted = self.first * n_v + self.middle * (n_a + n_b) + self.last * nonlinear(c)
        return np.asarray(self.decay * v + weighted)


def integrate(
    initial: Array,
    linear: Array,
    nonlinear: Callable[[Array], Array],
    *,
    dt: float,
    num_steps: int,
    substeps: int = 1,
) -> Iterator[Array]:
    """The states v(0), v(dt), …, v(num_steps · dt), one by one.

    Args:
        initial: (..., *modes), the state's coefficients; leading axes are a batch.
        linear: (*modes), the diagonal of L.
        nonlinear: N, mapping (..., *modes) to (..., *modes), autonomous.
        dt: Time between two states that are yielded.
        num_steps: Number of states after the first.
        substeps: Steps of the method per `dt`.

    Yields:
        (..., *modes), num_steps + 1 times.

    Raises:
        ValueError: If `dt`, `num_steps`, `substeps` or `linear` is out of range.
        FloatingPointError: If a state is no longer finite.
    """
    if num_steps < 0 or substeps < 1:
        raise ValueError(
            f"num_steps, substeps: got {num_steps} and {substeps}. Pass at least 0 and 1."
        )
    method = ETDRK4.of(linear, dt / substeps)  # checks here, not at the first state
    return _states(np.asarray(initial), method, nonlinear, dt, num_steps, substeps)


def _states(
    v: Array,
    method: ETDRK4,
    nonlinear: Callable[[Array], Array],
    dt: float,
    num_steps: int,
    substeps: int,
) -> Iterator[Array]:
    yield v
    for index in range(1, num_steps + 1):
        for _ in range(substeps):
            v = method.step(v, nonlinear)
        if not np.isfinite(v).all():
            raise FloatingPointError(
                f"the solution is not finite at t={index * dt:.6g}. Use more substeps."
            )
        yield v


def solve_periodic(
    initial: Array,
    linear: Array,
    nonlinear: Callable[[Array], Array],
    *,
    dt: float,
    num_steps: int,
    substeps: int | None,
    longest_step: float = math.inf,
) -> Array:
    """Real fields on a periodic axis: L and N act on the modes of rfft.

    Args:
        initial: (..., x), u(0).
        linear: (x // 2 + 1,), the diagonal of L.
        nonlinear: N, as for `integrate`.
        dt: Time between stored states.
        num_steps: Number of states after the first.
        substeps: Steps of the method per `dt`; None: as few as `longest_step` allows.
        longest_step: In units of time.

    Returns:
        (..., num_steps + 1, x), float64.
    """
    initial = np.asarray(initial, dtype=np.float64)
    num_points = initial.shape[-1]
    if substeps is None:
        substeps = max(1, math.ceil(dt / longest_step - 1e-9))
    states = integrate(
        scipy.fft.rfft(initial), linear, nonlinear, dt=dt, num_steps=num_steps, substeps=substeps
    )
    out = np.empty((*initial.shape[:-1], num_steps + 1, num_points))
    for index, v in enumerate(states):
        out[..., index, :] = scipy.fft.irfft(v, n=num_points)
    out[..., 0, :] = initial
    return out
