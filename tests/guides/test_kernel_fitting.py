"""The kernel of time by leave-one-out, against Gaussian processes without one of the values."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pyro_msde.guides.interpolation import DeepKernel, Interpolant
from pyro_msde.guides.kernel_fitting import choose_kernel, leave_one_out_error

TIMES = torch.linspace(0, 1.6, 65, dtype=torch.float64)
RATES = 10.0, 30.0  # a wave and its third harmonic, of five snapshots a radian and one and a half


def waves(noise=0.0):
    """Values (time, state), and their derivatives."""
    angles = TIMES[:, None] * torch.tensor([RATES[0]] * 2 + [RATES[1]] * 2) + torch.tensor(
        [0.3, 1.9, 0.7, 2.5]
    )
    rates = torch.tensor([RATES[0]] * 2 + [RATES[1]] * 2)
    generator = torch.Generator().manual_seed(0)
    disturbed = noise * torch.randn(angles.shape, generator=generator, dtype=torch.float64)
    return angles.sin() + disturbed, rates * angles.cos()


def rate_error(kernel, values, truth):
    """Relative, away from the ends."""
    with torch.no_grad():
        rates = Interpolant(kernel, TIMES).weights(TIMES)[1] @ values
    inner = slice(6, -6)
    return float((rates - truth)[inner].norm() / truth[inner].norm())


def test_errors_are_those_of_predictions_without_the_value():
    torch.manual_seed(1)
    kernel, (values, _) = DeepKernel(lengthscale=0.3, noise=1e-2), waves()
    times, values = TIMES[:12], values[:12]
    with torch.no_grad():
        rescaled = 2 * times / times[-1] - 1
        h = kernel.features(rescaled)[0].numpy()
        nu = float(kernel.noise())
        found = leave_one_out_error(kernel, times, values)
    expected = 0.0
    for i in range(12):
        rest = np.delete(np.arange(12), i)
        gram = np.exp(-0.5 * np.square(h[rest, None] - h[rest])) + nu * np.eye(11)
        weights = np.linalg.solve(gram, np.exp(-0.5 * np.square(h[rest] - h[i])))
        expected += float(np.square(weights @ values.numpy()[rest] - values.numpy()[i]).sum())
    assert found == pytest.approx(expected, rel=1e-8)


def test_rates_of_waves_that_a_smooth_kernel_missed():
    values, truth = waves()
    kernel = DeepKernel(lengthscale=0.5, noise=1e-2)
    before = rate_error(kernel, values, truth)
    choose_kernel(kernel, [(TIMES, values)])
    assert before > 0.3
    assert rate_error(kernel, values, truth) < 0.01


def test_noise_is_not_interpolated():
    """With noise of .3 the chosen kernel is the better for values that it has not seen."""
    values, _ = waves(noise=0.3)
    clean, _ = waves()
    kernel = DeepKernel(lengthscale=0.2, noise=1e-2)
    choose_kernel(kernel, [(TIMES, values)])
    with torch.no_grad():
        smoothed = Interpolant(kernel, TIMES).weights(TIMES)[0] @ values
    assert float((smoothed - clean).std()) < 0.25  # noise that is kept whole has .3


def test_the_best_of_all_is_left_as_it_is():
    values, _ = waves()
    kernel = DeepKernel(lengthscale=0.2, noise=1e-5)
    for _ in range(4):
        choose_kernel(kernel, [(TIMES, values)])
    before = {name: value.clone() for name, value in kernel.state_dict().items()}
    choose_kernel(kernel, [(TIMES, values)])
    for name, value in kernel.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=1e-6, atol=0)
