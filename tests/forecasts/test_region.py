"""The region where the drift was learned: its box, and forecasts that stay in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from problems import NUM_COARSE, NUM_POINTS, tiny_data, tiny_model, tiny_pair, tiny_segments
from torch import nn
from torch.testing import assert_close

from pyro_msde import Fit, fit, load
from pyro_msde.data import Scaling, Segments
from pyro_msde.forecasts.region import Region, confined, learned_region
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale

SCALING = Scaling((2.0,), 3.0)


class Linear(nn.Module):
    """z to rate z."""

    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, z, t=None, covariates=None):
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
    return Fit(model, guide, SCALING, adjustments=() if box is None else (Region(box),))


def test_paths_are_held_where_the_drift_was_learned(snapshots):
    """Of ζ' = λ ζ from z₀ > 0 to the edge b, then b (1 + λ/500): where γ̃ is zero."""
    y = 4 + 0 * snapshots
    z0 = growing(0.0, None).predict(y, [0.0]).paths[0, 0, :, 0]
    edge = 3 * float(z0.max())
    fc = growing(6.0, (-1.0, edge)).predict(y, [0.0, 0.3, 3.0], num_samples=3)
    assert_close(fc.paths[0, 0, :, 1], z0 * np.exp(0.6), rtol=1e-3, atol=0)
    assert_close(fc.paths[0, 0, :, 2], torch.full_like(z0, edge * (1 + 6 / 500)), rtol=1e-3, atol=0)
    free = growing(6.0, None).predict(y, [0.0, 3.0], num_samples=3)
    assert_close(free.paths[0, 0, :, 1], z0 * np.exp(6), rtol=1e-2, atol=0)


def test_initial_states_outside_are_not_drawn_in(snapshots):
    """They have room for a tenth of the region's width around them."""
    y = 4 + 0 * snapshots
    fc = growing(0.0, (-1.0, 0.0)).predict(y, [0.0, 3.0], num_samples=3)
    assert_close(fc.paths[:, :, :, 1], fc.paths[:, :, :, 0], rtol=1e-3, atol=1e-4)


def test_paths_that_are_not_finite_are_counted(snapshots):
    fc = growing(1e3, None).predict(snapshots + 1, [0.0, 3.0], num_samples=2)
    assert_close(fc.diverged, torch.ones(len(snapshots)).double())


def test_the_box_is_half_as_wide_again_as_the_encoded_data_on_either_side():
    """All coarse points share a range, microscale states do not. 17 snapshots are all encoded."""
    model, guide = tiny_pair(2)
    segments = tiny_segments()
    before = torch.get_rng_state()
    low, high = learned_region(model, guide, segments).box
    assert torch.equal(torch.get_rng_state(), before)
    bound = model.bind({})
    with torch.no_grad():
        z = torch.cat(
            [guide.encode(segments.values[k][:], bound)[0] for k in range(len(segments.values))]
        )
    for states in (slice(NUM_COARSE), NUM_COARSE, NUM_COARSE + 1):
        least, most = z[:, states].min(), z[:, states].max()
        assert_close(low[states].max(), least - 0.5 * (most - least))
        assert_close(high[states].min(), most + 0.5 * (most - least))


def bent(limit):
    """Second differences w = (1, −2, 1)·ζ/√6 of a stencil up to a limit, all else anywhere."""
    first = np.array([1.0, -2.0, 1.0]) / 6**0.5
    axes = np.stack([first, np.ones(3) / 3**0.5, np.array([1.0, 0.0, -1.0]) / 2**0.5], 1)
    ends = np.array([[-limit, -1e6, -1e6], [limit, 1e6, 1e6]])
    box = torch.tensor([[-1e6], [1e6]]).expand(2, NUM_COARSE)
    return Region(box, *(torch.tensor(x, dtype=torch.float32) for x in (axes, ends)))


def test_points_that_stick_out_of_their_stencil_are_drawn_in():
    """Against the definition in NumPy: z + d with d_j = −2/√6 (clip w_j − w_j)."""
    model, _ = tiny_pair(0)
    z = np.array([0.3, -0.2, 2.0, 0.1, 0.4])
    w = (np.roll(z, 1) - 2 * z + np.roll(z, -1)) / 6**0.5
    d = -2 / 6**0.5 * (w.clip(-0.5, 0.5) - w)
    assert 0 < np.count_nonzero(d) < NUM_COARSE
    region = bent(0.5)
    rows = Region(region.box[:, None], region.axes, region.ends[:, None])
    drift = confined(lambda z, t: 3 * z, rows, model)
    state = torch.tensor(z, dtype=torch.float32)[None, None, None]
    found = drift(state, torch.zeros(1, 1))
    np.testing.assert_allclose(found.flatten(), 3 * (z + d) + 500 * d, rtol=1e-4, atol=1e-4)
    assert torch.equal(drift(state / 10, torch.zeros(1, 1)), 3 * (state / 10))


