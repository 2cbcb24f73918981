"""Families of fields' laws: against scipy, and against a check that refuses wrong ones."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from pyro import distributions as dist
from torch.testing import assert_close

from pyro_msde.likelihoods import FAMILIES, FieldNormal
from pyro_msde.testing import check_likelihood

MEAN = torch.tensor([[0.3, -1.2, 5.0], [0.0, 2.0, 1.0]], dtype=torch.float64)
VARIANCE = torch.tensor([0.04, 1.0, 2.5], dtype=torch.float64)
SCIPY = {
    "normal": lambda m, v: scipy.stats.norm(m, v**0.5),
    "laplace": lambda m, v: scipy.stats.laplace(m, (v / 2) ** 0.5),
    "student": lambda m, v: scipy.stats.t(4, m, (v / 2) ** 0.5),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_scipys_with_the_same_mean_and_variance(name):
    law, oracle = FAMILIES[name](MEAN, VARIANCE), SCIPY[name](MEAN.numpy(), VARIANCE.numpy())
    y = np.random.default_rng(0).normal(size=MEAN.shape) * 2
    at = torch.as_tensor(y)
    assert_close(law.mean, MEAN)
    assert_close(law.variance, VARIANCE.expand(2, 3), rtol=1e-12, atol=0)
    assert_close(law.log_prob(at), torch.as_tensor(oracle.logpdf(y)), rtol=1e-12, atol=1e-12)
    assert_close(law.cdf(at), torch.as_tensor(oracle.cdf(y)), rtol=1e-10, atol=1e-14)
    level = torch.full_like(MEAN, 0.8)
    assert_close(law.icdf(level), torch.as_tensor(oracle.ppf(0.8)), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", FAMILIES)
def test_our_families_pass(name, dtype):
    check_likelihood(FAMILIES[name](MEAN.to(dtype), VARIANCE.to(dtype)))


class Unnormalised(FieldNormal):
    def log_prob(self, value):
        return super().log_prob(value) + 0.1


class Shifted(FieldNormal):
    def cdf(self, value):
        return super().cdf(value - 0.1)


class Narrow(FieldNormal):
    @property
    def variance(self):
        return 0.9 * super().variance

    @property
    def stddev(self):
        return super().variance.sqrt()


class WrongDraws(FieldNormal):
    def sample(self, sample_shape=()):
        return 1.2 * super().sample(sample_shape)


class WrongInverse(FieldNormal):
    def icdf(self, value):
        return super().icdf(1 - value)


class Forgetful(FieldNormal):
    def expand(self, batch_shape, _instance=None):
        return FieldNormal(self.loc.expand(batch_shape), 2 * self.shared_variance)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Unnormalised, "log_prob disagrees"),
        (Shifted, "cdf disagrees"),
        (Narrow, "variance disagrees"),
        (WrongDraws, "draws do not follow cdf"),
        (WrongInverse, "icdf is not the inverse"),
        (Forgetful, "expand gives another law"),
        (lambda m, v: dist.Normal(m, v.sqrt()).to_event(1), "leave to_event out"),
        (lambda m, v: dist.StudentT(2.0, m, v.sqrt()), "is not finite"),
    ],
)
def test_a_wrong_law_is_refused(kind, words):
    with pytest.raises(AssertionError, match=words):
        check_likelihood(kind(MEAN, VARIANCE))
