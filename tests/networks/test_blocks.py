"""Network blocks: symmetries, input layouts, and convolutions against loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from oracles.transposed_convolution import transposed_convolution
from torch import nn
from torch.testing import assert_close

from pyro_msde.grid import BOUNDARIES, Grid, SensorGraph, gaussian_kernel
from pyro_msde.networks.blocks import (
    MLP,
    ConvDecoder,
    ConvEncoder,
    PolynomialMLP,
    SmoothingKernel,
)
from pyro_msde.networks.drift import MultiscaleDrift

ROUNDING = {"rtol": 1e-10, "atol": 1e-12}  # float64 sums of at most some hundred terms


class Recorder(nn.Module):
    """Keeps its input and returns `size` zeros a point."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, x):
        self.seen = x
        return torch.zeros(*x.shape[:-1], self.size, dtype=x.dtype)


def double(*shape):
    return torch.randn(*shape, dtype=torch.float64)


# Blocks
def test_mlp_has_activations_between_its_layers_only():
    net = MLP((3, 5, 7, 2), nn.SiLU)
    assert [type(layer) for layer in net] == [nn.Linear, nn.SiLU, nn.Linear, nn.SiLU, nn.Linear]
    assert [(a.in_features, a.out_features) for a in list(net)[::2]] == [(3, 5), (5, 7), (7, 2)]
    assert net(torch.zeros(11, 3)).shape == (11, 2)


def test_polynomial_paths_reproduce_a_quadratic_function():
    """f(x) = A x + x₁ x₂ e₁ − 2 x₃² e₂, with the network's last layer silenced."""
    A = double(2, 3)
    net = PolynomialMLP((3, 5, 2), rank=2).double()
    with torch.no_grad():
        net.network[-1].weight.zero_()
        net.network[-1].bias.zero_()
        net.linear.weight.copy_(A)
        # rows: u₁, u₂, then v₁, v₂
        rows = [[1.0, 0, 0], [0, 0, 1.0], [0, 1.0, 0], [0, 0, 1.0]]
        net.factors.weight.copy_(torch.tensor(rows))
        net.output.weight.copy_(torch.tensor([[1.0, 0], [0, -2.0]]))
    x = double(7, 5, 3)
    expected = x @ A.T
    expected[..., 0] += x[..., 0] * x[..., 1]
    expected[..., 1] -= 2 * x[..., 2] ** 2
    assert_close(net(x), expected, **ROUNDING)


def test_polynomial_paths_start_at_zero_and_learn():
    torch.manual_seed(0)
    net = PolynomialMLP((3, 5, 2), rank=4)
    x = torch.randn(7, 3)
    assert_close(net(x), net.network(x), rtol=0, atol=0)
    net(x).sum().backward()
    assert (net.linear.weight.grad != 0).any()
    assert (net.output.weight.grad != 0).any()


def quadratic_forms(outputs, size):
    Q = double(outputs, size, size)
    return Q + Q.mT


def test_set_polynomial_gives_that_polynomial_and_leaves_other_inputs_out():
    torch.manual_seed(0)
    A, Q = double(2, 3), quadratic_forms(2, 3)
    net = PolynomialMLP((4, 5, 2), rank=7, reluctant=True).double()
    assert not net.has_polynomial
    net.set_polynomial(A, Q)
    assert net.has_polynomial
    x = double(11, 4)
    expected = x[:, :3] @ A.T + torch.einsum("ni,kij,nj->nk", x[:, :3], Q, x[:, :3])
    assert_close(net(x), expected, **ROUNDING)


def test_set_polynomial_of_too_high_rank_is_the_nearest_one_that_fits():
    """Eckart–Young: cut to the eigenvalues of largest modulus."""
    net = PolynomialMLP((3, 5, 1), rank=2, reluctant=True).double()
    rotation = torch.linalg.qr(double(3, 3)).Q
    keep = torch.tensor([5.0, 0.0, -3.0], dtype=torch.float64)
    rest = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    net.set_polynomial(double(1, 3) * 0, (rotation * (keep + rest)) @ rotation.T[None])
    x = double(11, 3)
    expected = torch.einsum("ni,ij,nj->n", x, (rotation * keep) @ rotation.T, x)[:, None]
    assert_close(net(x), expected, **ROUNDING)


