"""Probabilities of quantiles and intervals: what may be asked, and of how many draws."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

__all__ = ["check_draws", "check_level", "check_levels"]


def check_level(name: str, level: Any) -> None:
    """One probability.

    Raises:
        ValueError: It is not one number inside (0, 1).
    """
    real = isinstance(level, numbers.Real) and not isinstance(level, np.timedelta64)
    if not real or not 0 < float(level) < 1:
        raise ValueError(f"{name}={level}: give one number inside (0, 1), such as 0.9.")


def check_levels(name: str, levels: Any) -> None:
    """Some probabilities.

    Raises:
        ValueError: There are none, or one is not inside (0, 1).
    """
    if not len(levels):
        raise ValueError(f"{name}: empty. Pass some inside (0, 1), such as [0.5, 0.9].")
    for level in levels:
        check_level(name, level)


def check_draws(name: str, level: float, num_samples: int) -> None:
    """At least one draw on either side of the central interval, on average.

    Raises:
        ValueError: There are fewer.
    """
    needed = int(np.ceil(2 / (1 - level) - 1e-9))
    if num_samples < needed:
        raise ValueError(
            f"{name}: {level:g} needs the {50 * (1 - level):.3g} % quantile, which takes {needed} "
            f"draws, but the forecast has {num_samples}. Predict with num_samples >= {needed}, or "
            "ask for smaller levels."
        )
