"""Test trajectories cut as in training: every snapshot has its place in one segment."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from linear_fits import SCALE, linear_fit
from problems import tiny_data, tiny_pair
from torch.testing import assert_close

from pyro_msde import Trajectories, fit, load
from pyro_msde.data.segmentation import Cut, cut, duration_of, picks_by_segment, segments_of


@pytest.mark.parametrize("count", [*range(2, 40), 253, 256, 257, 1001])
@pytest.mark.parametrize(("length", "stride"), [(64, 4), (5, 3), (2, 1), (7, 1)])
def test_each_snapshot_is_an_observation_of_one_segment(count, length, stride):
    found = SimpleNamespace(training=SimpleNamespace(segment=(length, (length - 1) * stride * 0.1)))
    how = cut(found, 3.0 + 0.1 * np.arange(count))
    assert how.length >= 2
    picks = np.arange(count)
    found = picks_by_segment(count, how, picks)
    assert np.array_equal(np.sort(np.concatenate(list(found.values()))), picks)
    for start, places in found.items():
        observations = start + how.stride * np.arange(how.length)
        assert start >= 0
        assert observations[-1] < count
        assert set(picks[places]) <= set(observations)


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [
        (0.001, Cut(64, 4)),  # as in training
        (0.004, Cut(64, 1)),  # of the snapshots in training every fourth
        (0.01, Cut(26, 1)),  # coarser: as long, with fewer observations
        (0.0005, Cut(64, 8)),
    ],
)
def test_segments_last_as_long_as_in_training(spacing, expected):
    found = SimpleNamespace(training=SimpleNamespace(segment=(64, 0.252)))
    assert cut(found, spacing * np.arange(1001)) == expected


def test_a_fit_that_does_not_know_its_segments_is_taken_for_the_default():
    found = SimpleNamespace(training=SimpleNamespace(segment=None))
    test = Trajectories(np.arange(300) * 0.5, np.zeros((1, 300, 3)))
    assert cut(found, test.times[0]) == Cut(64, 4)
    assert duration_of(found, test) == pytest.approx(63 * 4 * 0.5)
    assert cut(found, test.times[0][:1]) is None


def test_segments_are_the_trajectory_in_scaled_units():
    found = linear_fit().fit
    test = tiny_data((9, 12))
    segments = segments_of(found, test, 1, Cut(4, 2))
    assert_close(segments.values[0][:].numpy()[:, 0], test.values[1].astype(float) / SCALE)
    assert_close(segments.times[0].numpy(), test.times[1] / found.scaling.time)
    assert [batch.values.shape[1] for _, batch in segments.in_order()] == [4, 4]


def test_a_fit_knows_its_segments_and_a_saved_one_too(tmp_path):
    pair = tiny_pair(0)
    data = tiny_data()  # every 0.05
    result = fit(*pair, data, steps=1, length=6, stride=2, num_nodes=9, progress=False)
    assert result.training.segment == (6, pytest.approx(5 * 2 * 0.05))
    result.save(tmp_path)
    assert load(tmp_path, *pair).training.segment == result.training.segment
    assert cut(result, data.times[0]) == Cut(6, 2)
