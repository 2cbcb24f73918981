"""Scores of single snapshots from draws, intervals and probabilities.

Draws are (sample, batch, time, *field), the truth y and what is shaped like it (batch, time,
*field). "Fair" scores pair different draws only, so that their expectation does not depend on how
many there are (Ferro 2014, doi:10.1002/qj.2270); they can come out slightly negative. Draws that
were made as each other's opposite are further apart than others, and no such pair.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro.ops.stats import crps_empirical, energy_score_empirical
from torch import Tensor

__all__ = [
    "fair_crps",
    "fair_energy",
    "interval_score",
    "opposites_of",
    "pit_histogram",
    "power_of_two",
]

MOST_DISTANCES = 2**22  # between draws, held at once


def opposites_of(forecast: Any) -> Tensor | None:
    """Of its draws, as for `fair_crps`; None: they are independent, as those of others may be."""
    found: Tensor | None = getattr(forecast, "opposites", None)
    return found


def fair_crps(draws: Tensor, y: Tensor, opposites: Tensor | None = None) -> Tensor:
    """E|x − y| − ½ E|x − x'| at each point, shaped as y.

    Args:
        draws: (sample, batch, time, *field).
        y: (batch, time, *field).
        opposites: (sample,) which draw was made as the opposite of each, itself if none was; None:
            all are independent.

    Raises:
        ValueError: Less than two draws.
    """
    n = _at_least_two(draws, "CRPS")
    score: Tensor = crps_empirical(draws, y)
    apart = None if opposites is None else (draws - draws[opposites]).abs().sum(0)
    return _fair(score, (draws - y).abs().mean(0), n, opposites, apart)


def fair_energy(
    draws: Tensor, y: Tensor, weights: Tensor | None = None, opposites: Tensor | None = None
) -> Tensor:
    """Energy score E‖x − y‖ − ½ E‖x − x'‖ of whole fields, (batch, time).

    ‖·‖ is the root mean square over the field, so the score is in its units and does not grow with
    the number of points (Gneiting & Raftery 2007, eq. 22, doi:10.1198/016214506000001437).

    Args:
        draws: (sample, batch, time, *field).
        y: (batch, time, *field).
        weights: Of the squares in the mean, of sum one over the field, broadcast against y; None:
            all alike.
        opposites: As for `fair_crps`.

    Raises:
        ValueError: Less than two draws.
    """
    n = _at_least_two(draws, "energy score")
    centre = draws.mean(0)  # distances are differences of squares, which are to be small
    apart, off = draws - centre, y - centre
    if weights is not None:
        root = (weights * y[0, 0].numel()).sqrt()
        apart, off = apart * root, off * root
    x = apart.flatten(3).flatten(1, 2).movedim(0, 1)
    z = off.flatten(2).flatten(0, 1)
    unit = power_of_two(torch.maximum(x.abs().amax((1, 2)), z.abs().amax(1)))
    x, z = x / unit[:, None, None], z / unit[:, None]
    size = max(1, MOST_DISTANCES // n**2)
    scores = [
        _fair(
            energy_score_empirical(a, b),
            torch.cdist(a, b[:, None])[..., 0].mean(1),
            n,
            opposites,
            None if opposites is None else (a - a[:, opposites]).norm(dim=-1).sum(1),
        )
        for a, b in zip(x.split(size), z.split(size), strict=True)
    ]
    return (torch.cat(scores) * unit).reshape(y.shape[:2]) / math.sqrt(z.shape[1])


def interval_score(low: Tensor, high: Tensor, y: Tensor, level: float) -> Tensor:
    """Winkler's score at each point: the width, and 2/(1 − level) times how far y is outside.

    Smallest on average for the central interval of the true law (Gneiting & Raftery 2007, eq. 43).
    """
    outside = (low - y).clamp(min=0) + (y - high).clamp(min=0)
    return high - low + 2 / (1 - level) * outside


def pit_histogram(probability: Tensor, bins: int, weights: Tensor | None = None) -> Tensor:
    """(batch, time, bins) shares of the field with PIT in equal parts of [0, 1].

    Args:
        probability: (batch, time, *field).
        bins: How many parts.
        weights: As for `fair_energy`.
    """
    place = (probability.flatten(2) * bins).long().clamp(0, bins - 1)
    counts = torch.zeros(*place.shape[:2], bins, dtype=torch.float64)
    if weights is not None:
        return counts.scatter_add_(2, place, weights.expand(probability.shape).flatten(2))
    counts.scatter_add_(2, place, torch.ones_like(place, dtype=torch.float64))
    return counts / place.shape[2]


def power_of_two(sizes: Tensor) -> Tensor:
    """Powers of two near sizes, 1 for zero: to divide by without rounding before squares are taken.

    NaN or infinite where these are.
    """
    least, most = torch.finfo(sizes.dtype).tiny * 4, torch.finfo(sizes.dtype).max / 4
    exponent = torch.frexp(sizes.clamp(least, most)).exponent
    powers = torch.ldexp(torch.ones_like(sizes), exponent)
    return torch.where(sizes.isfinite(), torch.where(sizes > 0, powers, 1.0), sizes)


def _at_least_two(draws: Tensor, name: str) -> int:
    n = len(draws)
    if n < 2:
        raise ValueError(
            f"fc: {n} draw, but the {name} needs pairs. Predict with num_samples >= 2."
        )
    return n


def _fair(
    score: Tensor,
    error: Tensor,
    n: int,
    opposites: Tensor | None,
    apart: Tensor | None,
) -> Tensor:
    """From error − ½ Σ‖x − x'‖/n², with n pairs of equal draws, to the sum over independent ones.

    Args:
        score: The former.
        error: Mean of ‖x − y‖.
        n: Draws.
        opposites: As for `fair_crps`.
        apart: Sum of their distances.
    """
    if opposites is None or apart is None:
        return score - (error - score) / (n - 1)
    pairs = n * n - n - int((opposites != torch.arange(n)).sum())
    if not pairs:  # two draws, of which one is the opposite
        return score - (error - score) / (n - 1)
    return error - 0.5 * (2 * n * n * (error - score) - apart) / pairs