def test_polynomial_of_rank_zero_has_no_quadratic_path():
    net = PolynomialMLP((3, 5, 2), rank=0)
    assert {name.split(".")[0] for name, _ in net.named_parameters()} == {"network", "linear"}
    assert net(torch.zeros(7, 3)).shape == (7, 2)


@pytest.mark.parametrize("channels", [1, 3])
def test_smoothing_kernel_is_a_free_parameter_per_channel(channels):
    kernel = SmoothingKernel(gaussian_kernel(Grid((30, 28), (5, 7), channels=channels), 2))
    assert isinstance(kernel.weight, nn.Parameter)
    assert kernel().shape[0] == channels
    assert kernel().ndim == 3
    ones = torch.ones(channels, dtype=kernel().dtype)
    assert_close(kernel().sum((1, 2)).detach(), ones, rtol=1e-5, atol=0)  # float32 rounding


# Drift
def drift_of(grid, n_eta, *, half_width=1, num_covariates=0, time_features=False):
    stencil = grid.channels * (2 * half_width + 1) ** grid.ndim
    macro = MLP((stencil + n_eta + num_covariates, 11, grid.channels), nn.SiLU)
    micro = None
    if n_eta:
        wide = n_eta + grid.num_zeta + num_covariates + 2 * time_features
        micro = MLP((wide, 13, n_eta), nn.SiLU)
    return MultiscaleDrift(
        grid,
        n_eta,
        macro,
        micro,
        half_width=half_width,
        time_features=time_features,
    ).double()


def rolled(zeta, grid, shift, axis):
    field = zeta.unflatten(-1, (grid.channels, *grid.coarse))
    return field.roll(shift, axis - grid.ndim).flatten(-grid.ndim - 1)


GRIDS = [Grid(70, 7, channels=2), Grid((30, 28), (5, 7), channels=3)]


@pytest.mark.parametrize("grid", GRIDS, ids=["1-D", "2-D"])
@pytest.mark.parametrize("n_eta", [0, 2])
def test_macroscale_drift_moves_with_the_field_on_a_periodic_grid(grid, n_eta):
    drift = drift_of(grid, n_eta)
    zeta, eta = double(2, 3, 5, grid.num_zeta), double(2, 3, 5, n_eta)
    t = torch.rand(3, 5, dtype=torch.float64)
    still = drift(torch.cat([zeta, eta], -1), t)
    assert still.shape == (2, 3, 5, grid.num_zeta + n_eta)
    for axis in range(grid.ndim):
        for shift in (1, -2):
            moved = drift(torch.cat([rolled(zeta, grid, shift, axis), eta], -1), t)
            expected = rolled(still[..., : grid.num_zeta], grid, shift, axis)
            assert_close(moved[..., : grid.num_zeta], expected, **ROUNDING)


@pytest.mark.parametrize("boundary", [name for name in BOUNDARIES if name != "periodic"])
def test_macroscale_drift_does_not_wrap_around_walls(boundary):
    grid = Grid(70, 7, boundary=boundary)
    drift = drift_of(grid, 0, half_width=2)
    zeta = double(1, 1, 7)
    changed = zeta.clone()
    changed[..., -1] += 1
    t = torch.zeros(1, 1, dtype=torch.float64)
    difference = (drift(changed, t) - drift(zeta, t))[0, 0]
    assert (difference[:4] == 0).all()
    assert (difference[4:] != 0).all()


def test_a_linear_macroscale_network_is_a_finite_difference_scheme():
    """(ζ_{j+1} − ζ_{j−1}) of each channel: the order of channels and neighbours in the input."""
    grid = Grid(70, 7, channels=2)
    macro = nn.Linear(6, 2, bias=False).double()
    with torch.no_grad():
        macro.weight.copy_(torch.tensor([[-1.0, 0, 1, 0, 0, 0], [0, 0, 0, -3.0, 0, 3]]))
    drift = MultiscaleDrift(grid, 0, macro, None, half_width=1)
    z = double(3, 5, 14)
    field = z.unflatten(-1, (2, 7)).numpy()
    difference = np.roll(field, -1, -1) - np.roll(field, 1, -1)
    expected = difference * np.array([1.0, 3.0])[:, None]
    value = drift(z, torch.zeros(3, 5, dtype=torch.float64))
    np.testing.assert_allclose(value.unflatten(-1, (2, 7)).detach(), expected, rtol=1e-12)


