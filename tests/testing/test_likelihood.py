"""Families of fields' laws: against scipy, and against a check that refuses wrong ones."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from pyro import distributions as dist
from torch.testing import assert_close

from pyro_msde.likelihoods import FAMILIES, FieldNormal, StudentT, student
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


@pytest.mark.parametrize("df", [2.0, -1.0, float("nan"), "four"])
def test_a_student_without_variance_is_refused(df):
    with pytest.raises(ValueError, match="df="):
        student(MEAN, VARIANCE, df)


class HeavyTailed(StudentT):
    """Its draws' variance does not converge; what it says of its own may be wrong by a factor."""

    def __init__(self, df, factor=1.0):
        super().__init__(df, torch.tensor([0.3, -5.0]), torch.tensor([2.0, 0.04]))
        self.factor = factor

    def expand(self, batch_shape, _instance=None):
        return super().expand(batch_shape, self._get_checked_instance(HeavyTailed, _instance))

    @property
    def variance(self):
        return self.factor * super().variance


@pytest.mark.parametrize("df", [2.05, 2.2, 2.5, 3.0])
def test_heavy_tails_pass_and_their_variance_is_looked_at(df):
    check_likelihood(HeavyTailed(df))
    for factor in (0.9, 1.1):
        with pytest.raises(AssertionError, match="variance disagrees"):
            check_likelihood(HeavyTailed(df, factor))


def test_a_variance_that_is_not_finite_is_found_out():
    class Claims(HeavyTailed):
        variance = torch.ones(2)

    with pytest.raises(AssertionError, match=r"variance disagrees .* by inf"):
        check_likelihood(Claims(1.9))


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


class WrongReparametrisation(FieldNormal):
    def rsample(self, sample_shape=()):
        return self.loc + self.shared_variance * torch.randn((*sample_shape, *self.loc.shape))

    def sample(self, sample_shape=()):
        return super().rsample(sample_shape).detach()


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
        (WrongReparametrisation, "draws of rsample do not follow cdf"),
        (WrongDraws, "draws of sample do not follow cdf"),
        (WrongInverse, "icdf is not the inverse"),
        (Forgetful, "expand gives another law"),
        (lambda m, v: dist.Normal(m, v.sqrt()).to_event(1), "leave to_event out"),
        (lambda m, v: dist.StudentT(2.0, m, v.sqrt()), "is not finite"),
    ],
)
def test_a_wrong_law_is_refused(kind, words):
    with pytest.raises(AssertionError, match=words):
        check_likelihood(kind(MEAN, VARIANCE))
