"""Sites of priors are ordinary ones: NUTS samples their posterior, here a conjugate one.

Given the path, the Euler–Maruyama increments of each state are normal with variance C Δt about what
the drift says. With C ~ Inv-Γ(a, b) the posterior is Inv-Γ(a + w n/2, b + w Σ e²/(2Δt)), where w is
the plate's scale: the one segment stands for all of them.
"""

from __future__ import annotations

import arviz as az
import numpy as np
import pytest
import torch
from problems import tiny_batch, tiny_model
from pyro import poutine
from pyro.distributions import InverseGamma
from pyro.infer import MCMC, NUTS
from scipy.stats import invgamma

from pyro_msde.priors import bayesian

A, B = 4.0, 0.6


@pytest.mark.slow
def test_diffusion_given_the_path():
    model = tiny_model(0).double()
    bayesian(model.diffusion, InverseGamma(torch.tensor(A).double(), torch.tensor(B).double()))
    batch = tiny_batch(1, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    steps = 0.3 * torch.randn(1, 7, 5, dtype=torch.float64, generator=generator)
    path = steps.cumsum(1)
    dt = torch.diff(batch.times[0])
    with torch.no_grad():
        drift = model.drift.read({})(path[:, :-1], batch.times[:, :-1])
    error = torch.diff(path[0], dim=0) - drift[0] * dt[:, None]
    w = batch.num_segments
    rate = B + w * (error.square() / (2 * dt[:, None])).sum(0).numpy()

    torch.manual_seed(1)
    kernel = NUTS(poutine.condition(model, data={"path": path}))
    sampler = MCMC(kernel, num_samples=200, warmup_steps=100, disable_progbar=True)
    sampler.run(batch)
    draws = sampler.get_samples()["diffusion.theta"].numpy()

    # ranks under the exact posterior are uniform: mean ½, variance 1/12 over the effective number
    # of draws; 4.5 standard errors of 5 means are exceeded once in 3·10⁴ seeds
    ranks = invgamma(A + w * 3, scale=rate).cdf(draws)
    for k in range(5):
        effective = float(az.ess(ranks[None, :, k]))
        assert effective > 100
        assert abs(ranks[:, k].mean() - 0.5) < 4.5 / np.sqrt(12 * effective)
        assert abs(ranks[:, k].var() - 1 / 12) < 4.5 / np.sqrt(180 * effective)
