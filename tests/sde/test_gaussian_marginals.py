"""The guide's marginals: draws, and what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from oracles.tolerance import standard_errors
from torch.testing import assert_close

from pyro_msde.data import StratifiedQuadrature
from pyro_msde.sde import GaussianMarginals, Moments

EDGES = torch.tensor([[0.0, 0.5, 0.7, 2.0], [1.0, 1.2, 2.2, 2.5]], dtype=torch.float64)
MEAN = torch.tensor([1.0, -0.5, 0.3], dtype=torch.float64)
SPREAD = np.array([[0.5, 0.1, 0.0], [0.4, 0.8, 0.0], [-0.3, 0.2, 1.0]])


def marginals(dense=False):
    """Mean MEAN t, constant covariance; (segment 2, time 4, latent 3)."""
    full = SPREAD @ SPREAD.T
    cov = torch.tensor(full if dense else np.diag(full).copy())

    def moments(at):
        shape = (*at.shape, 3)
        wide = cov.expand(*at.shape, *cov.shape)
        return Moments(MEAN * at[..., None], MEAN.expand(shape), wide, torch.zeros_like(wide))

    density = torch.ones(2, 3, dtype=torch.float64)
    return GaussianMarginals(EDGES, moments, StratifiedQuadrature(EDGES, density))


def test_marginals_have_no_path_density_and_say_so():
    q = marginals()
    message = "no path density: its draws are marginals.*MultiscaleELBO"
    with pytest.raises(TypeError, match=message):
        q.log_prob(q.rsample())


def test_marginals_do_not_expand_to_other_batches():
    q = marginals()
    assert q.expand((2,)) is q
    with pytest.raises(ValueError, match=r"\(5,\) asked of the marginals of \(2,\) segments"):
        q.expand((5,))


@pytest.mark.parametrize("dense", [False, True])
def test_draws_of_the_marginals_have_their_moments(dense):
    draws = 20_000
    q = marginals(dense)
    cov = SPREAD @ SPREAD.T if dense else np.diag(np.diag(SPREAD @ SPREAD.T))
    assert q.batch_shape == (2,)
    assert q.event_shape == (4, 3)
    assert_close(q.variance, torch.tensor(np.diag(cov).copy()).expand(2, 4, 3))
    z = q.rsample((draws,))
    assert z.shape == (draws, 2, 4, 3)
    width = standard_errors(24 + 2 * 4 * 9 + 24)
    error = (z.mean(0) - q.mean) * math.sqrt(draws) / q.variance.sqrt()
    assert error.abs().max() < width
    for row in range(2):
        for time in range(4):
            sample = np.cov(z[:, row, time].T.numpy())
            scale = np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / draws)
            assert (np.abs(sample - cov) / scale).max() < width
    # draws at different times are independent
    across = (z[:, :, 0] - q.mean[:, 0]) * (z[:, :, 2] - q.mean[:, 2])
    independent = across.mean(0) * math.sqrt(draws) / q.variance[:, 0]
    assert independent.abs().max() < width