def test_layout_of_the_networks_inputs():
    """Macro: stencil, parameters, η. Micro: η, ζ, parameters, sin t, cos t."""
    grid = Grid(70, 7, channels=2)
    macro, micro = Recorder(2), Recorder(5)
    drift = MultiscaleDrift(grid, 5, macro, micro, half_width=1, time_features=True)
    z, covariates = double(11, 3, 4, 19), double(3, 2)
    t = torch.rand(3, 4, dtype=torch.float64)
    assert drift(z, t, covariates).shape == z.shape
    zeta, eta = z[..., :14], z[..., 14:]
    own = covariates[:, None, :].expand(11, 3, 4, 2)
    clock = torch.stack([t.sin(), t.cos()], -1).expand(11, 3, 4, 2)
    assert_close(micro.seen, torch.cat([eta, zeta, own, clock], -1), rtol=1e-12, atol=0)
    assert macro.seen.shape == (11, 3, 4, 7, 6 + 5 + 2)
    for j in range(7):
        at = macro.seen[..., j, :]
        neighbours = [(j - 1) % 7, j, (j + 1) % 7]
        stencil = zeta.unflatten(-1, (2, 7))[..., neighbours].flatten(-2)
        assert torch.equal(at, torch.cat([stencil, own, eta], -1))


def test_a_coupling_tells_f_what_microscale_states_are_at_each_point():
    """φ_j(η) = η + φ*(η, sin t, cos t, place of j) in the place of η; f is told no place itself."""
    grid = Grid(70, 7, channels=2)
    macro, micro, coupling = Recorder(2), Recorder(5), MLP([5 + 2 + 3, 11, 5]).double()
    places = double(7, 3)
    drift = MultiscaleDrift(
        grid,
        5,
        macro,
        micro,
        half_width=1,
        time_features=True,
        places=places,
        coupling=coupling,
    )
    z, covariates = double(11, 3, 4, 19), double(3, 2)
    t = torch.rand(3, 4, dtype=torch.float64)
    assert drift(z, t, covariates).shape == z.shape
    eta, own = z[..., 14:], covariates[:, None, :].expand(11, 3, 4, 2)
    clock = torch.stack([t.sin(), t.cos()], -1).expand(11, 3, 4, 2)
    assert macro.seen.shape == (11, 3, 4, 7, 6 + 2 + 5)
    for j in range(7):
        at = torch.cat([eta, clock, places[j].expand(11, 3, 4, 3)], -1)
        felt = torch.cat([own, eta + coupling(at)], -1)
        assert_close(macro.seen[..., j, 6:], felt, rtol=1e-12, atol=0)
    assert torch.equal(micro.seen[..., :5], eta)


@pytest.mark.parametrize(
    "grid",
    [
        Grid(12, 6, channels=2),
        Grid((8, 12), (4, 3), channels=2, boundary="dirichlet"),
        Grid((8, 12), (4, 3), boundary=("neumann", "replicate")),
        Grid((8, 12), (4, 3), boundary=("neumann", "antisymmetric")),
        SensorGraph([[0, 1, 2], [1, 0, 3], [2, 0, 3], [3, 1, 2]], channels=2),
    ],
    ids=["ring", "walls", "mirror", "odd", "graph"],
)
def test_a_point_finds_itself_in_the_middle_of_its_stencil(grid):
    drift = MultiscaleDrift(grid, 0, nn.Identity(), None, half_width=1)
    zeta = torch.randn(2, grid.num_zeta)
    own = drift.stencils(zeta)[..., drift.middle]
    assert torch.equal(own.mT.flatten(-2), zeta)


