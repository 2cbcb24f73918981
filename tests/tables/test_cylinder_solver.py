"""What benchmarks.cylinder_solver reads off signals that are known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.cylinder_solver import asymmetry, harmonics, period_of

PERIOD = 0.61
TIMES = np.arange(1, 401) * 0.01


def test_the_period_and_the_amplitude_of_a_wave():
    phase = 2 * np.pi * TIMES / PERIOD
    signal = 1.4 + 0.3 * np.sin(phase + 0.7) + 0.1 * np.cos(2 * phase) + 0.02 * np.cos(3 * phase)
    assert period_of(TIMES, signal) == pytest.approx(PERIOD, rel=1e-4)  # linear between samples
    mean, amplitude = harmonics(TIMES, signal, PERIOD)
    assert mean == pytest.approx(1.4)
    assert amplitude == pytest.approx(0.3)


def test_only_the_last_periods_count():
    signal = np.where(TIMES < 2.0, 100.0, np.sin(2 * np.pi * TIMES / PERIOD))
    np.testing.assert_allclose(harmonics(TIMES, signal, PERIOD), (0.0, 1.0), atol=1e-12)


def test_asymmetry_is_what_the_mean_lacks_to_its_mirror_image():
    y = np.array([-0.5, -0.2, 0.2, 0.5])
    phase = 2 * np.pi * np.arange(20) / 20
    u = 1 - y**2 + np.sin(phase)[:, None, None] * np.ones((3, 4))
    v = y + 2 * np.cos(phase)[:, None, None] * np.ones((3, 4))
    u[:, 1, :2] = np.nan  # no field there, nor a mirror image
    np.testing.assert_allclose(asymmetry(np.stack([u, v], 1)), (0.0, 0.0), atol=1e-12)
    tilted = asymmetry(np.stack([u + 0.1 * y, v + 0.3], 1))
    # fluctuations have root mean squares 1/√2 and √2; columns with gaps have no mirror image
    assert tilted[0] == pytest.approx(0.2 * np.sqrt(np.mean(y**2)) * np.sqrt(2))
    assert tilted[1] == pytest.approx(0.6 / np.sqrt(2))
