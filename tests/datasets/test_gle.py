"""The Langevin data against their memory equation and their stationary law."""

from __future__ import annotations

import numpy as np
import pytest
from oracles.tolerance import standard_errors
from scipy.linalg import expm

from pyro_msde.datasets import gle
from pyro_msde.sde import stationary_covariance


def memory_equation(a, kernel, y0, step, num_steps):
    """dy/dt = −a y − ∫₀ᵗ K(s) y(t − s) ds by Heun's rule, the integral by the trapezoidal one."""
    K = kernel(step * np.arange(num_steps + 1))
    y = np.empty(num_steps + 1)
    y[0] = y0

    def rate(n):
        terms = K[: n + 1] * y[n::-1]
        return -a * y[n] - step * (terms.sum() - 0.5 * (terms[0] + terms[-1]))

    for n in range(num_steps):
        before = rate(n) if n else -a * y0
        y[n + 1] = y[n] + step * before
        y[n + 1] = y[n] + 0.5 * step * (before + rate(n + 1))
    return y


@pytest.mark.parametrize(
    ("a", "kernel"),
    [(gle.FRICTION, gle.KERNEL), (0.7, (1.9,)), (1.3, (2.5, 1.4, 0.6))],
    ids=["p=2", "p=1", "p=3"],
)
def test_auxiliary_variables_stand_for_the_memory_integral(a, kernel):
    A = gle.drift_matrix(a, kernel)
    start = np.array([1.4, *np.zeros(len(kernel))])
    rng = np.random.default_rng(0)
    path = gle.sample_path(start, 8, 0.5, rng, drift=A, diffusion=np.zeros_like(A))[:, 0]
    factorials = np.cumprod([1.0, *range(1, len(kernel))])

    def memory(s):
        return sum(k * s**j / f for j, (k, f) in enumerate(zip(kernel, factorials, strict=True)))

    errors = [
        np.abs(memory_equation(a, memory, 1.4, 0.5 / n, 8 * n)[::n] - path).max() for n in (40, 80)
    ]
    assert errors[-1] < 1e-3
    # both rules are of second order; halving the step finds it to a few percent
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)


def test_variance_of_the_resolved_variable_in_closed_form():
    # for p = 2, by contour integration of σ² |s²/(s³ + a s² + k₀ s + k₁)|², s = iω
    a, (k0, k1) = gle.FRICTION, gle.KERNEL
    assert a * k0 > k1
    expected = gle.SIGMA**2 * k0 / (2 * (a * k0 - k1))
    P = stationary_covariance(gle.DRIFT, gle.DIFFUSION)
    assert P[0, 0] == pytest.approx(expected, rel=1e-12)


def test_a_kernel_that_rises_faster_than_friction_allows_is_unstable():
    assert np.linalg.eigvals(gle.drift_matrix(1.0, (0.9, 1.0))).real.max() > 0


def test_stationary_paths_have_the_covariances_of_the_sde():
    """Over 1500 independent paths, at two lags; fails by chance at the rate of 2e-5."""
    count, dt = 1500, gle.GLE.dt
    paths = []
    for k in range(count):
        rng = np.random.default_rng([3, k])
        start, _ = gle.GLE.draw["stationary"](rng)
        paths.append(gle.sample_path(start, 7, dt, rng))
    z = np.array(paths)
    P = stationary_covariance(gle.DRIFT, gle.DIFFUSION)
    for lag in (0, 7):
        expected = expm(gle.DRIFT * dt * lag) @ P  # E z(t + τ) z(t)ᵀ
        products = z[:, lag, :, None] * z[:, 0, None, :]
        error = products.std(0) / np.sqrt(count)
        assert (np.abs(products.mean(0) - expected) < standard_errors(18) * error).all()


def test_the_fields_hold_the_state_in_orthonormal_modes():
    ds = gle.GLE.generate("relaxation", 2, horizon=0.5, seed=4)
    modes = gle.modes(gle.points())
    np.testing.assert_allclose(modes @ modes.T / gle.NUM_POINTS, np.eye(3), atol=1e-14)
    state = ds.u_clean.values @ modes.T / gle.NUM_POINTS
    # rounding of the stored float32
    np.testing.assert_allclose(state @ modes, ds.u_clean, atol=2e-6)
    np.testing.assert_allclose(state[..., 0], ds.u_clean.mean("x"), atol=2e-6)
    np.testing.assert_allclose(state[:, 0, 1:], 0, atol=2e-6)  # no past at the start
    assert np.abs(state[:, -1, 1:]).min() > 1e-2


def test_every_trajectory_has_its_own_noise_however_many_are_drawn():
    few = gle.GLE.generate("stationary", 2, horizon=0.4, seed=5)
    more = gle.GLE.generate("stationary", 3, horizon=0.4, seed=5)
    np.testing.assert_array_equal(few.u, more.u[:2])
    steps = more.u_clean.mean("x").diff("time").values
    assert np.abs(steps[0] - steps[1]).min() > 1e-4
    noise = few.u - few.u_clean
    assert float(noise.std()) == pytest.approx(gle.GLE.noise_sd, rel=0.2)  # of 330 values
