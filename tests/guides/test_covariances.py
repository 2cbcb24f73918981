"""Covariance of the amortised guide: dense, by blocks, dependent on the snapshot."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import LENGTH, NUM_COARSE, tiny_batch, tiny_data, tiny_model
from scipy.linalg import expm, logm
from torch.distributions import kl_divergence
from torch.testing import assert_close

import pyro_msde
from pyro_msde.guides import AmortizedGP
from pyro_msde.guides.interpolation import Interpolant

N_ETA = 2
N = NUM_COARSE + N_ETA
KINDS = ["full", "block"]


def disturbed(covariance, *, heteroscedastic=False, seed=0):
    """A guide in float64 whose covariance has nothing symmetric about it."""
    model = tiny_model(N_ETA).double()
    guide = AmortizedGP(model, covariance=covariance, heteroscedastic=heteroscedastic).double()
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        own = [guide.node_variance, guide.axes, guide.deviation]
        for p in (p for part in own if part is not None for p in part.parameters()):
            p.add_(0.4 * torch.randn(p.shape, generator=rng, dtype=p.dtype))
    return model, guide


def node_covariance(guide):
    """Σ_e at any snapshot, where it is constant."""
    y = torch.zeros(1, 30, dtype=torch.float64)
    return guide.encode(y, guide.model.bind({}))[1].detach().numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_covariance_between_observations_is_the_matrix_power(kind):
    """log Σ(t) = w(t) log Σ_e, w the sum of the interpolation weights, and the bridge beside it."""
    model, guide = disturbed(kind)
    C = model.bind({}).diffusion.detach().numpy()
    batch = tiny_batch(dtype=torch.float64)
    at = batch.times[:, :-1] + 0.3 * torch.diff(batch.times, dim=-1)
    moments = guide.path_marginals(batch, guide.model.bind({})).moments(at)
    W, W_dot = Interpolant(guide.time_kernel, batch.times).weights(at)
    log = logm(node_covariance(guide)).real
    for k in range(len(at)):
        for i in range(LENGTH - 1):
            w, rate = W[k, i].sum().item(), W_dot[k, i].sum().item()
            # rounding of the eigenvalues, which differ by about a factor of ten
            power = expm(w * log)
            between = float(batch.times[k, i + 1] - batch.times[k, i])
            expected = power + np.diag(0.3 * 0.7 * between * C)
            expected_rate = rate * log @ power + np.diag((1 - 2 * 0.3) * C)
            found = (m[k, i].detach().numpy() for m in (moments.cov, moments.cov_dot))
            assert_close(next(found), expected, rtol=1e-9, atol=1e-13)
            assert_close(next(found), expected_rate, rtol=1e-8, atol=1e-13)


@pytest.mark.parametrize("kind", ["diagonal", *KINDS])
def test_rate_of_the_covariance_is_its_derivative_in_time(kind):
    _, guide = disturbed(kind, heteroscedastic=True)
    batch = tiny_batch(dtype=torch.float64)
    marginals = guide.path_marginals(batch, guide.model.bind({}))
    at, h = batch.times[:, :-1] + 0.4 * torch.diff(batch.times, dim=-1), 1e-6
    later, sooner = marginals.moments(at + h), marginals.moments(at - h)
    here = marginals.moments(at)
    # central differences: h² of truncation, 1e-16/h of rounding
    difference = (later.cov - sooner.cov) / (2 * h)
    assert_close(here.cov_dot.expand_as(difference), difference, rtol=1e-6, atol=1e-9)


def test_blocks_keep_the_scales_apart_and_full_does_not():
    block, full = (node_covariance(disturbed(kind)[1]) for kind in ("block", "full"))
    macro, micro = slice(NUM_COARSE), slice(NUM_COARSE, N)
    assert np.all(block[macro, micro] == 0)
    for cov in (block, full):
        assert_close(cov, cov.T, rtol=0, atol=1e-15)
        assert np.linalg.eigvalsh(cov).min() > 0
        off = cov[macro, macro] - np.diag(np.diag(cov[macro, macro]))
        assert np.abs(off).max() > 1e-5
    assert np.abs(full[macro, micro]).max() > 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_guide_is_the_diagonal_one_and_can_be_trained(kind):
    """All eigenvalues of Σ(t) coincide at the start; the gradients are finite nevertheless."""
    model, batch = tiny_model(N_ETA), tiny_batch()
    diagonal = AmortizedGP(model).path_marginals(batch, model.bind({}))
    guide = AmortizedGP(model, covariance=kind)
    marginals = guide.path_marginals(batch, guide.model.bind({}))
    assert_close(marginals.variance.float(), diagonal.variance, rtol=1e-6, atol=0)
    theta = model.bind({})
    kl_divergence(marginals, model.path_law(theta, batch)).sum().backward()
    for p in (*guide.axes.parameters(), *guide.node_variance.parameters()):
        assert p.grad is not None
        assert p.grad.isfinite().all()


def test_variances_follow_the_snapshot_where_asked():
    _, plain = disturbed("diagonal")
    _, guide = disturbed("diagonal", heteroscedastic=True)
    y = torch.randn(4, 1, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    _, var = plain.encode(y, plain.model.bind({}))
    assert torch.equal(var, var[:1].expand(4, -1))
    mean, var = guide.encode(y, guide.model.bind({}))
    assert var.shape == mean.shape
    ratio = (var / guide.node_variance()).log()
    assert_close(ratio, guide.deviation(mean))
    assert ratio.std(0).min() > 1e-3
    fresh = AmortizedGP(tiny_model(N_ETA), heteroscedastic=True)
    _, var = fresh.encode(y.float(), fresh.model.bind({}))
    assert_close(var, fresh.node_variance().expand(4, -1))


def test_forecasts_start_from_the_full_covariance():
    model, guide = disturbed("full")
    scaling = pyro_msde.data.units.Scaling((1.0,), 1.0)
    count = 20_000
    fc = pyro_msde.Fit(model, guide, scaling).predict(np.zeros(30), [0.0], num_samples=count)
    start = fc.paths[0, :, 0, 0].numpy()
    cov = node_covariance(guide)
    sd = np.sqrt(np.diag(cov))
    correlation = np.cov(start.T) / np.outer(sd, sd)
    # the standard error of a correlation or a relative variance is at most √2/√count: 4.9 of them,
    # over 28 numbers, are exceeded by chance once in 10⁴ seeds
    assert_close(correlation, cov / np.outer(sd, sd), rtol=0, atol=0.05)


@pytest.mark.parametrize(
    "options",
    [
        {"covariance": "block", "seed": 5},
        pytest.param({"covariance": "full"}, marks=pytest.mark.slow),
        pytest.param({"heteroscedastic": True}, marks=pytest.mark.slow),
    ],
)
def test_a_fit_with_such_a_guide_is_saved_and_loaded(options, tmp_path):
    model = tiny_model(N_ETA)
    guide = AmortizedGP(model, **options)
    data = tiny_data()
    fit = pyro_msde.fit(
        model,
        guide,
        data,
        steps=3,
        length=LENGTH,
        stride=1,
        progress=False,
        checkpoint=tmp_path,
        validation=data[:1].until(0.1),
    )
    loaded = pyro_msde.load(tmp_path, model=tiny_model(N_ETA, seed=9))
    y0, times = data.values[0][0], data.times[0][:3]
    assert torch.equal(loaded.predict(y0, times).mean, fit.predict(y0, times).mean)
    assert type(loaded.guide) is AmortizedGP


def test_an_unknown_covariance_is_named():
    with pytest.raises(ValueError, match=r"covariance='dense': choose 'diagonal' or 'block' or"):
        AmortizedGP(tiny_model(N_ETA), covariance="dense")
