"""Blocks of time of a single trajectory: how many, and where they meet."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import tiny_data, tiny_pair

from pyro_msde import Fit, Trajectories
from pyro_msde.data import Scaling, time_blocks
from pyro_msde.data.time_blocks import num_blocks
from pyro_msde.runs import TrainingRecord


@pytest.mark.parametrize(("intervals", "memory"), [(1300, 12.0), (400, 31.0), (90, 1.0)])
def test_their_number_has_the_least_error_of_all(intervals, memory):
    """Squared bias and variance together, at every number there may be."""
    n = np.arange(1, intervals)
    error = (memory * n / intervals) ** 2 + 2 / n
    found = num_blocks(intervals, memory)
    assert found == n[error.argmin()]
    assert intervals / found >= memory


def test_there_are_two_at_least_and_a_hundred_at_most():
    assert num_blocks(2, 1) == num_blocks(1000, 500) == 2
    assert num_blocks(10**6, 1) == 100


def test_a_wave_s_blocks_are_about_a_period_long():
    """27 periods: cos x falls below 1/e at .19 of a period, so that there are as many blocks."""
    times = 0.1 * np.arange(27 * 50 + 1)
    wave = np.cos(2 * np.pi * (times[:, None] / 5.0 - np.arange(30) / 30))
    edges = blocks_of(Trajectories([times], [wave]))
    assert len(edges) + 1 == pytest.approx(27, abs=1)  # .19 periods are 9.4 snapshots


def blocks_of(data, length=3, unit=0.5):
    """Of a fit to segments of `length` observations, in units of time of `unit`."""
    spacing = float(np.median(np.diff(data.times[0])))
    record = TrainingRecord(segment=(length, (length - 1) * spacing))
    return time_blocks(Fit(*tiny_pair(0), Scaling((1.0,), unit), training=record), data)


def test_blocks_have_equally_many_snapshots():
    data = tiny_data((201,), irregular=True)
    edges = blocks_of(data)
    assert edges.dtype == torch.float64
    at = np.searchsorted(data.times[0] / 0.5, edges.numpy())
    assert np.array_equal(data.times[0][at] / 0.5, edges.numpy())
    sizes = np.diff([0, *at, 200])
    assert sizes.max() - sizes.min() <= 1


def test_blocks_are_no_shorter_than_from_one_observation_to_the_next():
    """White noise forgets at once, but of segments with every 20th snapshot no more is known."""
    data = Trajectories(
        [0.1 * np.arange(201)], [np.random.default_rng(0).standard_normal((201, 30))]
    )
    sparse = Fit(
        *tiny_pair(0), Scaling((1.0,), 0.5), training=TrainingRecord(segment=(3, 2 * 20 * 0.1))
    )
    assert len(time_blocks(sparse, data)) + 1 == num_blocks(200, 20)
    assert len(blocks_of(data)) + 1 == num_blocks(200, 1)


def test_several_trajectories_have_none_and_two_snapshots_are_too_few():
    assert blocks_of(tiny_data((17, 9))) is None
    with pytest.raises(ValueError, match="train: a single trajectory of 2 snapshots"):
        blocks_of(tiny_data((2,)), length=2)
    assert len(blocks_of(tiny_data((3,)), length=2)) == 1