def test_time_features_repeat_with_their_period_and_leave_the_macroscale_alone():
    grid = Grid(70, 7)
    drift = drift_of(grid, 2, time_features=True)
    z, t = double(3, 5, 9), torch.rand(3, 5, dtype=torch.float64)
    value = drift(z, t)
    assert_close(drift(z, t + 2 * math.pi), value, **ROUNDING)
    half = drift(z, t + math.pi)
    assert_close(half[..., :7], value[..., :7], rtol=0, atol=0)
    assert (half[..., 7:] != value[..., 7:]).all()
    without = drift_of(grid, 2)
    assert_close(without(z, t), without(z, t + 0.1), rtol=0, atol=0)


def test_one_row_of_times_serves_all_segments():
    drift = drift_of(Grid(70, 7), 2, time_features=True)
    z, t = double(11, 3, 5, 9), torch.rand(1, 5, dtype=torch.float64)
    assert_close(drift(z, t), drift(z, t.expand(3, 5)), rtol=0, atol=0)


def test_drift_keeps_the_dtype_of_the_state(dtype):
    drift = drift_of(Grid(70, 7), 2, time_features=True).to(dtype)
    z = torch.randn(3, 5, 9, dtype=dtype)
    assert drift(z, torch.rand(3, 5, dtype=torch.float64)).dtype == dtype


# Convolutions
CONV_GRIDS = {
    "1-D": Grid(48, 8, channels=2),
    "1-D odd": Grid(45, 9, channels=2),
    "1-D walls": Grid(45, 9, channels=2, boundary="dirichlet"),
    "2-D": Grid((24, 21), (3, 7), channels=2, boundary=("periodic", "neumann")),
    "2-D odd": Grid((15, 21), (3, 7), channels=2, boundary=("dirichlet", "periodic")),
    "3-D": Grid((10, 9, 14), (5, 3, 7), channels=2, boundary=("periodic", "dirichlet", "periodic")),
}
SMALL = {"widths": (3, 5), "kernel": 5, "stride": 2}


@pytest.mark.parametrize("name", CONV_GRIDS)
@pytest.mark.parametrize("batch", [(), (7,), (4, 1, 7)])
def test_shapes_of_encoder_and_decoder(name, batch, dtype):
    grid = CONV_GRIDS[name]
    encoder, decoder = ConvEncoder(grid, 6, **SMALL), ConvDecoder(grid, 6, **SMALL)
    eta = encoder.to(dtype)(torch.randn(*batch, *grid.field_shape, dtype=dtype))
    assert eta.shape == (*batch, 6)
    assert eta.dtype == dtype
    field = decoder.to(dtype)(eta)
    assert field.shape == (*batch, *grid.field_shape)
    assert field.dtype == dtype


def test_published_sizes_of_kdv():
    """Convolutions 1 → 4 → 16 → 64 of kernel 25 and stride 2, then 8000 → n_η (App. H)."""
    grid = Grid(1000, 20)
    assert ConvEncoder(grid, 3).head.in_features == 8000
    decoder = ConvDecoder(grid, 3)
    assert decoder.first.out_features == 8000
    assert [layer.weight.shape[:2] for layer in decoder.layers] == [(64, 16), (16, 4), (4, 1)]
    assert [tuple(bias.shape) for bias in decoder.biases] == [(16, 1), (4, 1), (1, 1)]


