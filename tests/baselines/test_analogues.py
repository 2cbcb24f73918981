from __future__ import annotations

import numpy as np
import pytest

from benchmarks.analogues import followed, nearest_snapshot, period_in
from pyro_msde import Trajectories

POINTS = 11


def wave(num_times, period, growth=0.0, first=0):
    """A wave that travels through 11 points in so many snapshots, (time, 11), beside a mean."""
    t, x = first + np.arange(num_times)[:, None], np.arange(POINTS) / POINTS
    return 3.0 + np.exp(-growth * t) + np.cos(2 * np.pi * (x - t / period))


@pytest.mark.parametrize(("num_times", "period"), [(120, 13), (120, 17.1), (90, 8)])
def test_the_period_is_that_of_the_end(num_times, period):
    assert period_in(wave(num_times, period, growth=0.2)) == round(period)


def test_what_does_not_come_again_has_no_period():
    assert period_in(np.arange(60.0)[:, None] * np.ones(POINTS)) == 1
    assert period_in(np.ones((60, POINTS))) == 1


def test_what_is_followed_goes_on_with_its_last_period():
    longer = wave(200, 13)
    for first in (0, 70, 119, 150):
        np.testing.assert_allclose(
            followed(longer[:120], first, 40), longer[first : first + 40], atol=1e-12
        )


def test_the_nearest_snapshot_is_looked_for_among_all_times():
    train = Trajectories(np.arange(40.0), np.stack([wave(40, 13), 1 + wave(40, 7)]))
    y0 = wave(1, 13, first=5)[0] + 0.01
    assert nearest_snapshot(train, y0, np.arange(2)) in [(0, 5), (0, 18), (0, 31)]
    assert nearest_snapshot(train, y0, np.array([1]))[0] == 1
