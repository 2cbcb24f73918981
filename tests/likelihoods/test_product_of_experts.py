"""The Product of Experts against two densities multiplied on a grid, and scipy's normals."""

from __future__ import annotations

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from oracles.expanded_form import expanded_log_density
from oracles.tolerance import standard_errors
from pyro import poutine
from scipy.stats import multivariate_normal, norm
from torch.testing import assert_close

from pyro_msde.likelihoods import FieldNormal, WeightedFields, product_mean, product_variance


def experts_of(macro, detail, var_zeta, var_eta, *, weight=None):
    """Their product, over segments of snapshots (..., time, channel, *space)."""
    mean = product_mean(macro, detail, var_zeta, var_eta)
    law = FieldNormal(mean, product_variance(var_zeta, var_eta))
    return WeightedFields(law, var_zeta.ndim, weight=weight)


def double(x):
    return torch.as_tensor(np.asarray(x, dtype=np.float64))


def random_precision(n, rng):
    a = rng.standard_normal((n, n))
    return a @ a.T / n + 0.5 * np.eye(n)


def experts_on_a_grid(axes, macro, detail, prec_zeta, prec_eta):
    """p(y|ζ) p(y − T ζ|η), normalised by a sum: spectrally accurate for smooth, decaying ones."""
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    first = multivariate_normal.pdf(points, macro, np.linalg.inv(prec_zeta))
    second = multivariate_normal.pdf(points - macro, detail, np.linalg.inv(prec_eta))
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    product = first * second
    return points, product / (product.sum() * cell)


def test_one_dimension_on_a_grid():
    macro, detail, var_zeta, var_eta = 0.7, -1.3, 0.5, 0.2
    axis = np.linspace(-12, 12, 2401)
    points, density = experts_on_a_grid(
        [axis], [macro], [detail], [[1 / var_zeta]], [[1 / var_eta]]
    )
    near = np.abs(axis - macro) < 2.5
    experts = experts_of(
        double(macro).expand(1, 1, 1),
        double(detail).expand(1, 1, 1),
        double([[var_zeta]]),
        double([[var_eta]]),
    )
    log_density = experts.log_prob(double(points[near])[:, None, None])
    assert_close(log_density.exp(), double(density[near]), rtol=1e-9, atol=1e-12)  # the tails' sum
    prec = double([[1 / var_zeta]]), double([[1 / var_eta]])
    residual = double(points[near] - macro)
    expanded, _ = expanded_log_density(residual, double([detail]).expand_as(residual), *prec)
    assert_close(expanded, log_density, rtol=1e-12, atol=1e-12)  # rounding


@pytest.mark.parametrize("diagonal", [False, True])
def test_two_dimensions_on_a_grid(diagonal):
    rng = np.random.default_rng(2)
    macro, detail = rng.standard_normal(2), rng.standard_normal(2)
    prec_zeta, prec_eta = random_precision(2, rng), random_precision(2, rng)
    if diagonal:
        prec_zeta, prec_eta = np.diag(np.diag(prec_zeta)), np.diag(np.diag(prec_eta))
    axis = np.linspace(-13, 13, 401)
    points, density = experts_on_a_grid([axis, axis], macro, detail, prec_zeta, prec_eta)
    some = np.s_[150:260:7, 150:260:11]
    residual = double(points[some] - macro)
    log_density, _ = expanded_log_density(
        residual, double(detail).expand_as(residual), double(prec_zeta), double(prec_eta)
    )
    # 1e-9: what the sum over the grid leaves out
    np.testing.assert_allclose(log_density.exp(), density[some], rtol=1e-8, atol=1e-12)
    if diagonal:
        experts = experts_of(
            double(macro)[None, None],
            double(detail)[None, None],
            double(1 / np.diag(prec_zeta))[None],
            double(1 / np.diag(prec_eta))[None],
        )
        values = experts.log_prob(double(points[some])[..., None, None, :])
        assert_close(values, log_density, rtol=1e-11, atol=1e-11)  # rounding


def test_expanded_form_is_the_normal_density_for_dense_precisions():
    rng = np.random.default_rng(3)
    n = 7
    prec_zeta, prec_eta = random_precision(n, rng), random_precision(n, rng)
    residual, detail = rng.standard_normal((2, 5, 3, n))
    cov = np.linalg.inv(prec_zeta + prec_eta)
    mean = detail @ (cov @ prec_eta).T
    expected = multivariate_normal.logpdf(residual - mean, np.zeros(n), cov)
    log_density, penalty = expanded_log_density(
        double(residual), double(detail), double(prec_zeta), double(prec_eta)
    )
    np.testing.assert_allclose(log_density, expected, rtol=1e-10)  # rounding
    # the penalty is what separates the scales: ½ Dᵀ S_η Σ_y S_η D
    explicit = 0.5 * np.einsum("...i,ij,...j->...", detail, prec_eta @ cov @ prec_eta, detail)
    np.testing.assert_allclose(penalty, explicit, rtol=1e-10)
    assert (penalty > 0).all()


