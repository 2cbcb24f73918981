"""Guide with free marginals at each observation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import LENGTH, NUM_COARSE, SIZES, tiny_batch, tiny_data, tiny_model, tiny_segments
from torch import nn
from torch.testing import assert_close

import pyro_msde
from pyro_msde.guides import AmortizedGP, UnamortizedGP
from pyro_msde.guides.interpolation import Interpolant
from pyro_msde.sde import bridge

N_ETA = 2


def pair(decoder=None, **options):
    model = tiny_model(N_ETA, decoder=decoder)
    return model, UnamortizedGP(model, tiny_data(), **options)


def test_each_observation_has_marginals_of_its_own():
    _model, guide = pair()
    with torch.no_grad():
        for p in (guide.node_means, guide.node_deviations):
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    segments = tiny_segments()
    batch = segments.gather([(2, 3), (0, 1)])
    first = [sum(SIZES[:2]) + 3, 1]
    at = batch.times[:, :-1] + 0.01
    W, W_dot = Interpolant(guide.time_kernel, batch.times).weights(at)
    moments = guide.path_marginals(batch, guide.model.bind({})).moments(at)
    for row, start in enumerate(first):
        own = slice(start, start + LENGTH)
        means = guide.node_means[own]
        logs = guide.node_variance().log() + guide.node_deviations[own]
        assert_close(moments.mean[row], W[row].float() @ means)
        assert_close(moments.mean_dot[row], W_dot[row].float() @ means)
        between = bridge(batch.times, at, guide.model.bind({}).diffusion)[0]
        assert_close(moments.cov[row], (W[row].float() @ logs).exp() + between[row])


def test_places_of_observations_are_counted_over_all_trajectories():
    segments = tiny_segments(stride=2)
    every = torch.cat([fields[:] for fields in segments.values])
    for _, batch in segments.in_order():
        assert torch.equal(every[batch.observations], batch.values)


def test_means_start_where_the_encoder_puts_them():
    _model, guide = pair()
    segments = tiny_segments()
    guide.start_nodes(segments)
    bound = guide.model.bind({})
    encoded = torch.cat(
        [guide.encoder_mean(segments.values[k][:], bound) for k in range(len(SIZES))]
    )
    assert_close(guide.node_means.detach(), encoded.detach())
    with torch.no_grad():
        guide.node_means.zero_()
    guide.start_nodes(segments)  # a second time it does nothing
    assert not guide.node_means.any()


def test_training_moves_the_nodes_and_leaves_the_encoder():
    model, guide = pair()
    data = tiny_data()
    held = data[:1].until(0.1)
    before = {k: v.clone() for k, v in guide.encoder.state_dict().items()}
    fit = pyro_msde.fit(
        model, guide, data, validation=held, steps=10, length=LENGTH, stride=1, progress=False
    )
    assert all(torch.equal(v, before[k]) for k, v in guide.encoder.state_dict().items())
    assert bool(guide.started)
    y0 = np.stack([v[0] for v in data.values])
    fc = fit.predict(y0, data.times[0][:5], num_samples=4)
    assert fc.mean.shape == (3, 5, 30)
    assert fc.mean.isfinite().all()


def test_a_new_snapshot_is_the_decoders_best_fit():
    """Moving η away from what `encode` finds makes the misfit of the decoded field larger."""
    model, guide = pair(nn.Sequential(nn.Linear(N_ETA, 30), nn.Unflatten(-1, (1, 30))))
    y = tiny_batch().values[0] / 2
    mean, var = guide.encode(y, guide.model.bind({}))
    assert var.shape == mean.shape == (LENGTH, NUM_COARSE + N_ETA)
    theta = model.bind({})
    total = theta.var_zeta * theta.var_eta / (theta.var_zeta + theta.var_eta)

    def misfit(z):
        macro, detail = theta.experts(z)
        share = theta.var_zeta / (theta.var_zeta + theta.var_eta)
        return ((y - macro - share * detail).square() / total).sum((-1, -2))

    best = misfit(mean)
    for step in torch.eye(N_ETA):
        for sign in (0.05, -0.05):
            moved = mean.clone()
            moved[..., NUM_COARSE:] += sign * step
            assert (misfit(moved) > best).all()
    assert (misfit(AmortizedGP(model).encode(y, theta)[0]) >= best).all()


def test_other_data_are_refused():
    model, guide = pair()
    other = tiny_data(sizes=(17, 23))
    with pytest.raises(ValueError, match=r"guide: made for 59 observations, the data have 40\. M"):
        pyro_msde.fit(model, guide, other, steps=1, length=LENGTH, stride=1)


def test_heteroscedastic_is_refused():
    with pytest.raises(ValueError, match="heteroscedastic: variances are free already"):
        pair(heteroscedastic=True)
