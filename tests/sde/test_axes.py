"""Noise that goes together, against dense formulas, scipy and the Lyapunov equation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles.gain import kronecker_gain
from scipy.linalg import solve_continuous_lyapunov
from scipy.stats import multivariate_normal, ortho_group
from torch.testing import assert_close

from pyro_msde.data import StratifiedQuadrature
from pyro_msde.sde import (
    GaussianMarginals,
    LatentSDE,
    Moments,
    covariance,
    linear_drift,
    noise_axes,
)
from pyro_msde.sde.drift_residual import drift_residual

N = 4
RNG = np.random.default_rng(0)
AXES = ortho_group.rvs(N, random_state=RNG)
SIZES = np.array([0.1, 0.5, 1.0, 2.0])
C = AXES @ np.diag(SIZES) @ AXES.T
A = -np.eye(N) + 0.3 * RNG.standard_normal((N, N))


def double(x):
    return torch.tensor(np.array(x, dtype=np.float64))


def law(times, **options):
    zero = torch.zeros(N, dtype=torch.float64)
    return LatentSDE(
        lambda z, t: z @ double(A).mT,
        double(SIZES),
        times,
        initial_mean=zero,
        initial_var=zero + 1,
        noise_axes=double(AXES),
        **options,
    )


def marginals(axes, cov):
    """Marginals with a constant covariance, which is diagonal along axes, or dense."""

    def moments(t):
        mean = torch.stack([t.sin(), t.cos(), t, 1 + 0 * t], -1)
        rate = torch.stack([t.cos(), -t.sin(), 1 + 0 * t, 0 * t], -1)
        wide = cov.expand(*t.shape, *cov.shape)
        return Moments(mean, rate, wide, torch.zeros_like(wide), axes)

    return moments


def test_the_pull_towards_the_mean_is_that_of_the_dense_covariance():
    var = double([0.3, 0.2, 0.7, 1.1])
    dense = AXES @ np.diag(var.numpy()) @ AXES.T
    t, z = double([[0.3]]), double(RNG.standard_normal((1, 1, N)))
    B = AXES @ kronecker_gain(np.diag(var.numpy()), np.zeros((N, N)), SIZES) @ AXES.T
    for m in (marginals(double(AXES), var)(t), marginals(None, double(dense))(t)):
        found = linear_drift(m, z, double(SIZES), double(AXES))
        wanted = m.mean_dot[0, 0].numpy() - B @ (z - m.mean)[0, 0].numpy()
        assert_close(found[0, 0], double(wanted), rtol=1e-9, atol=1e-9)  # rounding


def test_variances_of_states_where_noise_has_other_axes():
    """B of a diagonal Σ and a dense C, against Σ B + B Σ = C and C⁻¹ B symmetric in C's axes."""
    var, t = double([0.3, 0.2, 0.7, 1.1]), double([[0.3]])
    m = marginals(None, var)(t)
    offsets = torch.eye(N, dtype=torch.float64)
    B = -torch.stack(
        [
            (linear_drift(m, m.mean + e, double(SIZES), double(AXES)) - m.mean_dot)[0, 0]
            for e in offsets
        ],
        -1,
    )
    change = double(C) - B @ var.diag() - var.diag() @ B.mT
    assert_close(change, torch.zeros(N, N, dtype=torch.float64), rtol=0, atol=1e-9)
    scaled = double(np.linalg.inv(C)) @ B
    assert_close(scaled, scaled.mT, rtol=1e-9, atol=1e-9)


def test_the_residual_is_that_of_dense_matrices():
    """½∫E rᵀ C⁻¹ r dt of r = μ̇ − B (z − μ) − A z, in closed form, by quadrature in time."""
    var = double([0.3, 0.2, 0.7, 1.1])
    moments, times = marginals(double(AXES), var), double([[0.0, 0.5, 1.0]])
    nodes = StratifiedQuadrature(double([[0.0, 1.0]]), double([[1.0]]))
    q = GaussianMarginals(times, moments, nodes)
    torch.manual_seed(0)
    found = torch.stack(
        [drift_residual(q, law(times), num_nodes=4000, antithetic=True) for _ in range(5)]
    )
    dense = AXES @ np.diag(var.numpy()) @ AXES.T
    B = AXES @ kronecker_gain(np.diag(var.numpy()), np.zeros((N, N)), SIZES) @ AXES.T
    at = (np.arange(2000) + 0.5) / 2000
    m = moments(double(at))
    r = m.mean_dot.numpy() - m.mean.numpy() @ A.T
    inv = np.linalg.inv(C)
    square = np.einsum("ti,ij,tj->t", r, inv, r).mean()
    noisy = np.trace(inv @ (A + B) @ dense @ (A + B).T)
    assert float(found.mean()) == pytest.approx(0.5 * (square + noisy), rel=0.02)


def test_the_path_density_is_that_of_dense_noise():
    times = double([[0.0, 0.1, 0.3]])
    z = double(RNG.standard_normal((1, 3, N)))
    path = z[0].numpy()
    wanted = multivariate_normal(np.zeros(N), np.eye(N)).logpdf(path[0])
    for i, step in enumerate((0.1, 0.2)):
        mean = path[i] + step * A @ path[i]
        wanted += multivariate_normal(mean, step * C).logpdf(path[i + 1])
    assert float(law(times).log_prob(z)) == pytest.approx(wanted, rel=1e-9)


def test_simulated_paths_settle_at_the_solution_of_lyapunovs_equation():
    """Of 4000 paths: covariances to 4 standard errors, √(2/4000) of a variance; 1e-3 in all."""
    torch.manual_seed(0)
    times = torch.linspace(0, 8, 3, dtype=torch.float64)[None]
    paths = law(times, max_step=0.05).rsample((4000,))[:, 0, -1]
    found = np.cov(paths.numpy().T)
    wanted = solve_continuous_lyapunov(A, -C)
    sizes = np.sqrt(np.outer(np.diag(wanted), np.diag(wanted)))
    assert np.abs(found - wanted).max() < 4 * (2 / 4000) ** 0.5 * sizes.max()


def test_draws_and_variances_of_marginals():
    var, times = double([0.3, 0.2, 0.7, 1.1]), double([[0.0, 1.0]])
    q = GaussianMarginals(times, marginals(double(AXES), var), None)
    dense = covariance(var, double(AXES))
    assert_close(q.variance[0, 0], dense.diagonal())
    torch.manual_seed(0)
    found = np.cov((q.rsample((4000,))[:, 0, 1]).numpy().T)
    np.testing.assert_allclose(found, dense.numpy(), atol=4 * (2 / 4000) ** 0.5 * 1.1)
    assert noise_axes(q) is None
