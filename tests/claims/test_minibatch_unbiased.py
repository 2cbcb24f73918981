"""Minibatch estimates of (27) average to the sums over all the data, exactly.

The guide here has marginals that are functions of time alone, so both sums are the same whatever
segments cut them; its noise is a constant, and Gauss–Legendre rules between observations take the
place of random nodes. What is left of randomness is which segments are drawn, and expectations over
that are finite sums. The reference sees no segments.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise, product

import numpy as np
import pyro
import pytest
import torch
from oracles.transposed_convolution import transposed_convolution
from problems import LENGTH, NUM_COARSE, NUM_POINTS, SIZES, tiny_data, tiny_model
from scipy.stats import norm
from torch import nn

from pyro_msde import MultiscaleELBO
from pyro_msde.data import Segments
from pyro_msde.sde import GaussianMarginals, Moments

EXACT = {"rel": 1e-10}  # float64 rounding
N_ETA, PARAMETERS = 2, 3
RATES = torch.linspace(1.0, 2.2, NUM_COARSE + N_ETA, dtype=torch.float64)
SHIFT = 0.4  # standard deviations, the constant noise


def moments(t):
    """Mean and variance of each state at times (..., q), with their derivatives."""
    a = RATES * t[..., None]
    var = 0.2 + 0.1 * torch.cos(3 * a)
    return Moments(torch.sin(a), RATES * torch.cos(a), var, -0.3 * RATES * torch.sin(3 * a))


def guide(batch):
    law = GaussianMarginals(batch.times, moments, batch.quadrature)
    with pyro.plate("segments", batch.num_segments, subsample=torch.arange(len(batch.times))):
        pyro.sample("path", law)


@dataclass
class GaussLegendre:
    """∫ f v over each segment by the Gauss–Legendre rule of each interval, whatever is asked."""

    edges: torch.Tensor
    density: torch.Tensor

    def draw(self, num_nodes):
        x, w = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(4))
        left, step = self.edges[:, :-1, None], torch.diff(self.edges)[..., None]
        nodes = left + 0.5 * (x + 1) * step
        return nodes.flatten(1), (self.density[..., None] * 0.5 * w * step).flatten(1)


class LinearDecoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.linspace(-1, 1, N_ETA * NUM_POINTS).reshape(N_ETA, -1))

    def forward(self, eta):
        return (eta @ self.matrix)[..., None, :]


@pytest.fixture
def model():
    torch.manual_seed(8)
    model = tiny_model(N_ETA, decoder=LinearDecoder(), num_covariates=PARAMETERS).double()
    with torch.no_grad():  # variances that differ in space
        for part in (model.var_zeta, model.var_eta, model.diffusion):
            part.net.log_value.add_(torch.randn_like(part.net.log_value))
    return model


@pytest.fixture
def data():
    covariates = np.random.default_rng(2).standard_normal((len(SIZES), PARAMETERS))
    return tiny_data(irregular=True, covariates=covariates)


@pytest.fixture
def without_noise(monkeypatch):
    """Each standard normal draw is `SHIFT`."""

    def constant(*args, **options):
        return torch.full(args[0], SHIFT, dtype=options["dtype"])

    monkeypatch.setattr(torch, "randn", constant)
    monkeypatch.setattr(torch, "randn_like", lambda x: torch.full_like(x, SHIFT))


def segments_of(data, starts, stride):
    return Segments(
        [torch.as_tensor(t) for t in data.times],
        [torch.as_tensor(v).double()[:, None] for v in data.values],
        covariates=torch.as_tensor(data.covariates),
        length=LENGTH,
        stride=stride,
        starts=starts,
    )


def estimate(model, batch):
    """Both sums of (27) as one minibatch estimates them."""
    rule = GaussLegendre(batch.quadrature.edges, batch.quadrature.density)
    elbo = MultiscaleELBO()
    with torch.no_grad():
        elbo(model, guide)(replace(batch, quadrature=rule))
    return np.array([float(elbo.terms[k]) for k in ("log_likelihood", "drift_residual")])


def shifted(t):
    m = moments(t)
    return m.mean + SHIFT * m.cov.sqrt()


def full_log_likelihood(model, data):
    """Sum over all snapshots, by scipy and plain loops."""
    kappa = model.kernel.net.weight.detach().numpy()
    v_zeta, v_eta = (p.net().detach().numpy()[0] for p in (model.var_zeta, model.var_eta))
    matrix = model.decoder.net.matrix.detach().numpy()
    sigma, total = NUM_POINTS // NUM_COARSE, 0.0
    for times, values in zip(data.times, data.values, strict=True):
        for z, y in zip(shifted(torch.as_tensor(times)).numpy(), values, strict=True):
            zeta, eta = z[None, :NUM_COARSE], z[NUM_COARSE:]
            macro = transposed_convolution(zeta, kappa[None], sigma, (NUM_POINTS,), (True,))
            mean = sigma * macro[0] + v_zeta / (v_zeta + v_eta) * (eta @ matrix)
            sd = (v_zeta * v_eta / (v_zeta + v_eta)) ** 0.5
            total += norm.logpdf(y.astype(np.float64), mean, sd).sum()
    return total


def full_residual(model, data):
    """½∫‖r‖²_{C⁻¹}dt over all trajectories, interval by interval."""
    C, drift, total = model.diffusion.net().detach(), model.drift.net, 0.0
    x, w = np.polynomial.legendre.leggauss(4)
    for times, covariates in zip(data.times, data.covariates, strict=True):
        for left, right in pairwise(times):
            for node, weight in zip(x, w, strict=True):
                t = torch.tensor([[0.5 * (left + right) + 0.5 * (right - left) * node]])
                m, z = moments(t), shifted(t)
                with torch.no_grad():
                    gamma = drift(z, t, torch.as_tensor(covariates)[None])
                r = m.mean_dot - 0.5 * (C - m.cov_dot) / m.cov * SHIFT * m.cov.sqrt() - gamma
                total += 0.5 * (right - left) * weight * float((0.5 * r**2 / C).sum())
    return total


@pytest.mark.parametrize(("starts", "stride"), [("random", 1), ("random", 2), ("fixed", 1)])
def test_expected_estimates_are_the_full_sums(model, data, without_noise, starts, stride):
    segments = segments_of(data, starts, stride)
    mean = sum(p * estimate(model, batch) for p, batch in segments.in_order())
    assert mean[0] == pytest.approx(full_log_likelihood(model, data), **EXACT)
    assert mean[1] == pytest.approx(full_residual(model, data), **EXACT)


def test_expected_estimates_of_two_segments_at_once_are_the_full_sums(model, data, without_noise):
    """Over all ordered pairs, drawn with replacement; trajectories mix in a batch."""
    segments = segments_of(data, "fixed", 1)
    span, places = LENGTH - 1, []
    intervals = sum(n - 1 for n in SIZES)
    for k, n in enumerate(SIZES):
        starts = sorted({*range(0, n - span, span), n - 1 - span})
        places += [((k, s), (n - 1) / intervals / len(starts)) for s in starts]
    assert sum(p for _, p in places) == pytest.approx(1)
    mean = sum(
        p * q * estimate(model, segments.gather([a, b]))
        for (a, p), (b, q) in product(places, places)
    )
    assert mean[0] == pytest.approx(full_log_likelihood(model, data), **EXACT)
    assert mean[1] == pytest.approx(full_residual(model, data), **EXACT)


def test_a_single_estimate_is_not_the_full_sum(model, data, without_noise):
    """So that the tests above could fail."""
    values = [estimate(model, b) for _, b in segments_of(data, "random", 1).in_order()]
    spread = np.std(values, 0) / np.abs(np.mean(values, 0))
    assert (spread > 0.1).all()
