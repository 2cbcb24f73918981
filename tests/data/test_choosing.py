from __future__ import annotations

import numpy as np
import pytest

from pyro_msde.data import evenly_spaced, nearest


def test_both_ends_are_among_evenly_spaced_ones():
    assert evenly_spaced(9, 3).tolist() == [0, 4, 8]
    assert evenly_spaced(3, 9).tolist() == [0, 1, 2]
    assert evenly_spaced(5, 1).tolist() == [0]
    steps = np.diff(evenly_spaced(1000, 64))
    assert set(steps) == {15, 16}  # 999 / 63 = 15.9
    with pytest.raises(ValueError, match="times: 0 snapshots"):
        evenly_spaced(5, 0)


def test_nearest_ones_come_once_and_in_order():
    x = np.array([5.0, 3.0, 2.0, 0.0])
    assert nearest(x, [0.1, 2.4, 2.2, 9.0]).tolist() == [0, 2, 3]