@pytest.mark.slow
def test_short_waves_that_would_grow_are_held(snapshots):
    """ζ' = −k (1, −2, 1)·ζ multiplies them; inside the box there is room for a million."""
    model = tiny_model(0, drift=None)
    with torch.no_grad():
        macro = model.drift.net.macro
        for value in macro.parameters():
            value.zero_()
        macro.linear.weight.copy_(torch.tensor([[-2.0, 4.0, -2.0]]))
        model.diffusion.net.log_value.fill_(-25.0)
    free = Fit(model, AmortizedGP(model), SCALING, adjustments=(Region(bent(0.0).box),))
    held = Fit(model, free.guide, SCALING, adjustments=(bent(1.0),))

    def curvature(fit):
        z = fit.predict(0.3 * snapshots, [0.0, 6.0], num_samples=2).paths[..., -1, :]
        return float((z.roll(1, -1) - 2 * z + z.roll(-1, -1)).abs().max() / 6**0.5)

    assert curvature(free) > 100
    assert curvature(held) < 1.2


def test_initial_stencils_outside_are_not_drawn_in(snapshots):
    fit = replace(growing(0.0, (-1e3, 1e3)), model=(model := tiny_model(0)))
    with torch.no_grad():
        for value in model.drift.parameters():
            value.zero_()
        model.diffusion.net.log_value.fill_(-25.0)
    fit = replace(fit, guide=AmortizedGP(model)).adjusted(bent(1e-3))
    with torch.no_grad():
        fit.guide.node_variance.log_value.fill_(-25.0)
    fc = fit.predict(snapshots, [0.0, 3.0], num_samples=3)
    assert_close(fc.paths[:, :, :, 1], fc.paths[:, :, :, 0], rtol=1e-3, atol=1e-4)


def test_stencils_have_the_margin_of_the_box():
    model, guide = tiny_pair(2)
    segments = tiny_segments()
    region = learned_region(model, guide, segments)
    bound = model.bind({})
    with torch.no_grad():
        z = (
            torch.cat(
                [guide.encode(segments.values[k][:], bound)[0] for k in range(len(segments.values))]
            )[:, :NUM_COARSE]
            .double()
            .numpy()
        )
    x = np.stack([np.roll(z, 1, 1), z, np.roll(z, -1, 1)], -1).reshape(-1, 3)
    axes = region.axes.double().numpy()
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-5)
    covariance = axes.T @ np.cov(x.T) @ axes
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-4)
    along = x @ axes
    width = np.ptp(along, axis=0)
    ends = np.stack([along.min(0) - 0.5 * width, along.max(0) + 0.5 * width])
    np.testing.assert_allclose(region.ends, ends, rtol=1e-4, atol=1e-5)


def test_a_saved_run_keeps_its_region(tmp_path):
    pair = tiny_pair(0)
    result = fit(*pair, tiny_data(), steps=1, length=8, stride=1, num_nodes=9, progress=False)
    assert result.adjustment("region").box.shape == (2, NUM_COARSE)
    result.save(tmp_path)
    saved = load(tmp_path, *pair).adjustment("region")
    for name in ("box", "axes", "ends"):
        assert_close(getattr(saved, name), getattr(result.adjustment("region"), name))


# steps of integration


def turning_wave(speed):
    """A model whose drift turns cos(x − speed t) exactly, and that wave as a segment's data."""
    model = multiscale(60, 12, n_eta=0, half_width=1, seed=0)
    s = speed / (2 * np.sin(2 * np.pi / 12))
    model.drift._modules["net"].set_polynomial(torch.tensor([[s, 0.0, -s]]), torch.zeros(1, 3, 3))
    with torch.no_grad():
        for p in model.diffusion.parameters():
            p.fill_(-30.0)
    guide = AmortizedGP(model, seed=0)
    with torch.no_grad():
        for p in guide.node_variance.parameters():
            p.fill_(-30.0)
    times = torch.linspace(0, 1, 11, dtype=torch.float64)
    x = 2 * np.pi * np.arange(60) / 60
    fields = torch.as_tensor(np.cos(x - speed * times.numpy()[:, None]), dtype=torch.float32)
    return model, guide, Segments([times], [fields[:, None]], length=5)


@pytest.mark.parametrize("speed", [20.0, 200.0])
def test_a_wave_turns_by_a_twentieth_in_the_longest_step(speed):
    assert_close(float(learned_region(*turning_wave(speed)).step), 0.05 / speed, rtol=1e-3, atol=0)


def test_a_fast_wave_keeps_its_phase():
    """After 30 radians; in a thousandth of the horizon it turns by .3, and would lag by .45."""
    model, guide, segments = turning_wave(300.0)
    plain = Fit(model, guide, Scaling([1.0], 1.0), adjustments=(Region(learned_box(model)),))
    region = learned_region(model, guide, segments)
    fit = replace(plain, adjustments=(region,))
    x = 2 * np.pi * np.arange(60) / 60
    ask = {"y0": np.cos(x), "times": [0.0, 0.1], "num_samples": 2}
    truth = np.cos(x - 30.0)
    means = [f.predict(**ask).mean[-1].numpy() for f in (plain, fit)]
    errors = [np.abs(mean - truth).max() for mean in means]
    assert errors[0] > 0.3
    assert errors[1] < 0.03


def learned_box(model):
    """A region that holds nothing back."""
    return torch.tensor([[-9.0], [9.0]]).expand(2, model.num_latent)


def test_states_at_rest_have_no_step_of_their_own():
    assert float(learned_region(*turning_wave(0.0)).step) == 1.0


@pytest.mark.parametrize("step", [0.0, -1.0, float("nan"), float("inf"), [0.1, 0.1]])
def test_steps_that_are_none_are_refused(step):
    model = tiny_model()
    saved = {"box": learned_box(model), "step": torch.tensor(step)}
    with pytest.raises(ValueError, match=r"region\.step"):
        Region.from_dict(saved, model)
