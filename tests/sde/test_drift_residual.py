"""The gain B, the drift residual and its KL against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pyro
import pytest
import torch
from oracles.gain import kronecker_gain
from oracles.kalman import LinearSystem
from oracles.tolerance import standard_errors
from pyro import poutine
from torch.distributions import kl_divergence
from torch.testing import assert_close

from pyro_msde.data import StratifiedQuadrature
from pyro_msde.sde import GaussianMarginals, LatentSDE, Moments
from pyro_msde.sde.drift_residual import dense_gain, diagonal_gain, drift_residual, linear_drift


def double(x):
    return torch.tensor(np.array(x, dtype=np.float64))


def random_spd(n, rng):
    a = rng.standard_normal((n, n))
    return a @ a.T / n + 0.3 * np.eye(n)


def test_gain_of_an_ou_process_is_its_rate():
    a, var_inf, var_0 = 1.7, 0.4, 2.0  # dz = −a z dt + √(2 a var_inf) dβ
    t = torch.linspace(0, 3, 50, dtype=torch.float64)[:, None]
    var = var_inf + (var_0 - var_inf) * torch.exp(-2 * a * t)
    B = diagonal_gain(var, -2 * a * (var - var_inf), t.new_tensor([2 * a * var_inf]))
    assert_close(B, torch.full_like(B, a), rtol=1e-12, atol=0)  # rounding only


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6])
def test_dense_gain_solves_the_kronecker_system(n):
    rng = np.random.default_rng(n)
    cov = np.stack([random_spd(n, rng) for _ in range(4)])
    cov_dot = np.stack([random_spd(n, rng) - random_spd(n, rng) for _ in range(4)])
    diffusion = rng.uniform(0.1, 3, n)
    B = dense_gain(double(cov), double(cov_dot), double(diffusion))
    expected = [kronecker_gain(s, d, diffusion) for s, d in zip(cov, cov_dot, strict=True)]
    # rounding, times the condition of Σ, about 10² here
    assert_close(B, double(expected), rtol=1e-10, atol=1e-11)
    # what makes it a gain: the linear SDE with drift −B z has dΣ/dt = Σ̇ ...
    change = double(diffusion).diag() - B @ double(cov) - double(cov) @ B.mT
    assert_close(change, double(cov_dot), rtol=1e-10, atol=1e-11)
    # ... and what singles it out: C⁻¹ B is symmetric
    scaled = B / double(diffusion)[:, None]
    assert_close(scaled, scaled.mT, rtol=1e-10, atol=1e-11)


def test_dense_gain_of_diagonal_covariance_is_the_diagonal_gain():
    rng = np.random.default_rng(0)
    var, var_dot = double(rng.uniform(0.1, 2, (7, 5))), double(rng.standard_normal((7, 5)))
    diffusion = double(rng.uniform(0.1, 3, 5))
    B = dense_gain(torch.diag_embed(var), torch.diag_embed(var_dot), diffusion)
    expected = torch.diag_embed(diagonal_gain(var, var_dot, diffusion))
    assert_close(B, expected, rtol=1e-12, atol=1e-12)  # rounding


def test_gradients_of_the_dense_gain():
    rng = np.random.default_rng(1)
    chol, cov_dot = double(rng.standard_normal((3, 3)) + 2 * np.eye(3)), double(random_spd(3, rng))
    diffusion = double([0.5, 1.0, 2.0]).requires_grad_()
    chol.requires_grad_()
    # Σ̇ symmetrised, as any covariance's rate is
    assert torch.autograd.gradcheck(
        lambda L, c: dense_gain(L @ L.T, cov_dot + cov_dot.T, c), (chol, diffusion)
    )


def test_gradients_where_eigenvalues_coincide():
    """At the start of training Σ is a multiple of C: `eigh` has no derivative there."""
    rng = np.random.default_rng(2)
    diffusion = double([0.5, 1.0, 2.0])
    cov_dot = double(random_spd(3, rng))

    def gain(deviation):
        cov = torch.diag(0.1 * diffusion) + deviation + deviation.T
        return dense_gain(cov, cov_dot, diffusion)

    deviation = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gain, (deviation,))


# Linear SDEs dz = A (z − z∞) dt + L dβ whose law the family contains: A C symmetric.
def reversible(kind):
    rng = np.random.default_rng(8)
    if kind == "diagonal":
        return np.diag([-0.7, 0.2, -1.5]), np.array([0.5, 1.0, 2.0])
    if kind == "symmetric A, C ∝ I":
        return 0.3 * np.eye(3) - random_spd(3, rng), np.full(3, 0.6)
    diffusion = np.array([0.3, 1.0, 4.0])
    return -random_spd(3, rng) @ np.diag(1 / diffusion), diffusion


def law(A, diffusion, at, cov_0, mean_0, centre):
    """Moments at times (q,), by Φ Σ₀ Φᵀ + noise; derivatives from A itself."""
    system = LinearSystem(A, np.diag(diffusion), np.eye(3), np.eye(3), mean_0, cov_0)
    means, covs = [], []
    for t in at:
        phi, noise = system.transition(t)
        means.append(centre + phi @ (mean_0 - centre))
        covs.append(phi @ cov_0 @ phi.T + noise)
    mean, cov = np.array(means), np.array(covs)
    rates = (mean - centre) @ A.T, A @ cov + cov @ A.T + np.diag(diffusion)
    return [double(x) for x in (mean, rates[0], cov, rates[1])]


KINDS = ["diagonal", "symmetric A, C ∝ I", "A C symmetric"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_residual_for_the_exact_marginals_whatever_z(kind):
    rng = np.random.default_rng(9)
    A, diffusion = reversible(kind)
    mean_0, centre = rng.standard_normal((2, 3))
    cov_0 = np.diag([0.5, 2.0, 1.0]) if kind == "diagonal" else random_spd(3, rng)
    mean, mean_dot, cov, cov_dot = law(A, diffusion, np.linspace(0, 2, 7), cov_0, mean_0, centre)
    z = 10 * torch.randn(5, 7, 3, dtype=torch.float64)
    drift = (z - double(centre)) @ double(A).T
    moments = [Moments(mean, mean_dot, cov, cov_dot)]
    if kind == "diagonal":
        moments.append(
            Moments(
                mean, mean_dot, cov.diagonal(dim1=-2, dim2=-1), cov_dot.diagonal(dim1=-2, dim2=-1)
            )
        )
    for m in moments:
        assert_close(linear_drift(m, z, double(diffusion)), drift, rtol=1e-9, atol=1e-9)  # rounding


def test_a_rotation_leaves_a_residual():
    """The family holds only symmetric gains: the rotating part of A stays in the residual."""
    A, diffusion = np.array([[-1.0, 2.0], [-2.0, -1.0]]), np.ones(2)
    cov = double(np.eye(2) * 0.5)  # stationary: A Σ + Σ Aᵀ + C = 0
    zero = torch.zeros(2, dtype=torch.float64)
    z = torch.randn(5, 2, dtype=torch.float64)
    drift = linear_drift(Moments(zero, zero, cov, torch.zeros_like(cov)), z, double(diffusion))
    residual = drift - z @ double(A).T
    rotation = double([[0.0, 2.0], [-2.0, 0.0]])
    assert_close(residual, -z @ rotation.T, rtol=1e-12, atol=1e-12)


# A guide and a prior with known divergence: constant marginals, Ornstein–Uhlenbeck prior.
RATE, DIFFUSION = np.array([0.4, 1.5, 0.9]), np.array([0.8, 0.5, 2.0])
MEAN, VAR = np.array([1.0, -0.5, 0.3]), np.array([0.2, 0.6, 1.1])
EDGES = np.array([[0.0, 0.5, 0.7, 2.0], [1.0, 1.2, 2.2, 2.5]])
DENSITY = np.array([[1.0, 2.0, 0.5], [3.0, 1.0, 1.0]])


def constant_marginals(segments, dtype=torch.float64, dense=False):
    edges, density = double(EDGES)[:segments], double(DENSITY)[:segments]
    mean, var = double(MEAN).to(dtype), double(VAR).to(dtype)

    def moments(at):
        shape = (*at.shape, 3)
        cov = torch.diag_embed(var.expand(shape)) if dense else var.expand(shape)
        return Moments(mean.expand(shape), mean.new_zeros(shape), cov, torch.zeros_like(cov))

    quadrature = StratifiedQuadrature(edges, density)
    return GaussianMarginals(edges, moments, quadrature)


def ou_prior(segments, dtype=torch.float64, initial_weight=None):
    rate = double(RATE).to(dtype)
    return LatentSDE(
        lambda z, t: -rate * z,
        double(DIFFUSION).to(dtype),
        double(EDGES)[:segments],
        initial_mean=torch.tensor([0.1, 0.2, -0.3], dtype=dtype),
        initial_var=torch.tensor([1.0, 0.5, 2.0], dtype=dtype),
        initial_weight=initial_weight,
    )


def exact_divergence(tube_width=1.0):
    """½ ∫ E ‖r‖²_{C⁻¹} v dt with r = (a − c/2s)(z − μ) + a μ, per segment; z from a wider tube."""
    gap = RATE - DIFFUSION / (2 * VAR)
    integrand = 0.5 * ((gap**2 * tube_width**2 * VAR + (RATE * MEAN) ** 2) / DIFFUSION).sum()
    return integrand * (np.diff(EDGES, axis=1) * DENSITY).sum(1)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("num_nodes", [1, 7])
@pytest.mark.parametrize(("antithetic", "tube_width"), [(False, 1.0), (True, 1.0), (True, 3.0)])
def test_divergence_has_the_exact_mean(dense, num_nodes, antithetic, tube_width):
    repeats = 6_000
    q, p = constant_marginals(2, dense=dense), ou_prior(2)
    edges, density = double(EDGES).repeat(repeats, 1), double(DENSITY).repeat(repeats, 1)
    quadrature = StratifiedQuadrature(edges, density)
    many = GaussianMarginals(edges, q.moments, quadrature)
    prior = LatentSDE(
        p.drift, p.diffusion, edges, initial_mean=p.initial_mean, initial_var=p.initial_var
    )
    estimates = drift_residual(
        many, prior, num_nodes=num_nodes, antithetic=antithetic, tube_width=tube_width
    )
    estimates = estimates.reshape(repeats, 2)
    exact = double(exact_divergence(tube_width))
    error = (estimates.mean(0) - exact) * math.sqrt(repeats) / estimates.std(0)
    assert error.abs().max() < standard_errors(2)


def test_opposite_draws_take_the_noise_from_the_drifts_gradient():
    """A drift that misses a constant, under a gain of a thousand: r = B (z − μ) + miss.

    One draw's gradient in the miss has variance B² s / nodes, a pair's none.
    """
    edges = double([[0.0, 1.0]])
    quadrature = StratifiedQuadrature(edges, double([[1.0]]))
    mean, var = double([0.4, -0.2]), double([1e-3, 2e-3])

    def moments(at):
        shape = (*at.shape, 2)
        zero = mean.new_zeros(shape)
        return Moments(mean.expand(shape), zero, var.expand(shape), zero)

    def gradients(antithetic, repeats=400):
        q = GaussianMarginals(edges, moments, quadrature)
        out = []
        for _ in range(repeats):
            miss = double([0.1, 0.3]).requires_grad_()
            p = LatentSDE(
                lambda z, t, miss=miss: miss.expand_as(z),
                double([2.0, 4.0]),
                edges,
                initial_mean=mean,
                initial_var=var,
            )
            residual = drift_residual(q, p, num_nodes=5, antithetic=antithetic)
            out.append(torch.autograd.grad(residual.sum(), miss)[0])
        return torch.stack(out)

    torch.manual_seed(0)
    single, pair = gradients(False), gradients(True)
    expected = double([0.1, 0.3]) / double([2.0, 4.0])
    assert_close(pair, expected.expand_as(pair), rtol=1e-9, atol=1e-9)  # rounding
    gain = double([2.0, 4.0]) / (2 * var)
    sd = gain * var.sqrt() / double([2.0, 4.0]) / math.sqrt(5)
    # 5 standard errors of a standard deviation
    assert ((single.std(0) / sd - 1).abs() < 5 / math.sqrt(2 * 400)).all()


def test_divergence_is_what_torch_and_pyro_dispatch_to(dtype):
    q, p = constant_marginals(2, dtype=dtype), ou_prior(2, dtype=dtype)
    divergence = kl_divergence(q, p)
    assert divergence.shape == q.batch_shape == p.batch_shape == (2,)
    assert divergence.dtype == dtype
    assert (divergence > 0).all()
    torch.manual_seed(1)
    first = kl_divergence(q, p)
    torch.manual_seed(1)
    assert_close(pyro.distributions.kl.kl_divergence(q, p), first, rtol=0, atol=0)
    torch.manual_seed(1)
    assert_close(drift_residual(q, p), first, rtol=0, atol=0)


def test_no_divergence_from_its_own_law():
    """Marginals of the stationary prior itself: zero for every draw."""
    p = ou_prior(2)
    var = double(DIFFUSION / (2 * RATE))

    def moments(at):
        shape = (*at.shape, 3)
        zero = torch.zeros(shape, dtype=torch.float64)
        return Moments(zero, zero, var.expand(shape), zero)

    quadrature = StratifiedQuadrature(double(EDGES), double(DENSITY))
    q = GaussianMarginals(double(EDGES), moments, quadrature)
    assert_close(kl_divergence(q, p), torch.zeros(2, dtype=torch.float64), rtol=0, atol=1e-25)


@pytest.mark.parametrize("dense", [False, True])
def test_initial_weight_adds_the_divergence_of_initial_laws(dense):
    weight = torch.tensor([0.0, 1.7], dtype=torch.float64)
    q = constant_marginals(2, dense=dense)
    torch.manual_seed(4)
    without = kl_divergence(q, ou_prior(2))
    torch.manual_seed(4)
    difference = kl_divergence(q, ou_prior(2, initial_weight=weight)) - without
    m0, v0 = np.array([0.1, 0.2, -0.3]), np.array([1.0, 0.5, 2.0])
    closed = 0.5 * (VAR / v0 + (MEAN - m0) ** 2 / v0 - 1 + np.log(v0 / VAR)).sum()
    assert_close(difference, weight * closed, rtol=1e-10, atol=1e-12)  # a difference: rounding


def test_gradients_reach_both_sides():
    rate, mean, log_var = (
        torch.full((3,), x, dtype=torch.float64, requires_grad=True) for x in (0.7, 0.2, -0.4)
    )
    diffusion = torch.ones(3, dtype=torch.float64, requires_grad=True)
    edges = double(EDGES)

    def moments(at):
        shape = (*at.shape, 3)
        zero = torch.zeros(shape, dtype=torch.float64)
        return Moments(mean.expand(shape), zero, log_var.exp().expand(shape), zero)

    q = GaussianMarginals(edges, moments, StratifiedQuadrature(edges, double(DENSITY)))
    p = LatentSDE(
        lambda z, t: -rate * z + 1,
        diffusion,
        edges,
        initial_mean=torch.zeros(3).double(),
        initial_var=torch.ones(3).double(),
        initial_weight=torch.ones(2).double(),
    )
    kl_divergence(q, p).sum().backward()
    for leaf in (rate, mean, log_var, diffusion):
        assert leaf.grad.isfinite().all()
        assert (leaf.grad != 0).any()


def test_in_a_plate_of_pyro_the_divergence_is_still_found():
    """A plate calls `expand`; a default one would hide both classes from the dispatch."""

    def model():
        with pyro.plate("segments", 10, subsample=torch.arange(2)):
            pyro.sample("path", ou_prior(2))

    def guide():
        with pyro.plate("segments", 10, subsample=torch.arange(2)):
            pyro.sample("path", constant_marginals(2))

    q = poutine.trace(guide).get_trace().nodes["path"]
    p = poutine.trace(model).get_trace().nodes["path"]
    assert type(q["fn"]) is GaussianMarginals
    assert type(p["fn"]) is LatentSDE
    assert q["value"].shape == p["value"].shape == (2, 4, 3)
    assert q["scale"] == p["scale"] == 5
    divergence = kl_divergence(q["fn"], p["fn"])
    assert divergence.shape == (2,)
    # one draw of 64 nodes, each well below a relative deviation of ten
    assert (divergence.numpy() < 10 * exact_divergence()).all()


def test_a_prior_of_one_segment_expands_to_the_plate():
    p = LatentSDE(
        lambda z, t: -z,
        torch.ones(3),
        double(EDGES)[0],
        initial_mean=torch.zeros(3),
        initial_var=torch.ones(3),
    )

    def model():
        with pyro.plate("segments", 5):
            pyro.sample("path", p)

    site = poutine.trace(model).get_trace().nodes["path"]
    assert type(site["fn"]) is LatentSDE
    assert site["value"].shape == (5, 4, 3)
    assert site["fn"].log_prob(site["value"]).shape == (5,)
