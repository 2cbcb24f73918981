"""Noise in opposite pairs: the mean of linear paths is exact, each of them one of the SDE."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from pyro_msde.sde import in_opposite_pairs, integrate, opposites

TIMES = torch.tensor([[0.0, 0.3, 1.0], [0.0, 0.5, 2.0]], dtype=torch.float64)
DIFFUSION = torch.tensor([0.5, 2.0], dtype=torch.float64)
A = torch.tensor([[-1.0, 2.0], [-2.0, -0.5]], dtype=torch.float64)


def linear(z, t):
    return z @ A.mT


def paths(count, seed=0, **options):
    start = torch.ones(count, 2, 2, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    return integrate(linear, DIFFUSION, start, TIMES, max_step=0.01, generator=generator, **options)


def test_pairs_follow_one_another():
    half = torch.randn(2, 3)
    found = in_opposite_pairs(half, 3)
    assert_close(found, torch.stack([half[0], -half[0], half[1]]))


@pytest.mark.parametrize("rule", ["midpoint", "runge-kutta"])
def test_the_mean_of_linear_paths_is_that_without_noise(rule):
    noisy = paths(6, opposed=6, rule=rule)
    still = integrate(
        linear, 0 * DIFFUSION, torch.ones(1, 2, 2).double(), TIMES, max_step=0.01, rule=rule
    )
    assert_close(noisy.mean(0), still[0])
    assert noisy[:, :, -1].std(0).min() > 0.1
    assert len(paths(5, opposed=5, rule=rule)) == 5  # the last is alone


def test_paths_have_the_covariance_of_the_sde():
    """Against the exact one; 2000 pairs, a relative error of .1 is over three standard errors."""
    found = paths(4000, opposed=4000)
    # d/dt P = A P + P Aᵀ + C from zero, by the matrix exponential of the block form (Van Loan)
    for row in range(2):
        for i in (1, 2):
            span = TIMES[row, i]
            block = torch.zeros(4, 4, dtype=torch.float64)
            block[:2, :2], block[:2, 2:], block[2:, 2:] = -A, DIFFUSION.diag(), A.mT
            F = torch.linalg.matrix_exp(block * span)
            expected = F[2:, 2:].mT @ F[:2, 2:]
            error = (found[:, row, i].mT.cov() - expected).abs().max()
            assert error < 0.1 * expected.diagonal().max()


def test_paths_within_a_block_are_independent():
    """Blocks of two: each is the opposite of the next, and its own two paths have nothing to do."""
    found = paths(4, opposed=2)
    still = paths(2, opposed=2).mean(0)
    away = found - still
    assert_close(away[:2], -away[2:])
    assert (away[0] + away[1])[:, -1].abs().min() > 1e-3


def test_each_sample_knows_its_opposite():
    assert opposites(5).tolist() == [1, 0, 3, 2, 4]
    assert opposites(6, 2).tolist() == [2, 3, 0, 1, 4, 5]
