"""The prior path: simulation against closed forms, Euler–Maruyama density against loops."""

from __future__ import annotations

import math

import numpy as np
import torch
from oracles.tolerance import standard_errors
from scipy.stats import norm
from torch.testing import assert_close

from pyro_msde.sde import LatentSDE

TIMES = np.array([[0.0, 0.1, 0.4, 0.5, 1.2], [2.0, 2.5, 2.6, 3.0, 3.1]])
DIFFUSION = np.array([0.3, 1.0, 2.5])
MEAN_0, VAR_0 = np.array([1.0, -2.0, 0.0]), np.array([0.5, 0.1, 2.0])


def drift_of(z, t):
    """Nonlinear and time-dependent, in numpy or torch."""
    return -z + 0.5 * z**2 * (t[..., None] * 1.0)


def latent_sde(dtype=torch.float64, drift=drift_of, times=TIMES, **options):
    return LatentSDE(
        drift,
        torch.tensor(DIFFUSION, dtype=dtype),
        torch.tensor(times),
        initial_mean=torch.tensor(MEAN_0, dtype=dtype),
        initial_var=torch.tensor(VAR_0, dtype=dtype),
        **options,
    )


def euler_maruyama(path, times):
    """Log density of one path (time, latent), step by step."""
    total = norm.logpdf(path[0], MEAN_0, np.sqrt(VAR_0)).sum()
    for i in range(len(times) - 1):
        h = times[i + 1] - times[i]
        mean = path[i] + h * drift_of(path[i], times[i : i + 1])
        total += norm.logpdf(path[i + 1], mean, np.sqrt(DIFFUSION * h)).sum()
    return total


def test_density_is_the_product_of_euler_maruyama_steps():
    p = latent_sde()
    assert p.batch_shape == (2,)
    assert p.event_shape == (5, 3)
    path = torch.randn(7, 2, 5, 3, dtype=torch.float64)
    expected = [
        [euler_maruyama(x, t) for x, t in zip(row, TIMES, strict=True)] for row in path.numpy()
    ]
    log_density = p.log_prob(path)
    assert log_density.shape == (7, 2)
    np.testing.assert_allclose(log_density, expected, rtol=1e-12)


def test_expand_keeps_density_and_type():
    p = latent_sde(times=TIMES[0], max_step=0.3)
    assert p.batch_shape == ()
    assert p.expand(()) is p
    more = p.expand((7,))
    assert type(more) is LatentSDE
    assert more.batch_shape == (7,)
    assert more.event_shape == (5, 3)
    assert more.max_step == 0.3
    path = torch.randn(7, 5, 3, dtype=torch.float64)
    expected = [euler_maruyama(x, TIMES[0]) for x in path.numpy()]
    np.testing.assert_allclose(more.log_prob(path), expected, rtol=1e-12)
    assert more.rsample().shape == (7, 5, 3)


def test_draws_keep_shape_and_dtype(dtype):
    p = latent_sde(dtype, drift=lambda z, t: -z)
    for sample_shape in [(), (7,), (3, 2)]:
        path = p.rsample(sample_shape)
        assert path.shape == (*sample_shape, 2, 5, 3)
        assert path.dtype == dtype
        assert path.isfinite().all()


def test_draws_of_an_ornstein_uhlenbeck_process_have_its_moments():
    """Means and variances at all times; steps of 0.02 leave a bias (a h)²/6 ~ 1e-4 of them."""
    draws = 20_000
    rate = np.array([0.5, 1.0, 2.0])
    p = latent_sde(drift=lambda z, t: -torch.tensor(rate) * z, max_step=0.02)
    path = p.rsample((draws,)).numpy()
    elapsed = (TIMES - TIMES[:, :1])[..., None]
    mean = MEAN_0 * np.exp(-rate * elapsed)
    stationary = DIFFUSION / (2 * rate)
    var = stationary + (VAR_0 - stationary) * np.exp(-2 * rate * elapsed)
    width = standard_errors(2 * mean.size)
    assert (np.abs(path.mean(0) - mean) * math.sqrt(draws) / np.sqrt(var)).max() < width
    # χ² of 2e4 degrees has a little skew
    assert np.abs(path.var(0) / var - 1).max() < 1.1 * width * math.sqrt(2 / draws)


def test_draws_and_density_agree():
    """The mean log density of simulated paths is minus the entropy of the Euler–Maruyama chain.

    True for zero drift, where the simulation has no error either.
    """
    draws = 5_000
    p = latent_sde(drift=lambda z, t: torch.zeros_like(z))
    log_density = p.log_prob(p.rsample((draws,)))
    steps = np.diff(TIMES, axis=1)[..., None] * DIFFUSION
    var = np.concatenate([np.broadcast_to(VAR_0, (2, 1, 3)), steps], 1)
    expected = -0.5 * (np.log(2 * np.pi * var) + 1).sum((1, 2))
    error = (log_density.mean(0).numpy() - expected) / np.sqrt(0.5 * 15 / draws)  # ½ χ²₁₅
    assert np.abs(error).max() < standard_errors(2)


def test_draws_are_reparametrised():
    diffusion = torch.tensor(DIFFUSION, requires_grad=True)
    mean = torch.tensor(MEAN_0, requires_grad=True)
    p = LatentSDE(
        lambda z, t: -z,
        diffusion,
        torch.tensor(TIMES),
        initial_mean=mean,
        initial_var=torch.tensor(VAR_0),
    )
    p.rsample().square().sum().backward()
    assert (diffusion.grad != 0).all()
    assert (mean.grad != 0).all()


def test_one_time_has_only_the_initial_law():
    p = latent_sde(times=TIMES[:, :1])
    path = p.rsample((7,))
    assert path.shape == (7, 2, 1, 3)
    expected = norm.logpdf(path.numpy(), MEAN_0, np.sqrt(VAR_0)).sum((-2, -1))
    assert_close(p.log_prob(path), torch.tensor(expected), rtol=1e-12, atol=1e-12)
