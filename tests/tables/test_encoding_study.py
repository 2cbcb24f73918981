"""The study of encoding alone: matrices of a fit that is linear throughout."""

from __future__ import annotations

import numpy as np
import pytest
from linear_fits import linear_fit
from problems import tiny_data

from benchmarks.studies.encoding import encoding_error


def test_it_is_the_distance_from_what_is_decoded_of_the_encoded_mean():
    linear, data = linear_fit(), tiny_data(seed=3)
    expected = []
    for (y,) in (one.values for one in data):
        miss = y - y @ linear.E.T @ linear.H.T
        ratios = np.square(miss).sum(-1) / np.square(y).sum(-1)
        expected.append(np.sqrt(ratios.mean()))
    assert encoding_error(linear.fit, data) == pytest.approx(np.mean(expected), rel=1e-6)
