"""Burgers data against stiff scipy solvers, the Cole–Hopf solution, and their laws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import ive

from pyro_msde.datasets import burgers1d, burgers2d
from pyro_msde.datasets.burgers_equation import (
    points_inside,
    points_periodic,
    solve_periodic,
    solve_square,
)


@pytest.mark.parametrize("law", ["published", "hard"])
def test_one_dimension_agrees_with_a_stiff_solver_at_full_size(law):
    x = points_periodic(1000)
    rng = np.random.default_rng(5)
    if law == "hard":
        u0, nu = burgers1d.hard_initial(rng, x)
    else:
        u0, nu = burgers1d.published_initial(rng, x), burgers1d.NU

    def rate(_, u):
        flux = 0.5 * u**2
        convection = (np.roll(flux, -1) - np.roll(flux, 1)) / (2 * 0.001)
        return -convection + nu * (np.roll(u, -1) - 2 * u + np.roll(u, 1)) / 0.001**2

    reference = solve_ivp(
        rate, (0, 1), u0, method="DOP853", rtol=1e-9, atol=1e-9, t_eval=[0, 0.5, 1]
    )
    u = solve_periodic(u0, nu, num_steps=1000, dt=0.001)[::500]
    # the data's error may be 1e-6, the noise's thousandth
    np.testing.assert_allclose(u, reference.y.T, rtol=0, atol=1e-6)


def test_one_dimension_approaches_the_cole_hopf_solution():
    """u₀ = −2ν φ_x/φ with φ = exp(c cos 2πx), whose heat flow is a Bessel series."""
    nu, c, t = 0.01, 3.0, 0.3

    def exact(x):
        k = np.arange(1, 40)
        amplitude = 2 * ive(k, c) * np.exp(-nu * (2 * np.pi * k) ** 2 * t)
        phase = 2 * np.pi * np.outer(x, k)
        phi = ive(0, c) + np.cos(phase) @ amplitude
        return 2 * nu * (np.sin(phase) @ (2 * np.pi * k * amplitude)) / phi

    errors = []
    for n in (64, 128, 256):
        x = points_periodic(n)
        u0 = 2 * nu * 2 * np.pi * c * np.sin(2 * np.pi * x)
        errors.append(np.abs(solve_periodic(u0, nu, num_steps=30, dt=0.01)[-1] - exact(x)).max())
    # second order in Δx
    assert np.all(np.log2(np.divide(errors[:-1], errors[1:])) > 1.9), errors


def test_one_dimension_conserves_the_mean_and_solves_batches():
    x = points_periodic(50)
    u0 = np.stack([burgers1d.published_initial(np.random.default_rng(k), x) for k in range(3)])
    u = solve_periodic(u0, 0.002, num_steps=7, dt=0.01)
    assert u.shape == (3, 8, 50)
    np.testing.assert_allclose(u.mean(-1), np.repeat(u0.mean(-1)[:, None], 8, 1), atol=1e-13)
    np.testing.assert_allclose(u[1], solve_periodic(u0[1], 0.002, num_steps=7, dt=0.01), atol=1e-13)


def test_two_dimensions_agree_with_an_implicit_solver():
    """At 20 × 20 points, written out point by point."""
    n, nu = 20, 0.02
    u0 = burgers2d.hard_initial(np.random.default_rng(1), points_inside(n))

    def rate(_, flat):
        u = np.zeros((n + 2, n + 2))
        u[1:-1, 1:-1] = flat.reshape(n, n)
        out = np.empty((n, n))
        h = 1 / (n + 1)
        for i in range(1, n + 1):
            for j in range(1, n + 1):
                slope = (u[i + 1, j] - u[i - 1, j] + u[i, j + 1] - u[i, j - 1]) / (2 * h)
                bend = u[i + 1, j] + u[i - 1, j] + u[i, j + 1] + u[i, j - 1] - 4 * u[i, j]
                out[i - 1, j - 1] = nu * bend / h**2 - u[i, j] * slope
        return out.ravel()

    reference = solve_ivp(
        rate, (0, 0.2), u0.ravel(), method="RK45", rtol=1e-8, atol=1e-9, t_eval=[0, 0.1, 0.2]
    )
    u = solve_square(u0, nu, num_steps=20, dt=0.01)[::10]
    np.testing.assert_allclose(u.reshape(3, -1), reference.y.T, rtol=0, atol=1e-6)  # the tolerances


def test_two_dimensions_are_symmetric_and_decay_between_walls():
    x = points_inside(31)
    u0 = np.sin(np.pi * x)[:, None] * np.sin(np.pi * x)
    u = solve_square(u0, 0.05, num_steps=10, dt=0.1)
    np.testing.assert_allclose(u, u.transpose(0, 2, 1), atol=1e-8)
    assert np.all(np.diff((u**2).sum((1, 2))) < 0)


def test_a_solution_that_blows_up_is_named():
    u0 = 1e3 * np.sign(np.sin(9 * points_periodic(40)))
    with pytest.raises(FloatingPointError, match="not finite"):
        solve_periodic(u0, 0.0, num_steps=50, dt=0.5, substeps=1)


def test_laws_of_the_initial_states():
    x = points_periodic(1000)
    rng = np.random.default_rng(3)
    u0 = np.stack([burgers1d.published_initial(rng, x) for _ in range(2000)])
    h = u0[:, 300]
    s = 0.1**2 / (2 * np.log(h / u0[:, 400]))
    for sample, mean, sd in ((h, 0.25, 0.05), (s, 0.01, 0.0025)):
        # 5 standard errors of mean and sd: false alarm below 1e-6 each
        assert abs(sample.mean() - mean) < 5 * sd / np.sqrt(2000)
        assert abs(sample.std() - sd) < 5 * sd / np.sqrt(2 * 2000)
    draws = [burgers1d.hard_initial(rng, x) for _ in range(500)]
    nu = np.array([n for _, n in draws])
    assert nu.min() >= 2e-4
    assert nu.max() <= 2e-3
    # log-uniform: its median is the geometric mean, 5 standard errors of a share of one half
    assert abs((nu < np.sqrt(2e-4 * 2e-3)).mean() - 0.5) < 5 * 0.5 / np.sqrt(500)
    steps = np.abs(np.diff(np.stack([u for u, _ in draws]), axis=1, append=np.nan))[:, :-1]
    seam = np.abs(np.array([u[0] - u[-1] for u, _ in draws]))
    assert seam.max() < 1.5 * steps.max()  # no jump where the distance wraps


def test_viscosities_come_with_the_trajectories():
    ds = burgers1d.BURGERS1D.generate("hard", 3, horizon=0.002, seed=1)
    assert ds.nu.dims == ("trajectory",)
    data = burgers1d.BURGERS1D.fresh("hard", 3, 1, 0.002)
    assert data.covariates.shape == (3, 1)
    assert burgers1d.BURGERS1D.fresh("published", 2, 1, 0.002).covariates is None


def test_two_dimensional_data_have_their_axes():
    ds = burgers2d.BURGERS2D.generate("published", 1, horizon=0.002, seed=1)
    assert ds.u.dims == ("trajectory", "time", "x1", "x2")
    assert ds.u.shape == (1, 3, 128, 128)
    assert "u_clean" not in ds
    data = burgers2d.BURGERS2D.fresh("published", 1, 1, 0.002)
    np.testing.assert_allclose(data.coords["x1"], points_inside(128))
