"""The ELBO of a linear-Gaussian model never exceeds the evidence, and reaches it where it should.

Model: dz = A z dt + L dβ, C = L Lᵀ diagonal, y_i = H z(t_i) + noise, z(t_0) normal. The evidence is
a Kalman filter's. The ELBO is the library's: its marginals, prior and registered divergence, beside
the expected log likelihood in closed form.

Nothing is random but the data. In time, Gauss–Legendre nodes are put into each interval between
observations, where marginals are smooth. For z, the residual is affine in it and the divergence
quadratic, so its expectation is the mean over the 2 n cubature points ±√n e_j, put in the place of
the normal draws, one a row. Random draws have the same mean, as one of the tests shows.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from oracles.kalman import LinearSystem, Smoother, joint_log_evidence
from oracles.tolerance import standard_errors
from torch.distributions import kl_divergence

from pyro_msde.sde import GaussianMarginals, LatentSDE, Moments

TIMES = np.array([0.0, 0.3, 0.4, 1.1, 1.5, 2.4])
NODES = 20  # an interval: spectral accuracy, rounding long before


class GaussLegendre:
    """Nodes and weights in each interval between observations; rows alike."""

    def __init__(self, times, rows):
        x, w = np.polynomial.legendre.leggauss(NODES)
        half = np.diff(times) / 2
        nodes = times[:-1, None] + half[:, None] * (x + 1)
        self.nodes = torch.tensor(nodes.reshape(1, -1)).repeat(rows, 1)
        self.weights = torch.tensor((half[:, None] * w).reshape(1, -1)).repeat(rows, 1)

    def draw(self, num_nodes):
        return self.nodes, self.weights


def system_of(A, diffusion, seed=0, observed=2):
    rng = np.random.default_rng(seed)
    n = len(A)
    return LinearSystem(
        A=np.asarray(A),
        C=np.diag(diffusion),
        H=rng.standard_normal((observed, n)),
        R=np.diag(rng.uniform(0.05, 0.3, observed)),
        m0=rng.standard_normal(n),
        P0=np.diag(rng.uniform(0.5, 1.5, n)),
    )


def symmetric(n, seed):
    """Symmetric with eigenvalues of both signs."""
    a = np.random.default_rng(seed).standard_normal((n, n))
    return 0.5 * (a + a.T) - 0.5 * np.eye(n)


# The family holds the posterior where A C is symmetric (a reversible system).
REVERSIBLE = {
    "1-D": ([[-0.8]], [0.7]),
    "1-D unstable": ([[0.5]], [0.2]),
    "2-D symmetric A, C ∝ I": (symmetric(2, 1), [0.6, 0.6]),
    "3-D symmetric A, C ∝ I": (symmetric(3, 2), [0.6, 0.6, 0.6]),
    "3-D A C symmetric": (0.3 * symmetric(3, 3) @ np.diag([5.0, 1.0, 0.5]), [0.2, 1.0, 2.0]),
}
NOT_REVERSIBLE = {
    "rotation": ([[-0.3, 2.0], [-2.0, -0.3]], [0.6, 0.6]),
    "triangular": ([[-1.0, 1.5], [0.0, -0.2]], [0.6, 0.6]),
    "symmetric A, unequal C": (symmetric(2, 1), [0.1, 2.0]),
}
ALL = REVERSIBLE | NOT_REVERSIBLE


def solved(name, seed=0):
    """The system, its data and their smoother."""
    system = system_of(*ALL[name], seed=seed)
    observed = system.simulate(TIMES, np.random.default_rng(100 + seed))
    return system, observed, Smoother(system, TIMES, observed)


def library_moments(moments_at, rows, diagonal=False):
    """The library's function of times (row, q) from one of a single time; rows alike."""
    known = {}

    def moments(at):
        key = tuple(at[0].tolist())
        if key not in known:
            known[key] = [np.stack(x) for x in zip(*(moments_at(t) for t in key), strict=True)]
        mean, mean_dot, cov, cov_dot = (torch.tensor(x) for x in known[key])
        if diagonal:
            cov, cov_dot = cov.diagonal(dim1=-2, dim2=-1), cov_dot.diagonal(dim1=-2, dim2=-1)
        return Moments(*(x.expand(rows, *x.shape) for x in (mean, mean_dot, cov, cov_dot)))

    return moments


def cubature(like):
    """In the place of normal draws (row, node, n): row j holds √n e_j, row n + j its negative."""
    rows, nodes, n = like.shape
    points = math.sqrt(n) * torch.cat([torch.eye(n), -torch.eye(n)]).to(like)
    return points[:, None, :].expand(rows, nodes, n)