def diagonal_case(*batch, dtype=torch.float64):
    """Fields (*batch, time 5, channel 2, 3, 7)."""
    rng = np.random.default_rng(4)
    macro, detail, value = rng.standard_normal((3, *batch, 5, 2, 3, 7))
    var_zeta, var_eta = rng.uniform(0.2, 2, (2, 2, 3, 7))
    return [double(x).to(dtype) for x in (macro, detail, value, var_zeta, var_eta)]


def expected_log_density(macro, detail, value, var_zeta, var_eta):
    """(..., time)."""
    prec = 1 / var_zeta + 1 / var_eta
    mean = macro + detail / var_eta / prec
    return norm.logpdf(value, mean, prec**-0.5).sum((-3, -2, -1))


def test_diagonal_log_density_is_the_sum_of_normals(dtype):
    macro, detail, value, var_zeta, var_eta = diagonal_case(11, dtype=dtype)
    experts = experts_of(macro, detail, var_zeta, var_eta)
    assert experts.batch_shape == (11,)
    assert experts.event_shape == (5, 2, 3, 7)
    log_density = experts.log_prob(value)
    assert log_density.dtype == dtype
    numpy = [x.double().numpy() for x in (macro, detail, value, var_zeta, var_eta)]
    expected = expected_log_density(*numpy).sum(-1)
    rtol = 1e-12 if dtype == torch.float64 else 1e-5  # rounding of a sum of 210 terms
    np.testing.assert_allclose(log_density.double(), expected, rtol=rtol)


def test_diagonal_and_expanded_forms_agree():
    macro, detail, value, var_zeta, var_eta = diagonal_case(11)
    log_density = experts_of(macro, detail, var_zeta, var_eta).log_prob(value)
    expanded, _ = expanded_log_density(
        (value - macro).flatten(-3),
        detail.flatten(-3),
        torch.diag(1 / var_zeta.flatten()),
        torch.diag(1 / var_eta.flatten()),
    )
    assert_close(expanded.sum(-1), log_density, rtol=1e-11, atol=0)  # rounding


def test_mean_and_variance():
    macro, detail, _, var_zeta, var_eta = diagonal_case(11)
    experts = experts_of(macro, detail, var_zeta, var_eta)
    prec = 1 / var_zeta + 1 / var_eta
    assert_close(experts.mean, macro + detail / var_eta / prec, rtol=1e-12, atol=1e-14)
    assert_close(experts.variance, (1 / prec).expand(11, 5, 2, 3, 7), rtol=1e-12, atol=0)


def test_weights_multiply_each_snapshot():
    numbers = diagonal_case(11)
    weight = torch.rand(11, 5, dtype=torch.float64)
    macro, detail, value, var_zeta, var_eta = numbers
    experts = experts_of(macro, detail, var_zeta, var_eta, weight=weight)
    expected = (expected_log_density(*(x.numpy() for x in numbers)) * weight.numpy()).sum(-1)
    np.testing.assert_allclose(experts.log_prob(value), expected, rtol=1e-12)
    several = experts.log_prob(torch.stack([value, value, value]))
    np.testing.assert_allclose(several, np.stack([expected] * 3), rtol=1e-12)


def test_gaps_and_weights_have_the_derivatives_of_a_sum_of_normals():
    macro, detail, value, var_zeta, var_eta = diagonal_case(11)
    inputs = [x.requires_grad_() for x in (macro, detail, value, var_zeta, var_eta)]
    weight, observed = torch.rand(11, 5, dtype=torch.float64), torch.rand(11, 5, 2, 3, 7) < 0.7
    mean = product_mean(macro, detail, var_zeta, var_eta)
    variance = product_variance(var_zeta, var_eta)
    plain = torch.distributions.Normal(mean, variance.sqrt()).log_prob(value)
    expected = (plain * observed * weight[..., None, None, None]).sum((1, 2, 3, 4))
    law = WeightedFields(FieldNormal(mean, variance), 3, weight=weight, observed=observed)
    log_density = law.log_prob(value)
    assert_close(log_density, expected, rtol=1e-12, atol=1e-12)  # rounding, as below
    factor = torch.randn(11, dtype=torch.float64)
    pairs = zip(
        torch.autograd.grad(log_density @ factor, inputs, retain_graph=True),
        torch.autograd.grad(expected @ factor, inputs),
        strict=True,
    )
    for ours, theirs in pairs:
        assert_close(ours, theirs, rtol=1e-11, atol=1e-11)


