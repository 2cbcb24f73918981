"""The benchmark of shedding reads frequencies that are known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.shedding import last_period, probe


def fields(times, rate):
    """v turns at a rate that changes from half of it, u is noise."""
    out = np.random.default_rng(0).standard_normal((len(times), 2, 320, 1)).repeat(80, -1)
    phase = np.where(times < 3, 0.5 * rate * times, rate * times)
    out[:, 1] = np.sin(phase)[:, None, None]
    return out


@pytest.mark.parametrize("period", [0.61, 0.47])
def test_the_last_periods_count(period):
    times = np.arange(801) * 0.01
    signal = probe(fields(times, 2 * np.pi / period))
    assert last_period(times, signal, 3) == pytest.approx(period, rel=1e-3)
