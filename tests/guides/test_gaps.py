"""Variance of encoded snapshots with gaps, against its formula and against complete snapshots."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import NUM_COARSE, NUM_POINTS, tiny_batch, tiny_data, tiny_model
from torch import nn
from torch.testing import assert_close

from pyro_msde import Grid
from pyro_msde.data import Scaling, Trajectories, scaled_segments
from pyro_msde.guides import AmortizedGP, UnamortizedGP
from pyro_msde.testing import check_guide

N_ETA = 2


def a_gap(batch):
    """Points 10 to 21 are missing in every snapshot, others here and there."""
    observed = torch.rand(batch.values.shape, generator=torch.Generator().manual_seed(0)) > 0.1
    observed[..., 10:22] = False
    return observed


@pytest.mark.parametrize("heteroscedastic", [False, True])
def test_variance_is_that_of_a_complete_snapshot_and_the_share_that_is_left(heteroscedastic):
    model, batch = tiny_model(N_ETA), tiny_batch()
    guide = AmortizedGP(model, heteroscedastic=heteroscedastic)
    observed = a_gap(batch)
    mean, var = guide.encode(batch.values, model.bind({}))
    same, grown = guide.encode(batch.values, model.bind({}), observed=observed)
    share = model.grid.unseen_states(observed, torch.float32)
    field = 2 * share[..., NUM_COARSE:].expand(*share.shape[:-1], N_ETA)
    assert_close(same, mean)
    assert_close(grown, var + torch.cat([share[..., :NUM_COARSE], field], -1))
    assert grown[..., 3].min() > 0.3  # coarse point 18 is in the gap
    assert guide.encode(batch.values, model.bind({}), observed=observed | True)[1].equal(var)


@pytest.mark.parametrize("covariance", ["full", "block"])
def test_dense_covariances_grow_by_as_much_in_all(covariance):
    model, batch = tiny_model(N_ETA), tiny_batch()
    guide = AmortizedGP(model, covariance=covariance)
    with torch.no_grad():
        for part in guide.axes.parameters():
            part.copy_(0.3 * torch.randn(part.shape, generator=torch.Generator().manual_seed(1)))
    cov, grown = (
        guide.encode(batch.values, model.bind({}), observed=observed)[1]
        for observed in (None, a_gap(batch))
    )
    share = model.grid.unseen_states(a_gap(batch), torch.float64)
    trace = (grown - cov).diagonal(dim1=-2, dim2=-1).sum(-1)
    assert_close(trace, share[..., :-1].sum(-1) + 2 * N_ETA * share[..., -1], rtol=1e-4, atol=1e-5)
    assert (torch.linalg.eigvalsh(grown - cov) > -1e-6).all()


def test_nodes_of_a_path_grow_alike():
    """The segments' own shares; one node has seen less than its neighbours."""
    data = tiny_data()
    values = [v.copy() for v in data.values]
    for v in values:
        v[8, 10:22] = np.nan
    data = Trajectories(data.times, values, missing="mask")
    model = tiny_model(N_ETA)
    guide = AmortizedGP(model)
    fields = data.fields(1, (NUM_POINTS,))
    scaling = Scaling.of(fields, data.horizon)
    segments = scaled_segments(data, scaling, model.grid, torch.empty(0), length=7)
    batch = segments.gather([(0, 5), (1, 5)])
    assert batch.unseen.shape == (2, 7, NUM_COARSE + 1)
    assert_close(batch.unseen, model.grid.unseen_states(batch.observed, torch.float32))
    assert scaling.never_observed is None
    var = guide.path_marginals(batch, model.bind({})).variance
    assert (var[:, 3, 3] > 10 * var[:, 0, 3]).all()
    assert (var[:, 3, 3] > 10 * var[:, 3, 0]).all()
    check_guide(model, guide, batch)
    assert segments.gather([(0, 0)]).observed is None  # before the gap


def test_without_an_encoder_the_states_fit_what_was_observed():
    """Moving η away from what `encode` finds makes the misfit outside the gap larger."""
    model = tiny_model(
        N_ETA, decoder=nn.Sequential(nn.Linear(N_ETA, 30), nn.Unflatten(-1, (1, 30)))
    )
    guide, batch = UnamortizedGP(model, tiny_data()), tiny_batch()
    observed, theta = a_gap(batch), model.bind({})
    found, var = guide.encode(batch.values, theta, observed=observed)

    def misfit(z):
        law = theta.observe(z)
        square = (batch.values - law.mean).square() / law.variance
        return square.where(observed, 0).sum((-1, -2))

    for sign in (0.05, -0.05):
        moved = found.clone()
        moved[..., NUM_COARSE] += sign
        assert (misfit(moved) > misfit(found)).all()
    assert (var[..., 3] > guide.encode(batch.values, theta)[1][..., 3] + 0.3).all()


def test_coastal_states_are_as_certain_as_others():
    sea = np.ones(NUM_POINTS, dtype=bool)
    sea[10:22] = False
    grid = Grid(NUM_POINTS, NUM_COARSE, mask=sea)
    model = tiny_model(N_ETA, grid=grid)
    batch = tiny_batch()
    observed = torch.tensor(sea).expand(batch.values.shape)
    _, var = AmortizedGP(model).encode(batch.values, model.bind({}), observed=observed)
    _, complete = AmortizedGP(model).encode(batch.values, model.bind({}))
    assert_close(var[..., [0, 1, 2, 4, 5, 6]], complete[..., [0, 1, 2, 4, 5, 6]])
