"""Mixtures of what models see through a logarithm, as laws of the fields: against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from torch.testing import assert_close

from pyro_msde.data import Link
from pyro_msde.forecasts.mixtures import Mixture
from pyro_msde.likelihoods import FieldNormal
from pyro_msde.scores.predictive import spread_over

SCALE = torch.tensor([[1.3], [0.4]], dtype=torch.float64)
REFERENCE = torch.tensor([[0.2], [-5.0]], dtype=torch.float64)


def mixture(*offsets, has_channel=True):
    """2 θ, 3 paths, 1 trajectory, 2 times, 2 channels, 5 points; and centres and widths of g."""
    rng = np.random.default_rng(3)
    means, var = rng.normal(size=(2, 3, 1, 2, 2, 5)), rng.uniform(0.05, 0.5, (2, 2, 5))
    count = len(offsets)
    laws = [
        FieldNormal(torch.as_tensor(m[..., :count, :]), torch.as_tensor(v[:count]))
        for m, v in zip(means, var, strict=True)
    ]
    unit, shift = SCALE[:count], REFERENCE[:count]
    centre = (means[..., :count, :] * unit.numpy() + shift.numpy()).reshape(6, 1, 2, count, 5)
    width = np.repeat(np.sqrt(var[:, :count]) * unit.numpy(), 3, 0)[:, None, None]
    law = Mixture(slice(2), laws, unit, has_channel, shift, link=Link(1, offsets))
    return law, centre, width


def test_without_an_offset_they_are_lognormals_and_channels_without_a_link_normals():
    law, centre, width = mixture(0.0, None)
    y = np.random.default_rng(4).lognormal(size=(1, 2, 2, 5))
    y[:, :, 1] -= 6.0
    positive = scipy.stats.lognorm(width[..., 0, :], scale=np.exp(centre[..., 0, :]))
    normal = scipy.stats.norm(centre[..., 1, :], width[..., 1, :])
    for k, oracle in enumerate((positive, normal)):
        own, at = y[:, :, k], torch.as_tensor(y)
        parts = (law.cdf(at), oracle.cdf(own).mean(0)), (law.mean, oracle.mean().mean(0))
        for ours, theirs in parts:
            assert_close(ours[:, :, k], torch.as_tensor(theirs), rtol=1e-9, atol=1e-12)
        density = law.log_density(at)[:, :, :, k]
        assert_close(density, torch.as_tensor(oracle.logpdf(own)), rtol=1e-9, atol=1e-9)
        m = oracle.mean().reshape(2, 3, 1, 2, 5)
        total = m.reshape(6, 1, 2, 5).var(0, ddof=1)
        propagated = np.minimum(m.var(1, ddof=1).mean(0), total)
        expected = {
            "reconstruction": oracle.var().mean(0),
            "propagated": propagated,
            "parameter": total - propagated,
        }
        for name, value in expected.items():
            assert_close(law.moments[name][:, :, k], torch.as_tensor(value), rtol=1e-9, atol=1e-12)
        assert_close(law.sd[:, :, k].square(), torch.as_tensor(sum(expected.values())))


@pytest.mark.parametrize("level", [0.01, 0.5, 0.9])
def test_quantiles_are_those_of_what_is_seen(level):
    law, _, _ = mixture(0.7, None)
    found = law.quantile(level)
    back = law.cdf(found)
    assert found[:, :, 0].min() >= 0
    inside = (found > 0) | (torch.arange(2)[:, None] == 1)
    assert_close(back[inside], torch.full_like(back[inside], level), rtol=1e-9, atol=0)
    assert (back[~inside] >= level).all()  # where more than the level is at zero
    assert level > 0.01 or (~inside).any()


def test_an_offset_gives_zero_a_probability():
    law, centre, width = mixture(0.7, has_channel=False)
    zero = torch.zeros(1, 2, 5, dtype=torch.float64)
    dry = scipy.stats.norm.cdf(-centre / width).mean(0)[:, :, 0]
    assert_close(law.cdf(zero), torch.as_tensor(dry))
    assert torch.equal(law.cdf(zero - 1e-9), torch.zeros_like(zero))
    assert law.atoms(zero).all()
    assert not law.atoms(zero + 0.1).any()
    generator = torch.Generator().manual_seed(0)
    draws = torch.cat([law.sample(generator) for _ in range(3000)])
    assert draws.min() == 0
    # 10 shares, means and variances of 18 000 draws: within four standard errors of each, which
    # one seed in five hundred is not
    n = len(draws)
    share = (draws == 0).double().mean(0)
    assert ((share - law.cdf(zero)).abs() < 4 * (law.cdf(zero) * (1 - share) / n).sqrt()).all()
    error = (draws.mean(0) - law.mean).abs() / (draws.std(0) / n**0.5)
    assert error.max() < 4


def test_zeros_that_are_right_have_an_even_pit():
    """Kolmogorov and Smirnov's distance, exceeded by one seed in ten thousand."""
    law, _, _ = mixture(0.7, has_channel=False)
    truth = torch.cat([law.sample(torch.Generator().manual_seed(k)) for k in range(200)])
    p = [spread_over(law.cdf(y), law.atoms(y), seed=k) for k, y in enumerate(truth)]
    probability = np.sort(torch.cat(p)[:, 0, 0])
    assert (truth[:, 0, 0, 0] == 0).double().mean() > 0.05
    distance = np.abs(probability - (np.arange(len(p)) + 0.5) / len(p)).max()
    assert distance * len(p) ** 0.5 < 2.2


def test_a_mask_and_padding_are_kept():
    law, _, _ = mixture(0.7)
    mask = torch.tensor([[True, False, True]])
    padded = Mixture(law.where, law.laws, law.scale, True, law.reference, mask, ((1, 1),), law.link)
    found = padded.mean
    assert found.isnan()[..., 1].all()
    assert_close(found[..., [0, 2]], law.mean[..., [1, 3]])
    y = torch.full((1, 2, 1, 3), 0.4, dtype=torch.float64)
    assert_close(
        padded.log_density(y)[..., 0], law.log_density(y[..., :1].expand(1, 2, 1, 5))[..., 1]
    )
    assert not padded.atoms(0 * y)[..., 1].any()


def test_a_zero_with_a_probability_has_the_log_of_that():
    """Beside the density above zero it is a law: both together are one."""
    law, centre, width = mixture(0.7)
    zero = torch.zeros(1, 2, 1, 5, dtype=torch.float64)
    expected = scipy.stats.norm.logcdf(-centre / width)
    assert_close(law.log_density(zero), torch.as_tensor(expected), rtol=1e-9, atol=1e-12)
    y = np.geomspace(1e-9, 200.0, 4001)
    density = [law.log_density(zero + v).exp()[0, 0, 0, 0, 0] for v in y]
    mass = np.trapezoid(np.array(density), y) + np.exp(expected[0, 0, 0, 0, 0])
    assert mass == pytest.approx(1.0, abs=1e-3)
