"""Principal components of the fine scale, and the microscale networks that work on them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import same, snapshot, tiny_data, tiny_grid, tiny_model, tiny_segments
from pyro.distributions import Normal
from torch.testing import assert_close

from pyro_msde import fit
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale
from pyro_msde.networks.pod import (
    PrincipalDecoder,
    PrincipalEncoder,
    principal_components,
    start_principal_components,
)
from pyro_msde.priors import bayesian
from pyro_msde.priors.parts import flatten_parameters

QUICK = {"length": 7, "num_nodes": 5, "stride": 1, "progress": False}


def pair(rank=4, n_eta=2):
    model = tiny_model(n_eta, decoder=PrincipalDecoder(tiny_grid(), n_eta, rank=rank))
    guide = AmortizedGP(model, encoder=PrincipalEncoder(tiny_grid(), n_eta, rank=rank))
    return model, guide


@pytest.mark.parametrize(("snapshots", "numbers"), [(40, 17), (11, 23)])
def test_components_are_those_of_the_singular_value_decomposition(snapshots, numbers):
    fields = torch.randn(snapshots, numbers, dtype=torch.float64) * torch.linspace(3, 1, numbers)
    modes, sizes, noise = principal_components(fields, 5)
    _, values, right = np.linalg.svd(fields.numpy(), full_matrices=False)
    # the Gram matrix squares the condition number, here below 100
    np.testing.assert_allclose(np.abs((modes.numpy() * right[:5]).sum(1)), 1, rtol=1e-9)
    np.testing.assert_allclose(sizes, values[:5] / np.sqrt(snapshots), rtol=1e-9)
    np.testing.assert_allclose(noise**2, (values[5:] ** 2).mean() / snapshots, rtol=1e-9)


def test_noise_is_told_from_signal():
    """A rank-two signal in noise of 0.1: its size along all other directions, to 5 %."""
    torch.manual_seed(0)
    signal = torch.randn(400, 2) @ torch.linalg.qr(torch.randn(90, 2))[0].mT
    _, sizes, noise = principal_components(signal + 0.1 * torch.randn(400, 90), 6)
    assert noise == pytest.approx(0.1, rel=0.05)
    # two of size one, to 5 standard errors; the rest is noise, whose largest of 90 stands out a bit
    assert (sizes[:2] - 1).abs().max() < 5 / np.sqrt(2 * 400)
    assert sizes[2:].max() < 0.1 * (1 + np.sqrt(90 / 400)) * 1.1


def test_missing_components_are_filled_up():
    fields = torch.randn(3, 13)
    modes, sizes, noise = principal_components(fields, 6)
    assert noise == 0
    assert_close(modes @ modes.mT, torch.eye(6), rtol=0, atol=1e-5)  # float32
    assert (sizes > 0).all()
    assert_close(sizes[3:], 1e-3 * sizes[0].expand(3))


@pytest.mark.parametrize("value", [1.0, 0.3])
def test_a_field_uniform_in_space_leaves_only_rounding(value):
    """Which is not blown up to the size of a signal: f gets next to nothing."""
    model, guide = pair()
    data = tiny_data()
    for v in data.values:
        v[:] = value
        v[::2] *= 1.0 + 1e-3  # so that smoothing rounds differently
    segments = tiny_segments(data)
    assert start_principal_components(model, guide, segments)
    for net in (model.decoder.net, guide.encoder):
        assert net.modes.isfinite().all()
        assert net.weights.isfinite().all()
    operators = model.bind().operators
    y = segments.values[0][:]
    left = (y - operators.smooth(y)).flatten(1)
    assert (left @ guide.encoder.modes.mT * guide.encoder.weights).abs().max() < 0.1
    assert guide.encode(y, model.bind({}))[0].isfinite().all()


def test_the_start_spans_what_the_macroscale_leaves():
    """Noise-free residuals of four waves: eight components hold them, to half precision."""
    rng = np.random.default_rng(0)
    model, guide = pair(rank=8)
    data = tiny_data()
    x = np.arange(30) / 30
    for v in data.values:
        v[:] = sum(
            rng.standard_normal((len(v), 1)) * np.cos(2 * np.pi * k * x)
            + rng.standard_normal((len(v), 1)) * np.sin(2 * np.pi * k * x)
            for k in (1, 2, 4, 6)
        )
    segments = tiny_segments(data)
    assert start_principal_components(model, guide, segments)
    operators = model.bind().operators
    y = segments.values[1][:]
    smoothed = operators.smooth(y)
    left = {
        model.decoder.net: y - operators.prolong(operators.sample(smoothed)),
        guide.encoder: y - smoothed,
    }
    for net, residual in left.items():
        flat = residual.detach().flatten(1)
        projected = flat @ net.modes.mT @ net.modes
        # Φ is rounded by 2⁻¹¹ at most, and is there twice
        assert_close(projected, flat, rtol=0, atol=2 * 2**-11 * float(flat.abs().max()))
    unit = flat @ guide.encoder.modes.mT * guide.encoder.weights
    assert 0.3 < unit.square().mean().sqrt() < 3  # of one trajectory of three


def test_it_starts_once_and_not_elsewhere():
    model, guide = pair()
    segments = tiny_segments()
    assert start_principal_components(model, guide, segments)
    before = snapshot(model) | snapshot(guide)
    assert not start_principal_components(model, guide, segments)
    assert same(before, snapshot(model) | snapshot(guide))
    other = tiny_model(2)
    assert not start_principal_components(other, AmortizedGP(other), segments)
    closure = tiny_model(0)
    assert not start_principal_components(closure, AmortizedGP(closure), segments)


def test_encoder_and_decoder_by_hand():
    torch.manual_seed(0)
    encoder = PrincipalEncoder(tiny_grid(2), 3, rank=5, num_covariates=1).double()
    decoder = PrincipalDecoder(tiny_grid(2), 3, rank=5).double()
    encoder.start(torch.randn(5, 60).double(), torch.rand(5).double() + 0.5)
    decoder.start(torch.randn(5, 60).double(), torch.rand(5).double() + 0.5)
    field, own = torch.randn(4, 7, 2, 30).double(), torch.randn(4, 1, 1).double()
    coefficients = torch.einsum("...cx,kcx->...k", field, encoder.modes.reshape(5, 2, 30))
    inputs = torch.cat([coefficients * encoder.weights, own.expand(4, 7, 1)], -1)
    assert_close(encoder(field, own), encoder.head(inputs))
    eta = torch.randn(4, 7, 3).double()
    expected = torch.einsum(
        "...k,k,kcx->...cx", decoder.first(eta), decoder.weights, decoder.modes.reshape(5, 2, 30)
    )
    assert_close(decoder(eta), expected)


def test_components_are_no_parameters():
    model, guide = pair()
    names = {n for n, _ in (*model.named_parameters(), *guide.named_parameters())}
    assert not any(n.endswith(("modes", "weights")) for n in names)
    decoder = model.decoder.net
    count = sum(p.numel() for p in decoder.parameters())
    assert flatten_parameters(decoder).numel() == count
    bayesian(model.decoder, Normal(0.0, 0.1))
    assert model.decoder.theta.shape == (count,)
    modes = decoder.modes.clone()
    assert start_principal_components(model, guide, tiny_segments())  # with a prior too
    assert not torch.equal(decoder.modes, modes)


def test_fit_starts_them_and_a_saved_fit_keeps_them(tmp_path):
    data = tiny_data()
    model = multiscale(30, 5, n_eta=2, width=7, components=6)
    result = fit(model, AmortizedGP(model), data, steps=2, checkpoint=tmp_path, **QUICK)
    assert bool(model.decoder.net.started)
    again = multiscale(30, 5, n_eta=2, width=7, components=6)
    resumed = fit(again, AmortizedGP(again), data, steps=2, checkpoint=tmp_path, **QUICK)
    assert same(snapshot(result.model), snapshot(resumed.model))
    assert same(snapshot(result.guide), snapshot(resumed.guide))


def test_rank_is_checked():
    with pytest.raises(ValueError, match="rank: 31 components of fields of 30 numbers"):
        PrincipalDecoder(tiny_grid(), 2, rank=31)