def pieces(system, moments_at, rows, diagonal=False):
    """q and p with `rows` equal segments."""
    diffusion = torch.tensor(np.diag(system.C).copy())
    A = torch.tensor(system.A)
    times = torch.tensor(TIMES).repeat(rows, 1)
    moments = library_moments(moments_at, rows, diagonal)
    q = GaussianMarginals(times, moments, GaussLegendre(TIMES, rows))
    p = LatentSDE(
        lambda z, t: z @ A.T,
        diffusion,
        times,
        initial_mean=torch.tensor(system.m0),
        initial_var=torch.tensor(np.diag(system.P0).copy()),
        initial_weight=torch.ones(rows, dtype=torch.float64),
    )
    return q, p


def expected_log_likelihood(system, observed, q):
    """Σ_i E_q log p(y_i | z(t_i)), from the marginals of the first row."""
    total = 0.0
    mean, cov = q.at_times.mean[0].numpy(), q.at_times.cov[0].numpy()
    prec = np.linalg.inv(system.R)
    constant = np.linalg.slogdet(2 * np.pi * system.R)[1]
    for y, mu, sigma in zip(observed, mean, cov, strict=True):
        r = y - system.H @ mu
        dense = np.diag(sigma) if sigma.ndim == 1 else sigma
        spread = np.trace(prec @ system.H @ dense @ system.H.T)
        total -= 0.5 * (r @ prec @ r + spread + constant)
    return total


@pytest.fixture
def elbo(monkeypatch):
    """The ELBO of some marginals, exact in its expectation over z."""

    def compute(system, observed, moments_at, diagonal=False):
        q, p = pieces(system, moments_at, 2 * len(system.A), diagonal)
        with monkeypatch.context() as patch:
            patch.setattr(torch, "randn_like", cubature)
            divergence = kl_divergence(q, p)
        return expected_log_likelihood(system, observed, q) - divergence.mean().item()

    return compute


# The oracle itself
@pytest.mark.parametrize("name", ALL)
def test_filter_finds_the_evidence_of_one_large_normal(name):
    system, observed, smoother = solved(name)
    expected = joint_log_evidence(system, TIMES, observed)
    assert smoother.log_evidence == pytest.approx(expected, rel=1e-10)  # rounding


@pytest.mark.parametrize("name", ["3-D A C symmetric", "rotation"])
def test_smoother_derivatives_are_limits_of_differences(name):
    _, _, smoother = solved(name)
    for t in (0.1, 0.37, 0.8, 2.2):
        _, mean_dot, _, cov_dot = smoother.moments(t)
        errors = []
        for h in (2e-3, 1e-3):
            after, before = smoother.moments(t + h), smoother.moments(t - h)
            errors.append(
                max(
                    np.abs((after[i] - before[i]) / (2 * h) - d).max()
                    for i, d in ((0, mean_dot), (2, cov_dot))
                )
            )
        assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)  # second order
        assert errors[1] < 1e-3


def test_smoother_is_continuous_at_observations():
    _, _, smoother = solved("3-D A C symmetric")
    for t in TIMES[1:-1]:
        for i in (0, 2):
            before, after = smoother.moments(t - 1e-9)[i], smoother.moments(t)[i]
            np.testing.assert_allclose(before, after, atol=1e-6)  # rates up to 1e2


# The claims
@pytest.mark.parametrize("name", REVERSIBLE)
def test_with_the_smoother_s_marginals_the_elbo_is_the_evidence(name, elbo):
    system, observed, smoother = solved(name)
    # rounding alone, times the condition of filtered covariances: quadrature has converged
    value = elbo(system, observed, smoother.moments)
    assert value == pytest.approx(smoother.log_evidence, abs=1e-8)
    if len(system.A) == 1:
        value = elbo(system, observed, smoother.moments, diagonal=True)
        assert value == pytest.approx(smoother.log_evidence, abs=1e-8)


@pytest.mark.parametrize("name", ALL)
def test_random_draws_have_the_mean_of_the_cubature(name, elbo):
    """False alarms 2e-5."""
    system, observed, smoother = solved(name)
    rows = 2_000
    q, p = pieces(system, smoother.moments, rows)
    values = expected_log_likelihood(system, observed, q) - kl_divergence(q, p)
    exact = elbo(system, observed, smoother.moments)
    error = (values.mean().item() - exact) * math.sqrt(rows) / values.std().item()
    assert abs(error) < standard_errors(1)


