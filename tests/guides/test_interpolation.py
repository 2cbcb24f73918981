"""W and Ẇ against plain Gaussian-process algebra and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles.deep_kernel import weights
from torch import nn
from torch.testing import assert_close

from pyro_msde.errors import NotPositiveDefiniteError
from pyro_msde.guides.interpolation import DeepKernel, Interpolant

IRREGULAR = [0.0, 0.07, 0.2, 0.23, 0.41, 0.6, 1.0]
OTHER = [0.0, 0.1, 0.15, 0.5, 0.55, 0.8, 1.3]


def kernel_for_tests(dtype=torch.float64, **options):
    """A kernel whose h bends: fresh networks are nearly linear."""
    torch.manual_seed(1)
    kernel = DeepKernel(width=5, **options).to(dtype)
    with torch.no_grad():
        for layer in kernel.network:
            if isinstance(layer, nn.Linear):
                layer.weight.mul_(2)
    return kernel


def h_of(kernel, times, start, end):
    """h(t̂) = t̂ + network(t̂) in float64, numpy."""
    rescaled = 2 * (np.asarray(times) - start) / (end - start) - 1
    with torch.no_grad():
        bent = kernel.network(torch.as_tensor(rescaled)[:, None].to(kernel.log_noise.dtype))
    return rescaled + bent[:, 0].double().numpy()


@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_weights_are_those_of_a_gaussian_process(batched, offset):
    kernel = kernel_for_tests(lengthscale=0.3, noise=0.02)
    rows = [IRREGULAR, OTHER] if batched else [IRREGULAR]
    nodes = torch.tensor(rows, dtype=torch.float64) + offset
    at = nodes[:, :1] + (nodes[:, -1:] - nodes[:, :1]) * torch.tensor([0.0, 0.33, 0.34, 0.8, 1.0])
    W, W_dot = Interpolant(kernel, nodes).weights(at)
    assert W.shape == W_dot.shape == (len(rows), 5, 7)
    ell, noise = kernel.log_lengthscale.exp().item(), kernel.log_noise.exp().item() + 1e-6
    for row in range(len(rows)):
        ends = nodes[row, 0].item(), nodes[row, -1].item()
        h_at, h_nodes = h_of(kernel, at[row], *ends), h_of(kernel, nodes[row], *ends)
        expected = torch.from_numpy(weights(h_at, h_nodes, ell, noise))
        # rounding (2e-16, at 1e6 only 1e-10 of the times is kept), times the condition 7 / ν
        assert_close(W[row].detach(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_times_far_from_zero_lose_no_more_than_their_own_rounding(offset):
    kernel = kernel_for_tests()
    nodes = torch.tensor([IRREGULAR], dtype=torch.float64)
    at = torch.tensor([[0.05, 0.5, 0.9]], dtype=torch.float64)
    near = Interpolant(kernel, nodes).weights(at)
    far = Interpolant(kernel, nodes + offset).weights(at + offset)
    # times near 1e6 are rounded to 1e-10, Ẇ is up to 1e2 a unit of time
    for a, b in zip(near, far, strict=True):
        assert_close(b, a, rtol=0, atol=1e-11 if offset == 0 else 1e-7)


@pytest.mark.parametrize("batched", [False, True])
def test_rate_is_the_limit_of_central_differences_of_second_order(batched):
    kernel = kernel_for_tests()
    nodes = torch.tensor([IRREGULAR, OTHER] if batched else IRREGULAR, dtype=torch.float64)
    at = torch.tensor([[0.11, 0.3, 0.77], [0.05, 0.6, 1.2]], dtype=torch.float64)
    at = at if batched else at[0]
    interpolant = Interpolant(kernel, nodes)
    W_dot = interpolant.weights(at)[1]
    errors = []
    for step in (4e-3, 2e-3, 1e-3):
        after, before = interpolant.weights(at + step)[0], interpolant.weights(at - step)[0]
        errors.append((((after - before) / (2 * step)) - W_dot).abs().max().item())
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(orders, 2, atol=0.05)  # next term of the error: h⁴
    assert errors[-1] < 1e-3 * W_dot.abs().max()


def test_a_batch_of_node_times_is_its_rows():
    kernel = kernel_for_tests()
    nodes = torch.tensor([IRREGULAR, OTHER], dtype=torch.float64)
    at = torch.tensor([[0.11, 0.3, 0.77], [0.05, 0.6, 1.2]], dtype=torch.float64)
    together = Interpolant(kernel, nodes).weights(at)
    for row in range(2):
        alone = Interpolant(kernel, nodes[row]).weights(at[row])
        for a, b in zip(together, alone, strict=True):
            assert_close(a[row], b, rtol=1e-9, atol=1e-11)  # rounding times the condition


def test_rows_sum_to_one_when_noise_is_small():
    """A process of zero mean shrinks towards zero; with little noise, hardly."""
    torch.manual_seed(0)
    nodes = torch.linspace(0, 1, 41, dtype=torch.float64)
    at = torch.rand(30, dtype=torch.float64)
    deficit = []
    for noise in (1e-1, 1e-2, 1e-3, 1e-4):
        W, W_dot = Interpolant(DeepKernel(noise=noise), nodes).weights(at)
        deficit.append((W.sum(-1) - 1).abs().max().item())
    assert deficit == sorted(deficit, reverse=True)
    # in 2 / ℓ = 10 lengthscales some 10 modes are seen, the weakest with signal to noise 1e2
    assert deficit[-1] < 1e-3
    assert W_dot.sum(-1).abs().max() < 0.1  # of rates up to 1 / ℓ̂ = 10 a unit of time


def test_small_noise_interpolates_the_nodes():
    kernel = DeepKernel(lengthscale=0.2, noise=1e-9)
    nodes = torch.linspace(2.0, 3.0, 9, dtype=torch.float64)
    W = Interpolant(kernel, nodes).weights(nodes)[0]
    # (K + ν I)⁻¹ K = I − ν (K + ν I)⁻¹, ν = 1e-6 (the floor); K's least eigenvalue is near 0.1
    assert_close(W, torch.eye(9, dtype=torch.float64), rtol=0, atol=1e-4)


def test_rate_of_a_smooth_function():
    kernel = DeepKernel(lengthscale=0.6, noise=1e-9)
    nodes = torch.linspace(2.0, 3.0, 21, dtype=torch.float64)
    at = torch.linspace(2.1, 2.9, 13, dtype=torch.float64)
    W, W_dot = Interpolant(kernel, nodes).weights(at)
    # six nodes a lengthscale: what is left comes from ν = 1e-6 against the kernel's small modes
    assert_close(W @ (3 * nodes).sin(), (3 * at).sin(), rtol=0, atol=2e-3)
    assert_close(W_dot @ (3 * nodes).sin(), 3 * (3 * at).cos(), rtol=0, atol=3e-2)


def test_float32_module_gives_float64_weights():
    kernel = kernel_for_tests(torch.float32)
    twin = kernel_for_tests(torch.float64)
    twin.load_state_dict(kernel.state_dict())
    nodes = torch.tensor(IRREGULAR, dtype=torch.float64)
    at = torch.tensor([0.04, 0.5, 0.9], dtype=torch.float64)
    for a, b in zip(
        Interpolant(kernel, nodes).weights(at), Interpolant(twin, nodes).weights(at), strict=True
    ):
        assert a.dtype == torch.float64
        # h is rounded to 1e-7; times 1 / ν = 100
        assert_close(a, b, rtol=0, atol=1e-5 * b.abs().max().item())


def test_gradients_by_kernel_parameters():
    kernel = kernel_for_tests()

    class Weights(nn.Module):
        def __init__(self):
            super().__init__()
            self.kernel = kernel

        def forward(self, nodes, at):
            return Interpolant(self.kernel, nodes).weights(at)

    names = [name for name, _ in Weights().named_parameters()]
    nodes = torch.tensor([IRREGULAR[:5], OTHER[:5]], dtype=torch.float64)
    at = torch.tensor([[0.1, 0.3, 0.33], [0.2, 0.3, 0.54]], dtype=torch.float64)

    def weights_of(*values):
        named = dict(zip(names, values, strict=True))
        return torch.func.functional_call(Weights(), named, (nodes, at))

    values = [p.detach().clone().requires_grad_() for p in kernel.parameters()]
    assert torch.autograd.gradcheck(weights_of, values, fast_mode=True, atol=1e-4)


def test_every_kernel_parameter_gets_a_gradient():
    kernel = DeepKernel()
    nodes = torch.tensor(IRREGULAR, dtype=torch.float64)
    W, W_dot = Interpolant(kernel, nodes).weights(nodes + 0.01)
    (W[:, 0].sum() + W_dot[:, 1].square().sum()).backward()
    # the last bias shifts h, and so drops out of its differences
    for name, p in kernel.named_parameters():
        assert p.grad is not None, name
        if name != "network.4.bias":
            assert p.grad.abs().max() > 0, name


def test_nan_parameters_are_named():
    kernel = DeepKernel()
    with torch.no_grad():
        kernel.log_lengthscale.fill_(float("nan"))
    nodes = torch.tensor(IRREGULAR, dtype=torch.float64)
    message = r"7 observation times at jitter 0\.0001: non-finite kernel parameters"
    with pytest.raises(NotPositiveDefiniteError, match=message):
        Interpolant(kernel, nodes)


def test_coinciding_times_are_named(monkeypatch):
    """Only a negative ν gets here: with ν ≥ 1e-6 even coinciding times can be factorised."""
    nodes = torch.tensor([0.0, 0.5, 0.5, 1.0], dtype=torch.float64)
    Interpolant(DeepKernel(noise=1e-9), nodes)
    monkeypatch.setattr(DeepKernel, "noise", lambda self: torch.tensor(-1e-3).double())
    with pytest.raises(NotPositiveDefiniteError, match=r"4 .*: times 0 apart.*Merge"):
        Interpolant(DeepKernel(), nodes)


def test_rough_values_are_joined_as_a_bridge_is():
    """Beside a distant length and no noise: straight lines, and their slopes within intervals."""
    kernel = DeepKernel(lengthscale=100.0, noise=1e-12)
    torch.nn.init.zeros_(kernel.network[-1].weight)
    torch.nn.init.zeros_(kernel.network[-1].bias)
    nodes = torch.tensor([0.0, 0.4, 1.0, 3.0], dtype=torch.float64)
    values = torch.tensor([0.3, -1.0, 2.0, 0.7], dtype=torch.float64)
    at = torch.tensor([0.1, 0.4, 0.7, 2.9], dtype=torch.float64)
    both = Interpolant(kernel.double(), nodes, rough=True).weights(at)
    W, W_dot = (w.detach() for w in both)
    wanted = np.interp(at, nodes, values)
    np.testing.assert_allclose(W @ values, wanted, atol=0.02)  # by 2 / lengthscale
    slopes = np.diff(values) / np.diff(nodes)
    inside = [0, 2, 3]
    np.testing.assert_allclose((W_dot @ values)[inside], slopes, atol=0.02)


def test_rough_values_with_noise_are_smoothed_as_a_random_walks():
    """Against the conditional mean of an Ornstein–Uhlenbeck process seen with noise."""
    kernel = DeepKernel(lengthscale=0.7, noise=0.2)
    torch.nn.init.zeros_(kernel.network[-1].weight)
    torch.nn.init.zeros_(kernel.network[-1].bias)
    nodes = torch.linspace(0, 2, 6, dtype=torch.float64)
    at = torch.tensor([0.13, 1.0, 1.9], dtype=torch.float64)
    W, _ = Interpolant(kernel.double(), nodes, rough=True).weights(at)
    x, t = nodes.numpy() - 1, at.numpy() - 1  # rescaled to [−1, 1]
    K = np.exp(-np.abs(x[:, None] - x) / 0.7) + (0.2 + 1e-6) * np.eye(6)
    wanted = np.exp(-np.abs(t[:, None] - x) / 0.7) @ np.linalg.inv(K)
    np.testing.assert_allclose(W.detach(), wanted, rtol=1e-5, atol=1e-7)
