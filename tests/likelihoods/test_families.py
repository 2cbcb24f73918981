"""What families are for: outliers under Student's t, and where Σ_y has no closed form."""

from __future__ import annotations

import pytest
import torch
from problems import tiny_model

from pyro_msde.inference import has_observation_variances
from pyro_msde.likelihoods import FieldNormal, laplace, student


def estimates(family, y):
    """Mean and standard deviation by maximum likelihood."""
    mean, log = (torch.nn.Parameter(torch.zeros((), dtype=torch.float64)) for _ in range(2))
    optimiser = torch.optim.Adam([mean, log], 0.05)
    for _ in range(400):
        optimiser.zero_grad()
        loss = -family(mean, (2 * log).exp()).log_prob(y).mean()
        loss.backward()
        optimiser.step()
    return mean.item(), log.exp().item()


def test_outliers_hardly_move_students_law():
    """2000 values of width .1 about 1, one in thirty at 20.

    The median's standard error is .003; outliers move the normal's mean by .63.
    """
    y = 1 + 0.1 * torch.randn(2000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y[::30] = 20.0
    robust, plain = estimates(student, y), estimates(FieldNormal, y)
    assert robust[0] == pytest.approx(1.0, abs=0.02)
    assert robust[1] < 0.3
    assert plain[0] > 1.5
    assert plain[1] > 3


@pytest.mark.parametrize("family", [student, laplace])
def test_the_closed_form_of_the_variance_is_the_normals_only(family):
    assert has_observation_variances(tiny_model(1))
    assert not has_observation_variances(tiny_model(1, likelihood=family))
