"""Kuramoto–Sivashinsky data: order of the solver, linear growth, the attractor."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from pyro_msde.datasets import ks

X = np.arange(64) * (ks.LENGTH / 64)


@pytest.mark.parametrize("mode", [1, 3, 5])
def test_small_waves_grow_at_the_linear_rate(mode):
    k = 2 * np.pi * mode / ks.LENGTH
    u = ks.solve(1e-6 * np.cos(k * X), num_steps=4, dt=0.25)
    growth = np.log(np.abs(np.fft.rfft(u[-1])[mode]) / np.abs(np.fft.rfft(u[0])[mode]))
    assert growth == pytest.approx((k**2 - k**4) * 1.0, abs=1e-5)  # amplitude 1e-6, squared


def test_agrees_with_a_stiff_solver():
    """In physical space, derivatives by matrices, no dealiasing: the state is well resolved."""
    u0 = np.cos(2 * np.pi * X / ks.LENGTH) + 0.5 * np.sin(6 * np.pi * X / ks.LENGTH)
    k = 2j * np.pi * np.fft.fftfreq(64, ks.LENGTH / 64)
    waves = np.fft.fft(np.eye(64), axis=0)
    first, second, fourth = (np.fft.ifft(k[:, None] ** p * waves, axis=0).real for p in (1, 2, 4))

    def rate(_, u):
        return -0.5 * first @ u**2 - second @ u - fourth @ u

    def jacobian(_, u):
        return -first * u - second - fourth

    reference = solve_ivp(
        rate, (0, 2), u0, method="Radau", jac=jacobian, rtol=1e-9, atol=1e-9, t_eval=[0, 1, 2]
    )
    u = ks.solve(u0, num_steps=8)[::4]
    # the stored data's own error is some 1e-6, a ten thousandth of the noise
    np.testing.assert_allclose(u, reference.y.T, rtol=0, atol=1e-5)


def test_data_lie_on_the_attractor():
    ds = ks.KS.generate("published", 2, horizon=50.0, seed=0)
    assert ds.u.shape == (2, 201, 512)
    clean = ds.u_clean.values
    np.testing.assert_allclose(clean.mean(-1), 0, atol=1e-5)  # conserved, float32
    assert 1.1 < clean.std() < 1.5  # 1.3 over long times
    # noise is 1 % of that; 5 standard errors
    noise = (ds.u - ds.u_clean).values
    assert abs(noise.std() / 0.013 - 1) < 5 / np.sqrt(2 * noise.size)
    assert np.abs(clean[0, 0] - clean[1, 0]).max() > 0.5
