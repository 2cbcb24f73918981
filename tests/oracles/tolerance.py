"""Widths of statistical tolerances."""

from __future__ import annotations

from scipy.stats import norm


def standard_errors(comparisons: int, false_alarms: float = 2e-5) -> float:
    """Standard errors to allow each of `comparisons` two-sided comparisons of a test.

    All together then fail by chance at most at the rate `false_alarms` (union bound), by which the
    seeds that tests fix were drawn.
    """
    return float(norm.isf(false_alarms / (2 * comparisons)))