@pytest.mark.parametrize("name", NOT_REVERSIBLE)
def test_a_system_that_is_not_reversible_leaves_a_gap(name, elbo):
    """B is symmetric in C^{−½} z: this is its price. The value is printed, not prescribed."""
    system, observed, smoother = solved(name)
    gap = smoother.log_evidence - elbo(system, observed, smoother.moments)
    print(f"{name}: evidence {smoother.log_evidence:.3f}, gap {gap:.3f} nats")  # noqa: T201
    assert gap > 1e-2  # rounding is 1e-8


def perturbed(moments_at, size, rng):
    """Marginals moved by smooth functions of time, with their derivatives; cov stays positive."""
    n = len(moments_at(0.0)[0])
    shift, phase = rng.standard_normal(n), rng.uniform(0, 6, n)
    M = 0.5 * rng.standard_normal((n, n))

    def moments(t):
        mean, mean_dot, cov, cov_dot = moments_at(t)
        wave, wave_dot = np.sin(2 * t + phase), 2 * np.cos(2 * t + phase)
        # Σ → F Σ Fᵀ, F = I + size sin(t) M
        F, F_dot = np.eye(n) + size * np.sin(t) * M, size * np.cos(t) * M
        return (
            mean + size * shift * wave,
            mean_dot + size * shift * wave_dot,
            F @ cov @ F.T,
            F_dot @ cov @ F.T + F @ cov_dot @ F.T + F @ cov @ F_dot.T,
        )

    return moments


@pytest.mark.parametrize("name", REVERSIBLE)
def test_moved_marginals_lie_below_and_quadratically_so(name, elbo):
    """At the maximum the loss is of second order: tenfold smaller moves cost a hundredth."""
    system, observed, smoother = solved(name)
    for trial in range(3):
        gaps = []
        for size in (1e-1, 1e-2, 1e-3):
            moved = perturbed(smoother.moments, size, np.random.default_rng(trial))
            gaps.append(smoother.log_evidence - elbo(system, observed, moved))
        assert min(gaps) > 0
        # third-order terms: relatively of the size of the move; rounding: 1e-8 of some 1e-5
        assert gaps[1] / gaps[2] == pytest.approx(100, rel=0.1)
        assert gaps[0] > gaps[1]


def random_marginals(n, rng, diagonal):
    """Smooth mean and covariance with analytic derivatives, near nothing in particular."""
    level, slope, amplitude, phase = rng.standard_normal((4, n))
    frequency = rng.uniform(0.5, 4)
    base = np.eye(n) * rng.uniform(0.1, 1) + (0 if diagonal else 0.3 * rng.standard_normal((n, n)))
    change = rng.standard_normal((n, n)) * 0.1
    if diagonal:
        change = np.diag(np.diag(change))

    def moments(t):
        wave, wave_dot = np.sin(frequency * t), frequency * np.cos(frequency * t)
        F, F_dot = base + change * wave, change * wave_dot
        return (
            level + slope * t + amplitude * np.sin(frequency * t + phase),
            slope + frequency * amplitude * np.cos(frequency * t + phase),
            F @ F.T + 1e-2 * np.eye(n),
            F_dot @ F.T + F @ F_dot.T,
        )

    return moments


@pytest.mark.parametrize("diagonal", [False, True])
@pytest.mark.parametrize("name", ALL)
def test_no_guide_ever_lies_above(name, diagonal, elbo):
    for trial in range(6):
        system, observed, smoother = solved(name, seed=trial)
        rng = np.random.default_rng(1000 + trial)
        marginals = random_marginals(len(system.A), rng, diagonal)
        assert elbo(system, observed, marginals, diagonal) < smoother.log_evidence


@pytest.mark.parametrize("name", ALL)
def test_marginals_near_the_smoother_never_lie_above(name, elbo):
    """Small moves are where an error of sign or factor would show as a gain."""
    system, observed, smoother = solved(name)
    for trial in range(4):
        rng = np.random.default_rng(50 + trial)
        moved = perturbed(smoother.moments, 10.0 ** rng.uniform(-3, -0.5), rng)
        assert elbo(system, observed, moved) < smoother.log_evidence


def test_diagonal_marginals_of_a_correlated_posterior_lie_below(elbo):
    """The smoother's variances without its correlations: mean field has a gap of its own."""
    system, observed, smoother = solved("3-D symmetric A, C ∝ I")
    value = elbo(system, observed, smoother.moments, diagonal=True)
    assert value < smoother.log_evidence - 1e-2
