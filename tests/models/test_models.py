"""The Korteweg–de Vries case at its full size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import same, snapshot
from torch import nn
from torch.testing import assert_close

import pyro_msde
from pyro_msde import MultiscaleELBO, Trajectories, fit
from pyro_msde.data import Segments
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import kdv

RECIPES = ("default", "published")
STEP = 1e-6  # of central differences: rounding of 1e-16 over it, and curvature of its square
every_model = pytest.mark.parametrize(
    ("architecture", "n_eta"), [(r, n) for r in RECIPES for n in (0, 2)]
)


def trajectories(count=2, snapshots=5):
    rng = np.random.default_rng(0)
    times = 0.05 * np.arange(snapshots)
    x = 0.01 * np.arange(1000)
    fields = [
        rng.normal(2, 0.1) * np.cos(np.pi * (x - t)) * np.exp(-((x - 7.5 - t) ** 2))
        for _ in range(count)
        for t in times
    ]
    values = np.array(fields, dtype=np.float32).reshape(count, snapshots, 1000)
    return Trajectories(np.tile(times, (count, 1)), values)


@every_model
def test_the_gradient_of_the_elbo_at_full_size_is_its_slope(architecture, n_eta):
    """For each part, against central differences along its own gradient, in float64."""
    model = kdv(n_eta, architecture=architecture).double()
    guide = AmortizedGP(model).double()
    data = trajectories()
    segments = Segments(
        [torch.as_tensor(t) for t in data.times],
        [torch.as_tensor(v)[:, None].double() for v in data.values],
        length=5,
    )
    batch = segments.draw(1, np.random.default_rng(0))
    loss = MultiscaleELBO(num_nodes=7)(model, guide)

    def value():
        torch.manual_seed(0)  # of the draws
        return loss(batch)

    value().backward()
    parts = [*model.children(), *guide.children()]
    assert sum(len(list(part.parameters())) for part in parts) == len(
        [*model.parameters(), *guide.parameters()]
    )
    for part in parts:
        own = list(part.parameters())
        size = sum(p.grad.square().sum() for p in own).sqrt()
        assert size > 0, type(part).__name__
        values = []
        for step in (STEP, -STEP):
            with torch.no_grad():
                for p in own:
                    p.add_(step * p.grad / size)
                values.append(value())
                for p in own:
                    p.sub_(step * p.grad / size)
        slope = (values[0] - values[1]) / (2 * STEP)
        assert_close(slope, size, rtol=1e-4, atol=0)


@every_model
def test_sizes(architecture, n_eta):
    model = kdv(n_eta, architecture=architecture)
    assert model.num_latent == 20 + n_eta
    theta = model.bind()
    assert theta.diffusion.shape == (20 + n_eta,)
    assert theta.var_zeta.shape == (1, 1000)
    lanczos = architecture == "default"
    assert model.kernel.net.weight.shape == (1, 501 if lanczos else 301)
    free = 20 + n_eta if architecture == "published" else 1 + n_eta
    assert model.diffusion.net.log_value.shape == (free,)


def layers(net):
    return [tuple(m.weight.shape[::-1]) for m in net.modules() if isinstance(m, nn.Linear)]


def test_the_published_networks_are_the_papers():
    model = kdv(2, architecture="published")
    drift, encoder = model.drift.net, AmortizedGP(model).encoder
    assert layers(drift.macro) == [(5 + 2, 128), (128, 128), (128, 1)]
    assert layers(drift.micro) == [(2 + 20 + 2, 128), (128, 512), (512, 128), (128, 2)]
    assert layers(encoder) == [(8000, 2)]
    convolutions = [m for m in encoder.modules() if isinstance(m, nn.Conv1d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [(1, 4), (4, 16), (16, 64)]
    assert {(c.kernel_size, c.stride) for c in convolutions} == {((25,), (2,))}
    transposed = [m for m in model.decoder.net.modules() if isinstance(m, nn.ConvTranspose1d)]
    assert [(c.in_channels, c.out_channels) for c in transposed] == [(64, 16), (16, 4), (4, 1)]
    activations = {type(m) for m in drift.modules() if "activation" in type(m).__module__}
    assert activations == {nn.ReLU}


@pytest.mark.parametrize(("architecture", "reach"), [("default", 8), ("published", 2)])
def test_the_macroscale_drift_reaches_so_far_and_around_the_end(architecture, reach):
    drift = kdv(0, architecture=architecture).drift.net.double()
    torch.manual_seed(0)
    for p in drift.parameters():  # some start at zero
        p.data.add_(0.1 * torch.randn_like(p))
    t = torch.zeros(1, 1, dtype=torch.float64)
    z = torch.randn(20, dtype=torch.float64)
    jacobian = torch.func.jacrev(lambda v: drift(v[None, None], t)[0, 0])(z)
    j = np.arange(20)
    distance = np.minimum((j[:, None] - j) % 20, (j - j[:, None]) % 20)
    np.testing.assert_array_equal(jacobian.detach().numpy() != 0, distance <= reach)


def test_the_stencil_is_no_wider_than_the_coarse_grid():
    assert kdv(0, n_coarse=10).drift.net.half_width == 4


@pytest.mark.parametrize("architecture", RECIPES)
def test_only_the_published_microscale_drift_knows_the_time(architecture):
    drift, z = kdv(2, architecture=architecture).drift.net, torch.randn(1, 3, 22)
    t = torch.tensor([[0.1, 0.4, 0.9]], dtype=torch.float64)
    change = (drift(z, t + 0.3) - drift(z, t)).abs()
    assert (change[..., :20] == 0).all()
    assert (change[..., 20:] > 0).all() == (architecture == "published")
    if architecture == "published":  # through sine and cosine
        torch.testing.assert_close(drift(z, t + 2 * torch.pi), drift(z, t), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", RECIPES)
def test_the_seed_decides_the_weights_and_no_global_changes(architecture):
    before = torch.get_rng_state()
    first = kdv(2, architecture=architecture, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(77)
    assert same(snapshot(first), snapshot(kdv(2, architecture=architecture, seed=3)))
    assert not same(snapshot(first), snapshot(kdv(2, architecture=architecture, seed=4)))
    guides = [snapshot(AmortizedGP(first, seed=s)) for s in (5, 5, 6)]
    assert same(guides[0], guides[1])
    assert not same(guides[0], guides[2])


@pytest.mark.parametrize("n_eta", [0, 2])
def test_shared_expert_variances_are_one_number_each(n_eta):
    model = kdv(n_eta, expert_variance="shared")
    theta = model.bind()
    for part, variance in ((model.var_zeta, theta.var_zeta), (model.var_eta, theta.var_eta)):
        if part is not None:
            assert part.net.log_value.numel() == 1
            assert variance.shape == (1, 1000)
            assert (variance == variance[0, 0]).all()


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="architecture='fast': choose 'default' or 'published'"):
        kdv(architecture="fast")
    with pytest.raises(ValueError, match="smoothing='sinc': choose 'gaussian' or 'lanczos'"):
        kdv(smoothing="sinc")
    with pytest.raises(ValueError, match="expert_variance='one': choose 'point' or 'shared'"):
        kdv(expert_variance="one")
    with pytest.raises(ValueError, match=r"1000 not divisible by n_c=30"):
        kdv(n_coarse=30)


def test_decoder_and_its_variance_go_with_microscale_states():
    parts = {
        "kernel": nn.Identity(),
        "drift": nn.Identity(),
        "diffusion": nn.Identity(),
        "var_zeta": nn.Identity(),
    }
    for n_eta, more in ((0, {"decoder": nn.Identity()}), (2, {"decoder": nn.Identity()}), (1, {})):
        with pytest.raises(ValueError, match=f"n_eta={n_eta}: decoder and var_eta"):
            pyro_msde.models.Multiscale(kdv(0).grid, n_eta, **parts, **more)


@pytest.mark.parametrize("n_eta", [0, 2])
def test_a_saved_case_is_rebuilt_from_its_description(n_eta, tmp_path):
    model = kdv(n_eta, half_width=3, width=16, seed=8)
    result = fit(
        model, AmortizedGP(model), trajectories(), steps=2, length=5, stride=1, progress=False
    )
    result.save(tmp_path)
    loaded = pyro_msde.load(tmp_path)
    assert loaded.model.config == model.config
    y0 = trajectories().values[0][0]
    first, second = (r.predict(y0, [0.0, 0.02], num_samples=3) for r in (result, loaded))
    assert torch.equal(first.mean, second.mean)
    assert torch.equal(first.var, second.var)
    assert (loaded.steps, loaded.history) == (2, result.history)
