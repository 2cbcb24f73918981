"""Least-squares states of a decoder against numpy's and scipy's solutions."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import least_squares
from torch.testing import assert_close

from pyro_msde.guides.inversion import fit_states


def random(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def test_linear_decoder_gives_weighted_least_squares():
    D, target = random(12, 3), random(5, 2, 6, seed=1)
    weight = random(2, 6, seed=2).exp()
    found = fit_states(lambda eta: (eta @ D.T).unflatten(-1, (2, 6)), random(5, 3), target, weight)
    root = weight.flatten().sqrt().numpy()
    expected = np.linalg.lstsq(root[:, None] * D.numpy(), (root * target.flatten(1).numpy()).T)[0]
    assert_close(found.numpy(), expected.T, rtol=1e-8, atol=1e-8)  # damping falls to 1e-12


def test_curved_decoder_gives_what_scipy_finds_row_by_row():
    A, B = random(9, 2), random(9, 2, seed=3)

    def decoder(eta):
        return torch.sin(eta @ A.T) + (eta @ B.T) ** 3

    truth = 0.6 * random(4, 2, seed=4)
    target = decoder(truth) + 0.05 * random(4, 9, seed=5)
    weight = random(9, seed=6).exp()
    start = truth + 0.1 * random(4, 2, seed=7)
    found = fit_states(decoder, start, target, weight)
    for k in range(4):
        expected = least_squares(
            lambda x, k=k: (weight.sqrt() * (target[k] - decoder(torch.from_numpy(x)))).numpy(),
            start[k].numpy(),
            xtol=1e-12,
            ftol=1e-12,
            gtol=1e-12,
        ).x
        assert_close(found[k].numpy(), expected, rtol=1e-6, atol=1e-6)  # scipy differentiates by FD


def test_steps_that_do_not_help_are_not_taken():
    """From far away Gauss–Newton alone diverges on atan; the misfit never grows here."""
    target, weight = torch.zeros(3, 1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    start = torch.tensor([[3.0], [-20.0], [0.1]], dtype=torch.float64)
    losses = [fit_states(torch.atan, start, target, weight, iterations=n).abs() for n in range(12)]
    assert (torch.diff(torch.stack(losses), dim=0) <= 0).all()
    assert fit_states(torch.atan, start, target, weight, iterations=60).abs().max() < 1e-6
