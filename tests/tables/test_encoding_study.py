"""The study of encoding alone: matrices of a fit that is linear throughout."""

from __future__ import annotations

import numpy as np
import pytest
from linear_fits import SCALE, linear_fit
from problems import tiny_data

from benchmarks.studies.encoding import encoding_error


def test_it_is_the_distance_from_what_is_decoded_of_the_encoded_mean():
    linear, data = linear_fit(), tiny_data(seed=3)
    errors, missed = [], []
    for (y,) in (one.values for one in data):
        miss = np.square(y - y @ linear.E.T @ linear.H.T)
        errors.append(np.sqrt((miss.sum(-1) / np.square(y).sum(-1)).mean()))
        missed.append(miss.mean())
    error, spread = encoding_error(linear.fit, data)
    assert error == pytest.approx(np.mean(errors), rel=1e-6)
    claimed = SCALE**2 * linear.var.mean()
    assert spread == pytest.approx(np.sqrt(claimed / np.mean(missed)), rel=1e-6)