def test_without_a_microscale_state_there_is_one_expert():
    macro, _, value, var_zeta, _ = diagonal_case(11)
    experts = experts_of(macro, None, var_zeta, None)
    assert product_mean(macro, None, var_zeta, None) is macro
    assert product_variance(var_zeta, None) is var_zeta
    expected = norm.logpdf(value, macro, var_zeta.sqrt()).sum((-4, -3, -2, -1))
    np.testing.assert_allclose(experts.log_prob(value), expected, rtol=1e-12)


def test_only_the_product_is_identified():
    """Any change that keeps S_ζ + S_η and S_η D gives the same law."""
    macro, detail, value, var_zeta, var_eta = diagonal_case(11)
    total, weighted = 1 / var_zeta + 1 / var_eta, detail / var_eta
    share = torch.rand(2, 3, 7, dtype=torch.float64) * 0.8 + 0.1
    prec_eta = share * total
    other = experts_of(macro, weighted / prec_eta, 1 / (total - prec_eta), 1 / prec_eta)
    log_density = experts_of(macro, detail, var_zeta, var_eta).log_prob(value)
    assert_close(other.log_prob(value), log_density, rtol=1e-11, atol=0)  # rounding


def test_expand_keeps_type_density_and_weights():
    macro, detail, value, var_zeta, var_eta = diagonal_case()
    weight = torch.rand(5, dtype=torch.float64)
    experts = experts_of(macro, detail, var_zeta, var_eta, weight=weight)
    assert experts.expand(()) is experts
    more = experts.expand((3, 11))
    assert type(more) is WeightedFields
    assert more.batch_shape == (3, 11)
    assert more.event_shape == experts.event_shape
    assert more.rsample((2,)).shape == (2, 3, 11, 5, 2, 3, 7)
    expected = experts.log_prob(value).expand(3, 11)
    assert_close(more.log_prob(value.expand(3, 11, 5, 2, 3, 7)), expected)


def test_in_a_plate():
    macro, detail, value, var_zeta, var_eta = diagonal_case()

    def model():
        with pyro.plate("segments", 11):
            pyro.sample(
                "y",
                experts_of(macro, detail, var_zeta, var_eta),
                obs=value.expand(11, *value.shape),
            )

    trace = poutine.trace(model).get_trace()
    assert type(trace.nodes["y"]["fn"]) is WeightedFields
    trace.compute_log_prob()
    numbers = [x.numpy() for x in (macro, detail, value, var_zeta, var_eta)]
    expected = np.full(11, expected_log_density(*numbers).sum())
    np.testing.assert_allclose(trace.nodes["y"]["log_prob"], expected, rtol=1e-12)


def test_subsampled_plate_scales():
    macro, detail, value, var_zeta, var_eta = diagonal_case(3)

    def model():
        with pyro.plate("segments", 12, subsample=torch.arange(3)):
            pyro.sample("y", experts_of(macro, detail, var_zeta, var_eta), obs=value)

    trace = poutine.trace(model).get_trace()
    numbers = [x.numpy() for x in (macro, detail, value, var_zeta, var_eta)]
    np.testing.assert_allclose(trace.log_prob_sum(), 4 * expected_log_density(*numbers).sum())


def test_draws_have_the_moments():
    draws = 20_000
    macro, detail, _, var_zeta, var_eta = diagonal_case()
    experts = experts_of(macro, detail, var_zeta, var_eta)
    y = experts.rsample((draws,))
    assert y.shape == (draws, 5, 2, 3, 7)
    # 210 means and variances: all within their standard errors but in 2e-5 of seeds
    width = standard_errors(2 * macro.numel())
    mean_error = (y.mean(0) - experts.mean) / (experts.variance / draws).sqrt()
    var_error = (y.var(0) / experts.variance - 1) / math.sqrt(2 / (draws - 1))
    assert mean_error.abs().max() < width
    assert var_error.abs().max() < width * 1.1  # χ² of 2e4 degrees: a little skew


def test_draws_are_differentiable_and_independent_of_the_global_dtype():
    macro = torch.zeros(5, 2, 7, requires_grad=True)
    var = torch.ones(2, 7, requires_grad=True)
    experts_of(macro, None, var, None).rsample().square().sum().backward()
    assert (macro.grad != 0).any()
    assert (var.grad != 0).any()
    assert isinstance(experts_of(macro, None, var, None), dist.TorchDistribution)
