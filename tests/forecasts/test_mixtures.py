"""Normals at each point, and their mixture: densities, draws, quantiles, windows of a forecast."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from named_fields import plane_data, plane_fit
from scipy.stats import norm
from torch.testing import assert_close

from pyro_msde.forecasts import posterior_predictive as forecasting
from pyro_msde.forecasts.mixtures import Mixture
from pyro_msde.likelihoods import FieldNormal, laplace, student

UNIT = torch.ones(1, 1, dtype=torch.float64)
FAR = (-7.0, 0.5, 3.0)  # centres of three groups, hundreds of standard deviations apart


def normals(means, variances) -> Mixture:
    """Of means (θ, path, batch, time, x) and variances (θ, 1, 1, 1, x), without a channel axis."""
    pairs = zip(means.unsqueeze(-2), variances.unsqueeze(-2), strict=True)
    laws = [FieldNormal(mean, var[0, 0, 0]) for mean, var in pairs]
    return Mixture(slice(means.shape[3]), laws, UNIT, has_channel=False)


def drawn() -> tuple[Mixture, np.ndarray, np.ndarray]:
    """3 θ, 5 paths, 2 trajectories, 4 times, 7 points."""
    rng = np.random.default_rng(0)
    means = rng.standard_normal((3, 5, 2, 4, 7))
    var = rng.uniform(0.1, 1.0, (3, 1, 1, 1, 7))
    return normals(torch.as_tensor(means), torch.as_tensor(var)), means, var


def test_the_density_of_each_draw_is_normal():
    law, means, var = drawn()
    y = np.random.default_rng(1).standard_normal((2, 4, 7))
    expected = norm.logpdf(y, means, np.sqrt(var)).reshape(15, 2, 4, 7)
    assert_close(law.log_density(torch.as_tensor(y)), torch.as_tensor(expected))


def test_draws_follow_their_own_normal():
    """Standardised by their own draw's mean and variance they are standard normal, all of them."""
    law, means, var = drawn()
    draws = law.sample(torch.Generator().manual_seed(2)).numpy()
    z = (draws.reshape(means.shape) - means) / np.sqrt(var)
    n = z.size  # 840
    assert abs(z.mean()) < 4 / n**0.5  # four standard errors
    assert abs(z.var() - 1) < 4 * (2 / n) ** 0.5


def test_mixtures_that_are_not_kept_are_the_same(monkeypatch):
    data = plane_data()
    fc = plane_fit().predict(data.values[0][:1], data.times[0], num_samples=3)
    monkeypatch.setattr(forecasting, "_CHUNK", 1)  # one time a chunk
    passed = list(fc.mixtures(keep=False))
    assert [law.where for law in passed] == [slice(i, i + 1) for i in range(5)]
    assert not fc._kept
    assert torch.equal(torch.cat([law.mean for law in passed], 1), fc.mean)
    assert len(fc._kept) == 5
    pairs = zip(fc.mixtures(keep=False), fc._kept, strict=True)
    assert all(law is kept for law, kept in pairs)
    with pytest.warns(FutureWarning, match="windows is called mixtures"):
        assert next(fc.windows()) is fc._kept[0]


@pytest.mark.parametrize("level", [0.01, 0.3, 0.34, 0.6, 0.99])
@pytest.mark.parametrize("sd", [0.01, 1e-4])
def test_quantiles_in_narrow_peaks_far_apart(level, sd, dtype):
    """A third of the probability is in each, so the quantile is one of a single normal."""
    means = torch.tensor(FAR, dtype=dtype).reshape(3, 1, 1, 1, 1).expand(3, 4, 1, 2, 5)
    variances = torch.full((3, 1, 1, 1, 5), sd**2, dtype=dtype)
    found = normals(means, variances).quantile(level)
    group = int(3 * level)
    exact = FAR[group] + sd * norm.ppf(3 * level - group)
    # the search's 1/40,000 of a standard deviation, float32's rounding of values up to 7, and of
    # the distribution function, 1e-7 over a density of at least .02 / sd
    allowed = 1e-9 if dtype == torch.float64 else 3e-5 * sd + 1e-6 + 1e-5 * sd
    assert found.shape == (1, 2, 5)
    assert (found - exact).abs().max().item() < allowed


def test_anywhere_in_a_gap_is_the_median_of_two_peaks():
    means = torch.tensor([-2.0, 3.0]).reshape(1, 2, 1, 1, 1)
    mixture = normals(means, torch.full((1, 1, 1, 1, 1), 1e-6))
    found = mixture.quantile(0.5)
    assert mixture.cdf(found).item() == pytest.approx(0.5, abs=1e-6)  # float32


FAMILIES = {
    "laplace": (laplace, lambda m, sd: scipy.stats.laplace(m, sd / 2**0.5)),
    "student": (student, lambda m, sd: scipy.stats.t(4, m, sd / 2**0.5)),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_mixtures_of_other_families_are_scipys(name):
    """In the user's units, 5 of the model's: 2 θ with 3 paths each, channels 2, points 4."""
    family, oracle = FAMILIES[name]
    rng = np.random.default_rng(3)
    means, var = rng.normal(size=(2, 3, 1, 2, 2, 4)), rng.uniform(0.05, 1, (2, 2, 4))
    laws = [family(torch.as_tensor(m), torch.as_tensor(v)) for m, v in zip(means, var, strict=True)]
    unit = np.array([5.0, 0.2])[:, None]
    mixture = Mixture(slice(2), laws, torch.as_tensor(unit))
    each = oracle(means * unit, np.sqrt(var)[:, None, None, None] * unit)
    y = unit * rng.normal(size=(1, 2, 2, 4))
    at = torch.as_tensor(y)
    assert_close(mixture.cdf(at), torch.as_tensor(each.cdf(y).mean((0, 1))), rtol=1e-10, atol=1e-14)
    expected = each.logpdf(y).reshape(6, 1, 2, 2, 4)
    assert_close(mixture.log_density(at), torch.as_tensor(expected), rtol=1e-10, atol=1e-12)
    assert_close(mixture.mean, torch.as_tensor(unit * means.mean((0, 1))))
    for level in (0.01, 0.5, 0.9):
        found = mixture.quantile(level).numpy()
        back = each.cdf(found).mean((0, 1))
        np.testing.assert_allclose(back, level, rtol=1e-9)


@pytest.mark.parametrize("name", FAMILIES)
def test_draws_of_other_families_follow_the_mixture(name):
    """Kolmogorov and Smirnov's distance, exceeded by one seed in ten thousand; seeds repeat."""
    law = FAMILIES[name][0](torch.randn(4000, 1, 1, 1, 1), torch.tensor(0.3))
    mixture = Mixture(slice(1), [law], UNIT, has_channel=False)
    state = torch.get_rng_state()
    draws, again = (mixture.sample(torch.Generator().manual_seed(2)) for _ in range(2))
    assert torch.equal(draws, again)
    assert torch.equal(torch.get_rng_state(), state)
    probability = np.sort([mixture.cdf(y[None, None]).item() for y in draws[:500, 0, 0]])
    distance = np.abs(probability - (np.arange(500) + 0.5) / 500).max()
    assert distance * 500**0.5 < 2.2
