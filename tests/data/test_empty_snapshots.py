"""Snapshots of which nothing was observed are found, by trajectory and behind a mask."""

from __future__ import annotations

import numpy as np
import pytest

from pyro_msde import Grid, Trajectories
from pyro_msde.data import first_observed, observed_snapshots, since_first_observed

NAN = np.nan


def data_of(*rows):
    """A value a snapshot of the first of five points; the others are missing."""
    values = [np.full((len(row), 5), NAN) for row in rows]
    for value, row in zip(values, rows, strict=True):
        value[:, 0] = row
    return Trajectories([np.arange(len(row)) for row in rows], values, missing="mask")


def test_empty_snapshots_are_left_out_with_their_times():
    data = data_of([NAN, 1, NAN, 2], [3, 4, NAN])
    left = observed_snapshots(data, Grid(5, 5))
    assert [t.tolist() for t in left.times] == [[1, 3], [0, 1]]
    assert [v[:, 0].tolist() for v in left.values] == [[1, 2], [3, 4]]
    assert len(data.times[0]) == 4


def test_complete_data_are_the_same_object():
    data = data_of([1, 2], [3, 4])
    assert observed_snapshots(data, Grid(5, 5)) is data
    assert since_first_observed(data, Grid(5, 5), "data") is data


def test_trajectories_begin_where_something_was_observed():
    data = data_of([NAN, 1, NAN, 2], [3, NAN, 4])
    assert first_observed(data, Grid(5, 5), "data") == [1, 0]
    each = since_first_observed(data, Grid(5, 5), "data")
    assert [t.tolist() for t in each.times] == [[1, 2, 3], [0, 1, 2]]


def test_what_was_observed_off_the_mask_does_not_count():
    sea = np.array([False, True, True, True, True])
    with pytest.raises(ValueError, match=r"data: nothing was observed in trajectory 0 where the g"):
        observed_snapshots(data_of([1, 2]), Grid(5, 5, mask=sea))
