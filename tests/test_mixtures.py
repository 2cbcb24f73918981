"""Quantiles of mixtures whose distribution function is flat and steep in turns."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import norm

from pyro_msde.mixtures import Mixture

FAR = (-7.0, 0.5, 3.0)  # centres of three groups, hundreds of standard deviations apart


@pytest.mark.parametrize("level", [0.01, 0.3, 0.34, 0.6, 0.99])
@pytest.mark.parametrize("sd", [0.01, 1e-4])
def test_quantiles_in_narrow_peaks_far_apart(level, sd, dtype):
    """A third of the probability is in each, so the quantile is one of a single normal."""
    means = torch.tensor(FAR, dtype=dtype).reshape(3, 1, 1, 1, 1).expand(3, 4, 1, 2, 5)
    variances = torch.full((3, 1, 1, 1, 5), sd**2, dtype=dtype)
    found = Mixture(slice(0, 2), means, variances).quantile(level)
    group = int(3 * level)
    exact = FAR[group] + sd * norm.ppf(3 * level - group)
    # the search's 1/40,000 of a standard deviation, float32's rounding of values up to 7, and of
    # the distribution function, 1e-7 over a density of at least .02 / sd
    allowed = 1e-9 if dtype == torch.float64 else 3e-5 * sd + 1e-6 + 1e-5 * sd
    assert found.shape == (1, 2, 5)
    assert (found - exact).abs().max().item() < allowed


def test_anywhere_in_a_gap_is_the_median_of_two_peaks():
    means = torch.tensor([-2.0, 3.0]).reshape(1, 2, 1, 1, 1)
    mixture = Mixture(slice(0, 1), means, torch.full((1, 1, 1, 1, 1), 1e-6))
    found = mixture.quantile(0.5)
    assert mixture.cdf(found).item() == pytest.approx(0.5, abs=1e-6)  # float32
