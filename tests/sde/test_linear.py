"""Exact discretisation of linear SDEs against quadrature and the Lyapunov equation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad_vec
from scipy.linalg import expm

from pyro_msde.sde.linear import stationary_covariance, transition

A = np.array([[-0.9, -1.0, 0.2], [1.7, -0.1, 1.0], [0.4, -0.3, -0.2]])
C = np.array([[0.5, 0.1, 0.0], [0.1, 0.3, 0.0], [0.0, 0.0, 0.0]])


@pytest.mark.parametrize("step", [0.1, 1.3])
def test_transition_is_the_integral_over_the_step(step):
    phi, noise = transition(A, C, step)
    expected = quad_vec(lambda s: expm(A * s) @ C @ expm(A * s).T, 0, step, epsabs=1e-13)[0]
    np.testing.assert_allclose(phi, expm(A * step), rtol=1e-12, atol=1e-13)  # rounding
    np.testing.assert_allclose(noise, expected, rtol=1e-10, atol=1e-12)  # the quadrature's error


def test_stationary_covariance_is_kept_by_a_step():
    P = stationary_covariance(A, C)
    phi, noise = transition(A, C, 0.7)
    np.testing.assert_allclose(phi @ P @ phi.T + noise, P, rtol=1e-11, atol=1e-12)  # rounding


def test_an_unstable_drift_is_refused():
    with pytest.raises(ValueError, match="real part"):
        stationary_covariance(A + 2 * np.eye(3), C)
