"""The region where the drift was learned: its box, and forecasts that stay in it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import NUM_COARSE, NUM_POINTS, tiny_data, tiny_model, tiny_pair, tiny_segments
from torch import nn
from torch.testing import assert_close

from pyro_msde import Fit, fit, load
from pyro_msde.guides import AmortizedGP
from pyro_msde.region import learned_region
from pyro_msde.scaling import Scaling

SCALING = Scaling((2.0,), 3.0)


class Linear(nn.Module):
    """z to rate z."""

    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, z, t=None, parameters=None):
        return self.rate * z


@pytest.fixture
def snapshots():
    return np.random.default_rng(0).standard_normal((4, NUM_POINTS)).astype(np.float32)


def growing(rate, region):
    """A fit of ζ' = rate ζ with hardly any noise."""
    model = tiny_model(0, drift=Linear(rate))
    guide = AmortizedGP(model)
    with torch.no_grad():
        model.diffusion.net.log_value.fill_(-25.0)
        guide.node_variance.log_value.fill_(-25.0)
    box = None if region is None else torch.tensor(region)[:, None].expand(2, NUM_COARSE)
    return Fit(model, guide, SCALING, region=box)


def test_paths_are_held_where_the_drift_was_learned(snapshots):
    """Of ζ' = λ ζ from z₀ > 0 to the edge b, then b (1 + λ/500): where γ̃ is zero."""
    y = 4 + 0 * snapshots
    z0 = growing(0.0, None).predict(y, [0.0]).paths[0, 0, :, 0]
    edge = 3 * float(z0.max())
    fc = growing(6.0, (-1.0, edge)).predict(y, [0.0, 0.3, 3.0], num_samples=3)
    assert_close(fc.paths[0, 0, :, 1], z0 * np.exp(0.6), rtol=1e-3, atol=0)
    assert_close(fc.paths[0, 0, :, 2], torch.full_like(z0, edge * (1 + 6 / 500)), rtol=1e-3, atol=0)
    assert_close(fc.diverged, torch.ones(len(y)).double())
    free = growing(6.0, None).predict(y, [0.0, 3.0], num_samples=3)
    assert_close(free.paths[0, 0, :, 1], z0 * np.exp(6), rtol=1e-2, atol=0)
    assert not free.diverged.any()
    assert growing(6.0, (-1.0, edge)).predict(y[0], [0.0, 0.3]).diverged.shape == ()


def test_initial_states_outside_are_not_drawn_in(snapshots):
    """They have room for a tenth of the region's width around them."""
    y = 4 + 0 * snapshots
    fc = growing(0.0, (-1.0, 0.0)).predict(y, [0.0, 3.0], num_samples=3)
    assert_close(fc.paths[:, :, :, 1], fc.paths[:, :, :, 0], rtol=1e-3, atol=1e-4)
    assert not fc.diverged.any()
    assert growing(0.2, (-1.0, 0.0)).predict(y, [0.0, 3.0]).diverged.all()


def test_paths_that_are_not_finite_are_counted(snapshots):
    fc = growing(1e3, None).predict(snapshots + 1, [0.0, 3.0], num_samples=2)
    assert_close(fc.diverged, torch.ones(len(snapshots)).double())


def test_the_box_is_half_as_wide_again_as_the_encoded_data_on_either_side():
    """All coarse points share a range, microscale states do not. 17 snapshots are all encoded."""
    model, guide = tiny_pair(2)
    segments = tiny_segments()
    before = torch.get_rng_state()
    low, high = learned_region(model, guide, segments)
    assert torch.equal(torch.get_rng_state(), before)
    operators = model.read_parameters({}).operators
    with torch.no_grad():
        z = torch.cat([
            guide.encode(segments.scaled(k), {}, operators)[0] for k in range(len(segments.values))
        ])  # fmt: skip
    for states in (slice(NUM_COARSE), NUM_COARSE, NUM_COARSE + 1):
        least, most = z[:, states].min(), z[:, states].max()
        assert_close(low[states].max(), least - 0.5 * (most - least))
        assert_close(high[states].min(), most + 0.5 * (most - least))


def test_a_saved_run_keeps_its_region(tmp_path):
    pair = tiny_pair(0)
    result = fit(*pair, tiny_data(), steps=1, length=8, stride=1, num_nodes=9, progress=False)
    assert result.region.shape == (2, NUM_COARSE)
    result.save(tmp_path)
    assert_close(load(tmp_path, *pair).region, result.region)