@pytest.mark.parametrize("stride", [2, 3])
def test_encoder_s_convolutions_move_with_the_field_on_a_ring(stride):
    """A shift by stride^depth fine points is one by one point of the last layer."""
    grid = Grid((36, 72), (3, 8), channels=2)
    encoder = ConvEncoder(grid, 6, **{**SMALL, "stride": stride}).double()
    encoder.head = nn.Identity()
    coarse = (5, 36 // stride**2, 72 // stride**2)
    field = double(7, 2, 36, 72)
    features = encoder(field).unflatten(-1, coarse)
    for axis in (-2, -1):
        moved = encoder(field.roll(stride**2, axis)).unflatten(-1, coarse)
        assert_close(moved, features.roll(1, axis), **ROUNDING)


def test_encoder_does_not_wrap_around_walls():
    grid = Grid((24, 24), (3, 8), boundary=("periodic", "dirichlet"))
    encoder = ConvEncoder(grid, 6, **SMALL).double()
    encoder.head = nn.Identity()
    field = double(1, 24, 24)
    features = encoder(field).unflatten(-1, (5, 6, 6))
    moved = encoder(field.roll(4, -2)).unflatten(-1, (5, 6, 6))
    assert_close(moved, features.roll(1, -2), **ROUNDING)
    changed = field.clone()
    changed[..., -1] += 1
    difference = (encoder(changed).unflatten(-1, (5, 6, 6)) - features).abs().amax((0, 1))
    # two layers of half-width 2 and stride 2 look back 2 + 4 points
    assert (difference[:3] == 0).all()
    assert difference[-1] > 0


@pytest.mark.parametrize("name", CONV_GRIDS)
def test_decoder_is_transposed_convolutions_by_loops(name):
    grid = CONV_GRIDS[name]
    torch.manual_seed(3)
    decoder = ConvDecoder(grid, 6, **SMALL).double()
    with torch.no_grad():
        for bias in decoder.biases:
            bias.normal_()
    eta = double(6)
    wrap = tuple(b == "periodic" for b in grid.boundary)
    middle = tuple((n - 1) // 2 + 1 for n in grid.shape)
    small = tuple((n - 1) // 2 + 1 for n in middle)
    x = decoder.first(eta).detach().numpy().reshape(5, *small)
    for layer, bias, size in zip(decoder.layers, decoder.biases, (middle, grid.shape), strict=True):
        weight = layer.weight.detach().numpy()
        x = transposed_convolution(np.maximum(x, 0), weight, 2, size, wrap)
        x = x + bias.detach().numpy()
    np.testing.assert_allclose(decoder(eta).detach(), x, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["1-D", "1-D walls", "2-D odd", "3-D"])
def test_decoder_s_layers_are_adjoint_to_the_encoder_s(name):
    """⟨conv y, x⟩ = ⟨y, convᵀ x⟩ with the same weights: the decoder mirrors the encoder."""
    grid = CONV_GRIDS[name]
    options = {"widths": (5,), "kernel": 5, "stride": 2}
    encoder, decoder = (kind(grid, 6, **options).double() for kind in (ConvEncoder, ConvDecoder))
    encoder.activation = decoder.activation = nn.Identity()
    encoder.head, decoder.first = nn.Identity(), nn.Identity()
    with torch.no_grad():
        encoder.layers[0].bias.zero_()
        decoder.layers[0].weight.copy_(encoder.layers[0].weight)
    y = double(*grid.field_shape)
    features = encoder(y)
    x = torch.randn_like(features)
    assert_close((features * x).sum(), (y * decoder(x)).sum(), **ROUNDING)


@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("boundary", ["periodic", "dirichlet"])
def test_decoder_at_strides_other_than_two(stride, boundary):
    """With a stride beyond the kernel's half-width, points at a wall may get nothing."""
    grid = Grid(24, 1, channels=2, boundary=boundary)
    decoder = ConvDecoder(grid, 6, widths=(3,), kernel=5, stride=stride).double()
    eta = double(6)
    size = (23 // stride + 1,)
    x = np.maximum(decoder.first(eta).detach().numpy().reshape(3, *size), 0)
    weight = decoder.layers[0].weight.detach().numpy()
    expected = transposed_convolution(x, weight, stride, (24,), (boundary == "periodic",))
    np.testing.assert_allclose(decoder(eta).detach(), expected, rtol=1e-10, atol=1e-12)


def test_gradients_reach_every_weight():
    grid = CONV_GRIDS["2-D"]
    encoder, decoder = ConvEncoder(grid, 6, **SMALL), ConvDecoder(grid, 6, **SMALL)
    decoder(encoder(torch.randn(7, *grid.field_shape))).square().sum().backward()
    for module in (encoder, decoder):
        for name, p in module.named_parameters():
            assert (p.grad != 0).any(), name


@pytest.mark.parametrize("network", [ConvEncoder, ConvDecoder])
def test_kernels_that_wrap_around_twice_are_refused(network):
    network(Grid(24, 4), 2, widths=(3, 5), kernel=25)
    with pytest.raises(ValueError, match="kernel: 25 points wrap around a periodic layer of 10"):
        network(Grid(20, 4), 2, widths=(3, 5), kernel=25)
    network(Grid(20, 4, boundary="dirichlet"), 2, widths=(3, 5), kernel=25)
