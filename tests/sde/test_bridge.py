"""The bridge between observations: its moments, the divergence with it, and the C that it finds."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from oracles.kalman import LinearSystem, Smoother
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from torch.testing import assert_close

from pyro_msde.data import StratifiedQuadrature
from pyro_msde.sde import GaussianMarginals, LatentSDE, Moments, bridge, drift_residual

NODES = torch.tensor([[0.0, 0.3, 1.1, 1.2], [2.0, 2.4, 2.9, 4.0]], dtype=torch.float64)
DIFFUSION = torch.tensor([0.5, 2.0], dtype=torch.float64)


def test_the_variance_is_that_of_brownian_motion_pinned_at_both_ends():
    """Var(z(t) | z(a), z(b)) from the joint covariance C min(t, t') of the three."""
    at = torch.tensor([[0.1, 0.29, 0.9, 1.15], [2.01, 2.6, 3.0, 3.99]], dtype=torch.float64)
    spread, _ = bridge(NODES, at, DIFFUSION)
    for row in range(2):
        for k, t in enumerate(at[row].tolist()):
            ends = (
                [x for x in NODES[row].tolist() if x <= t][-1],
                next(x for x in NODES[row].tolist() if x > t),
            )
            times = np.array([t, *ends])
            joint = np.minimum(times[:, None], times) + 1.0  # any start before all of them
            left = joint[0, 0] - joint[0, 1:] @ np.linalg.solve(joint[1:, 1:], joint[1:, 0])
            assert_close(spread[row, k], left * DIFFUSION, rtol=1e-9, atol=1e-12)  # rounding


def test_the_rate_is_the_variances_derivative():
    at = torch.tensor([[0.1, 0.29, 0.9, 1.15], [2.01, 2.6, 3.0, 3.99]], dtype=torch.float64)
    h = 1e-6
    after, before = bridge(NODES, at + h, DIFFUSION)[0], bridge(NODES, at - h, DIFFUSION)[0]
    # a parabola: central differences are exact but for rounding
    assert_close(bridge(NODES, at, DIFFUSION)[1], (after - before) / (2 * h), rtol=0, atol=1e-8)


def test_nothing_is_added_at_observations():
    spread, rate = bridge(NODES, NODES, DIFFUSION)
    assert (spread == 0).all()
    assert (rate == 0).all()


def pinned(diffusion, var, nodes=NODES, mean=0.0):
    """Marginals of constant variance at the nodes, bridged, and a prior without drift."""
    quadrature = StratifiedQuadrature(nodes, torch.ones_like(nodes[:, 1:]), pinned=nodes)

    def moments(at):
        shape = (*at.shape, len(diffusion))
        spread, rate = bridge(nodes, at, diffusion)
        zero = torch.zeros(shape, dtype=torch.float64)
        return Moments(zero + mean, zero, var.expand(shape) + spread, rate)

    q = GaussianMarginals(nodes, moments, quadrature)
    p = LatentSDE(
        lambda z, t: torch.zeros_like(z), diffusion, nodes, initial_mean=var, initial_var=var
    )
    return q, p


@pytest.mark.parametrize("ratio", [0.5, 84.0, 8400.0, 840_000.0])
def test_the_divergence_of_a_pinned_interval_is_half_a_logarithm(ratio):
    """∫ ½ a τ²/(1 + a τ(1 − τ)) dτ → ½ log a − ½, a = CΔ/s. False alarms 6e-5 each."""
    repeats, nodes = 20_000, torch.tensor([[1.0, 1.5]], dtype=torch.float64)
    nodes = nodes.repeat(repeats, 1)
    var = torch.ones(1, dtype=torch.float64)
    q, p = pinned(var * ratio / 0.5, var, nodes)
    torch.manual_seed(0)
    estimates = drift_residual(q, p, num_nodes=2)
    edges = [0.0, *(1 - np.geomspace(0.5, 1e-9, 40)), 1.0]

    def integrand(t):
        return 0.5 * ratio * t * t / (1 + ratio * t * (1 - t))

    exact = sum(quad(integrand, a, b)[0] for a, b in itertools.pairwise(edges))
    assert abs(float(estimates.mean()) - exact) < 4 * float(estimates.std()) / math.sqrt(repeats)
    if ratio > 1000:
        assert exact == pytest.approx(0.5 * math.log(ratio) - 0.5, abs=20 / ratio)


@pytest.mark.parametrize("dense", [False, True])
def test_dense_covariances_have_the_divergence_of_diagonal_ones(dense):
    q, p = pinned(DIFFUSION, torch.tensor([0.1, 0.2], dtype=torch.float64))
    torch.manual_seed(0)
    expected = drift_residual(q, p, num_nodes=32)

    def moments(at):
        mean, mean_dot, cov, cov_dot, _ = q.moments(at)
        return Moments(mean, mean_dot, torch.diag_embed(cov), torch.diag_embed(cov_dot))

    torch.manual_seed(0)
    found = drift_residual(GaussianMarginals(NODES, moments, q.quadrature), p, num_nodes=32)
    assert_close(found, expected, rtol=1e-9, atol=0)


def walk(noise, count, seed):
    """Noisy observations (count,) of a random walk with C = Δ = 1."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal(count).cumsum() + math.sqrt(noise) * rng.standard_normal(count)


def likeliest_diffusion(observed, noise):
    """argmax over C of the exact evidence, by a Kalman filter."""
    times = np.arange(len(observed), dtype=float)

    def lost(log):
        system = LinearSystem(
            *(np.array([[x]]) for x in (0.0, math.exp(log), 1.0, noise)),
            m0=observed[:1],
            P0=np.eye(1) * 10,
        )
        return -Smoother(system, times, observed[:, None]).log_evidence

    return math.exp(minimize_scalar(lost, bounds=(-4, 4), method="bounded").x)


def elbo_optimum(observed, noise, bridged):
    """C where the ELBO is largest, together with the means at observations and their variance.

    Means are linear in between. E_q‖r‖² is exact for drifts of zero, (μ̇² + B² Σ)/C, and so is the
    time integral in effect: 64 Gauss–Legendre nodes towards the interval's end.
    """
    y = torch.as_tensor(observed)
    mean = y.clone().requires_grad_()
    logs = torch.tensor([math.log(noise / 2), 0.0], dtype=torch.float64, requires_grad=True)
    x, w = (torch.as_tensor(v) for v in np.polynomial.legendre.leggauss(64))
    left = ((x + 1) / 2) ** 3  # τ = 1 − u³ crowds nodes at the end
    weight = w / 2 * 3 * ((x + 1) / 2) ** 2
    ends = torch.tensor([[0.0, 1.0]], dtype=torch.float64)

    def loss():
        s, C = logs.exp()
        spread, rate = (v[0, :, 0] for v in bridge(ends, 1 - left[None], C[None]))
        if not bridged:
            spread, rate = torch.zeros_like(spread), torch.zeros_like(rate)
        gain = 0.5 * (C - rate) / (s + spread)
        inside = (weight * gain**2 * (s + spread)).sum() / C
        residual = 0.5 * (mean.diff().square() / C + inside).sum()
        fit = 0.5 * (((y - mean) ** 2 + s) / noise).sum()
        start = 0.5 * ((s + (mean[0] - y[0]) ** 2) / 10 - s.log())
        return residual + fit + start

    optimiser = torch.optim.LBFGS(
        [mean, logs], max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe"
    )

    def closure():
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return value

    optimiser.step(closure)
    return float(logs.detach()[1].exp())


@pytest.mark.parametrize(
    ("noise", "bridged", "without"),
    [(0.01, 1.00, 0.32), (0.1, 1.02, 0.58), (1.0, 1.02, 0.83), (3.0, 0.96, 0.92)],
)
def test_the_elbo_finds_a_random_walks_diffusion(noise, bridged, without):
    """Against the exact maximum of the evidence on the same data; noise in units of CΔ.

    Not 1: variances of this family are constant at observations, and parabolas in between.
    `docs/method.md` quotes these numbers.
    """
    observed = walk(noise, 300, seed=0)
    exact = likeliest_diffusion(observed, noise)
    assert elbo_optimum(observed, noise, True) / exact == pytest.approx(bridged, abs=0.01)
    assert elbo_optimum(observed, noise, False) / exact == pytest.approx(without, abs=0.01)
