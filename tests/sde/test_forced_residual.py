"""The drift residual of forced SDEs: each quadrature node sees its own control."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from pyro_msde.data import Inputs, StratifiedQuadrature
from pyro_msde.sde import GaussianMarginals, LatentSDE, Moments, drift_residual, integrate

RATE, VAR = 1.7, 0.4  # of an OU process about a mean that a control drives
TIMES = torch.tensor([[0.0, 0.2, 0.7, 1.0]], dtype=torch.float64)
CONTROLS = torch.tensor([[[0.0], [2.0], [-1.0], [1.0]]], dtype=torch.float64)


def hand(t):
    """The control (1, time) at t (1, time), by hand."""
    rising, falling, late = 10 * t, 2 - 6 * (t - 0.2), -1 + (t - 0.7) * 2 / 0.3
    return torch.where(t < 0.2, rising, torch.where(t < 0.7, falling, late))


def drift(z, t, covariates=None):
    return -RATE * z + 3.0 * covariates[..., :1].expand_as(z)


def marginals(quadrature, offset):
    """Of mean zero and variance VAR, as if the drift had no more than that offset(t)."""

    def moments(t):
        zero = torch.zeros(*t.shape, 1, dtype=torch.float64)
        return Moments(zero, offset(t)[..., None], zero + VAR, zero)

    return GaussianMarginals(TIMES, moments, quadrature)


def law():
    inputs = Inputs(None, TIMES, CONTROLS)
    C = torch.tensor([2 * RATE * VAR], dtype=torch.float64)
    zero = torch.zeros_like(C)
    return LatentSDE(inputs.driving(drift), C, TIMES, initial_mean=zero, initial_var=zero + VAR)


def test_no_residual_is_left_of_the_control_that_the_marginals_follow():
    quadrature = StratifiedQuadrature(TIMES, torch.ones(1, 3, dtype=torch.float64))
    followed = drift_residual(marginals(quadrature, lambda t: 3 * hand(t)), law(), num_nodes=50)
    assert_close(followed, torch.zeros(1, dtype=torch.float64), rtol=0, atol=1e-24)


def test_what_the_marginals_miss_of_a_control_is_its_square_over_twice_the_diffusion():
    torch.manual_seed(0)
    quadrature = StratifiedQuadrature(TIMES, torch.ones(1, 3, dtype=torch.float64))
    missed = drift_residual(marginals(quadrature, torch.zeros_like), law(), num_nodes=20_000)
    # ∫u² of a line from a to b over h is h (a² + ab + b²)/3
    pieces = [(0.2, 0.0, 2.0), (0.5, 2.0, -1.0), (0.3, -1.0, 1.0)]
    square = sum(h * (a * a + a * b + b * b) / 3 for h, a, b in pieces)
    expected = torch.tensor([9 * square / (4 * RATE * VAR)], dtype=torch.float64)
    assert_close(missed, expected, rtol=1e-3, atol=0)  # nodes are stratified


def test_steps_of_an_integration_see_the_control_at_their_own_time():
    inputs = Inputs(None, TIMES, CONTROLS)
    t = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    start = torch.full((1, 1, 1), 0.3, dtype=torch.float64)
    still = torch.zeros(1, dtype=torch.float64)
    path = integrate(inputs.driving(drift), still, start, t, max_step=1e-3)
    clock = torch.linspace(0, 1, 20_001, dtype=torch.float64)[None]
    forced = torch.exp(-RATE * (1 - clock)) * 3 * hand(clock)
    exact = 0.3 * torch.exp(torch.tensor(-RATE)) + torch.trapezoid(forced, clock)[0]
    assert_close(path[0, 0, 1, 0], exact, rtol=1e-5, atol=0)  # second order in the step
