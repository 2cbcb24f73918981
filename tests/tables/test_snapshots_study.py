"""The study of several snapshots: the exact filter that it compares with."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from oracles.kalman import LinearSystem, Smoother

from benchmarks.studies import snapshots
from pyro_msde.datasets.gle import DIFFUSION, DRIFT, GLE, modes, points


@pytest.mark.parametrize("gap", [False, True])
def test_its_kalman_filter_is_that_of_the_equation(gap):
    basis, rng = modes(points()), np.random.default_rng(0)
    fields = rng.standard_normal((2, 4, basis.shape[1]))
    seen = np.arange(basis.shape[1]) >= (9 if gap else 0)
    H = basis.T[seen]
    noise = snapshots.NOISE**2 * np.eye(len(H))
    system = LinearSystem(DRIFT, DIFFUSION, H, noise, np.zeros(3), 100.0 * np.eye(3))
    found = snapshots.exact(np.where(seen, fields, np.nan), basis)
    for mean, series in zip(found, fields[..., seen], strict=True):
        expected = Smoother(system, GLE.dt * np.arange(4), series).filtered[-1][0]
        assert_allclose(mean, expected, rtol=1e-8)
