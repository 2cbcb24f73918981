"""Pyro's own `SVI` takes our model, guide and ELBO as they are."""

from __future__ import annotations

from functools import partial

import pyro
import pytest
import torch
from problems import tiny_batch, tiny_model
from pyro.infer import SVI
from pyro.infer.autoguide import AutoDelta, AutoLowRankMultivariateNormal, AutoNormal
from torch.testing import assert_close

from pyro_msde import MultiscaleELBO
from pyro_msde.guides import AmortizedGP
from pyro_msde.priors import bayesian, fan_in_normal

LOWRANK = partial(AutoLowRankMultivariateNormal, rank=3)
every_theta = pytest.mark.parametrize("theta", [None, AutoDelta, AutoNormal, LOWRANK])


def pair(theta):
    model = tiny_model(2)
    if theta is None:
        return model, AmortizedGP(model)
    for part in (model.kernel, model.drift):
        bayesian(part, fan_in_normal(1.0))
    return model, AmortizedGP(model, theta=theta)


@every_theta
@pytest.mark.parametrize("num_particles", [1, 2])
def test_svi_computes_the_loss_of_the_elbo_module(theta, num_particles):
    model, guide = pair(theta)
    elbo, batch = MultiscaleELBO(num_nodes=9, beta=0.7, num_particles=num_particles), tiny_batch()
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 1e-3}), loss=elbo)
    svi.evaluate_loss(batch)  # creates the autoguide's parameters
    torch.manual_seed(5)
    ours = elbo(model, guide)(batch)
    for evaluate in (svi.evaluate_loss, svi.step):
        torch.manual_seed(5)
        # float32, summed in another order over particles
        assert_close(torch.tensor(evaluate(batch)), ours.detach(), rtol=1e-6, atol=0)


@every_theta
def test_svi_takes_the_first_step_of_a_plain_loop(theta):
    """Every parameter, of model and guide, takes the step that torch's Adam takes."""
    batch, trained = tiny_batch(), []
    for use_svi in (True, False):
        with pyro.get_param_store().scope():
            model, guide = pair(theta)
            elbo = MultiscaleELBO(num_nodes=9)
            loss = elbo(model, guide)
            torch.manual_seed(1)  # of the autoguide's first draws, some of which start its scales
            loss(batch)
            covariates = [*model.parameters(), *guide.parameters()]
            torch.manual_seed(5)
            if use_svi:
                SVI(model, guide, pyro.optim.Adam({"lr": 1e-3}), loss=elbo).step(batch)
            else:
                optimiser = torch.optim.Adam(covariates, 1e-3)
                loss(batch).backward()
                assert all(p.grad is not None for p in covariates)
                optimiser.step()
            trained.append([p.detach().clone() for p in covariates])
    assert_close(trained[0], trained[1], rtol=1e-6, atol=1e-6)  # rounding; a step is 1e-3


@every_theta
def test_svi_trains(theta):
    model, guide = pair(theta)
    batch = tiny_batch(2)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 1e-2}), loss=MultiscaleELBO(num_nodes=9))
    losses = [svi.step(batch) for _ in range(40)]
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
