"""Integration of dz = [L z + N(z, t)] dt + noise where L is stiff and its exponential is known.

Exponential time differencing of fourth order (Cox & Matthews, J. Comput. Phys. 176, 2002), its
coefficients by means over a circle (Kassam & Trefethen, SIAM J. Sci. Comput. 26, 2005): the step
follows N, not the fastest decay of L. L is diagonal in waves, zero on what waves lack. Within a
step the noise is a constant force, as it is in the other rules. What lies outside the region where
the drift was learned is drawn back after each step by the exact solution of z' = −ρ (z − P z).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_msde.networks import LinearPart
from pyro_msde.sde.axes import turned_back
from pyro_msde.sde.integration import MOST_STEPS
from pyro_msde.sde.opposite_pairs import in_opposite_pairs

__all__ = ["STABLER", "ConfinedDrift", "integrate_exponentially"]

STABLER = 4.0  # the longest step that is stable beside N, against that of the midpoint rule

_CIRCLE = 16  # points of the contour


@dataclass(frozen=True)
class ConfinedDrift:
    """A drift γ(P z) − ρ (z − P z), called as a `Drift`, whose parts can be integrated apart.

    Attributes:
        inner: γ.
        project: P, from states to states.
        pull: ρ, per training horizon.
    """

    inner: Callable[..., Tensor]
    project: Callable[[Tensor], Tensor]
    pull: float

    def __call__(self, z: Tensor, t: Tensor, **fixed: Any) -> Tensor:
        """The drift, with what else it takes."""
        inside = self.project(z)
        return self.inner(inside, t, **fixed) - self.pull * (z - inside)


def integrate_exponentially(
    drift: Callable[[Tensor, Tensor], Tensor],
    linear: LinearPart,
    diffusion: Tensor,
    start: Tensor,
    times: Tensor,
    *,
    max_step: float,
    project: Callable[[Tensor], Tensor] | None = None,
    pull: float = 0.0,
    axes: Tensor | None = None,
    generator: torch.Generator | None = None,
    opposed: int = 0,
) -> Tensor:
    """Paths of the SDE at the given times.

    Args:
        drift: L z + N(z, t) with z (sample, row, 1, latent) and t (row, 1) float64.
        linear: L.
        diffusion: (latent,) diagonal of C, along `axes`.
        start: (sample, row, latent) z(t₀).
        times: (row, time) float64, increasing.
        max_step: Longest step in the units of the times.
        project: P; None: all states are inside.
        pull: ρ.
        axes: (latent, latent) in whose columns C is diagonal; None: the states.
        generator: Of the CPU, for the noise; None: torch's own.
        opposed: As for `integrate`.

    Returns:
        (sample, row, time, latent).

    Raises:
        ValueError: That would be more than 100 000 steps.
    """
    lasts = float((times[:, -1] - times[:, 0]).max())
    if not lasts <= MOST_STEPS * max_step:
        raise ValueError(
            f"times: a path over {lasts:.4g} training horizons takes {lasts / max_step:,.0f} steps "
            f"of at most {max_step:.3g} each, and {MOST_STEPS:,} are the most. Ask for times less "
            "far from t0, or for longer steps (max_step)."
        )
    z = start[..., None, :]
    noisy = bool(diffusion.any())
    scale = diffusion.sqrt()
    blocks = opposed or 1
    half = ((blocks + 1) // 2, len(start) // blocks, *z.shape[1:])
    rates = linear.rates[:, None]

    def nonlinear(z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """N, and L z within the region."""
        inside = z if project is None else project(z)
        stiff = linear.of(inside)
        return drift(inside, t) - stiff, stiff

    found: list[Tensor] = [start]
    known: dict[tuple[float, ...], tuple[Tensor, ...]] = {}
    for first, last, count in _spans(times, max_step, together=not noisy):
        clock = times[:, first : first + 1]
        h = (times[:, last : last + 1] - clock) / count
        key = tuple(h[:, 0].tolist())
        if key not in known:
            known = {key: _coefficients(linear.rates, h[:, 0])}
        E, E2, Q, f1, f2, f3 = known[key]
        step = h[..., None].to(z.dtype)  # (row, 1, 1)
        half_step = 0.5 * h.to(z.dtype).reshape(-1, 1, *(1,) * (rates.ndim - 2))  # of amplitudes
        for i in range(count):
            t = clock + i * h
            force: Tensor | float = 0.0
            if noisy:
                kick = torch.randn(half, generator=generator, dtype=torch.float32).to(z)
                kick = in_opposite_pairs(kick, blocks).flatten(0, 1) if opposed else kick[0]
                force = turned_back(scale * kick, axes) / step.sqrt()
            before, amplitudes = z, linear.to_waves(z)
            Na, stiff = nonlinear(z, t)
            slope, Na = Na + stiff + force, Na + force
            Wa = linear.to_waves(Na)
            a = z + step / 2 * Na + linear.from_waves(E2 * amplitudes + Q * Wa)
            Nb = nonlinear(a, t + h / 2)[0] + force
            Wb = linear.to_waves(Nb)
            b = z + step / 2 * Nb + linear.from_waves(E2 * amplitudes + Q * Wb)
            Nc = nonlinear(b, t + h / 2)[0] + force
            Wc = linear.to_waves(Nc)
            at_a = E2 * amplitudes + amplitudes + (Q + half_step) * Wa
            c = a + step / 2 * (2 * Nc - Na)
            c = c + linear.from_waves(E2 * at_a + Q * (2 * Wc - Wa))
            Nd = nonlinear(c, t + h)[0] + force
            Wd = linear.to_waves(Nd)
            z = z + step / 6 * (Na + 2 * (Nb + Nc) + Nd)
            z = z + linear.from_waves(E * amplitudes + f1 * Wa + f2 * (Wb + Wc) + f3 * Wd)
            if project is not None:
                inside = project(z)
                z = inside + (z - inside) * (-pull * step).exp()
        if last > first + 1:
            after = sum(nonlinear(z, t + h)) + force
            share = ((times[:, first + 1 : last] - clock) / h).to(z)[..., None]
            found += _between(before, z, step * slope, step * after, share).unbind(-2)
        found.append(z[..., 0, :])
    return torch.stack(found, -2)


def _spans(times: Tensor, max_step: float, together: bool) -> Iterator[tuple[int, int, int]]:
    """From which time to which, in how many steps.

    Several times lie within a step that is long, if they may: between them a path has no noise.
    """
    most = max_step * (1 + 1e-9)
    first, end = 0, times.shape[-1] - 1
    while first < end:
        last = first + 1
        while (
            together and last < end and float((times[:, last + 1] - times[:, first]).max()) <= most
        ):
            last += 1
        gap = float((times[:, last] - times[:, first]).max())
        yield first, last, max(1, math.ceil(gap / most))
        first = last


def _between(before: Tensor, after: Tensor, early: Tensor, late: Tensor, share: Tensor) -> Tensor:
    """Hermite's cubic at shares (row, time, 1) of a step, by ends and changes at their rates."""
    s = share
    return (
        (1 + 2 * s) * (1 - s) ** 2 * before
        + s**2 * (3 - 2 * s) * after
        + s * (1 - s) ** 2 * early
        - s**2 * (1 - s) * late
    )


def _coefficients(rates: Tensor, steps: Tensor) -> tuple[Tensor, ...]:
    """Of amplitudes, less those of states that L leaves alone: (row, 1, *waves) each."""
    ones = (1,) * (rates.ndim - 1)
    h = steps.to(rates.device).reshape(-1, *ones).to(torch.complex128)
    x = rates.to(torch.complex128) * h
    turn = torch.exp(2j * math.pi * (torch.arange(_CIRCLE, device=x.device) + 0.5) / _CIRCLE)
    r = x[..., None] + turn
    e = r.exp()
    Q = h * ((r / 2).exp() - 1).div(r).mean(-1)
    f1 = h * (-4 - r + e * (4 - 3 * r + r**2)).div(r**3).mean(-1)
    f2 = h * (2 + r + e * (r - 2)).div(r**3).mean(-1)
    f3 = h * (-4 - 3 * r - r**2 + e * (4 - r)).div(r**3).mean(-1)
    parts = (x.exp() - 1, (x / 2).exp() - 1, Q - h / 2, f1 - h / 6, 2 * f2 - h / 3, f3 - h / 6)
    dtype = rates.dtype
    return tuple(part.to(dtype)[:, None] for part in parts)
