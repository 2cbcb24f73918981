"""Parts of a model: parameters as points or as a draw."""

from __future__ import annotations

import pytest
import torch
from pyro import poutine
from pyro.distributions import LogNormal, Normal
from pyro.nn import PyroModule, pyro_method
from torch import nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.testing import assert_close

from pyro_msde.priors.bayesian_parts import bayesian
from pyro_msde.priors.parts import LogVariance, Part, flatten_parameters, unflatten_parameters


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2, bias=False))


class Owner(PyroModule):
    def __init__(self, net):
        super().__init__()
        self.part = Part(net)

    @pyro_method
    def read(self, theta=None):
        return self.part.read(theta)


def test_flattened_parameters_go_back_to_their_places():
    net = network()
    flat = flatten_parameters(net)
    assert flat.shape == (3 * 5 + 5 + 5 * 2,)
    assert not flat.requires_grad
    assert_close(flat, parameters_to_vector(net.parameters()).detach(), rtol=0, atol=0)
    back = unflatten_parameters(net, flat)
    assert back.keys() == dict(net.named_parameters()).keys()
    assert all(torch.equal(back[k], p) for k, p in net.named_parameters())


def test_a_point_is_the_network_itself():
    owner = Owner(network())
    assert not owner.part.is_random
    assert owner.read() is owner.part.net
    assert owner.read({}) is owner._modules["part"]._modules["net"]


def test_a_random_part_reads_one_site_or_the_values_given(dtype):
    owner = Owner(network().to(dtype))
    law = Normal(torch.zeros(30, dtype=dtype), 1.0).to_event(1)
    bayesian(owner.part, law)
    assert owner.part.is_random
    assert owner.part.site == "part.theta"  # before the model has run
    x = torch.randn(7, 3, dtype=dtype)
    trace = poutine.trace(lambda: owner.read()(x)).get_trace()
    theta = trace.nodes["part.theta"]["value"]
    twin = network().to(dtype)
    vector_to_parameters(theta, twin.parameters())
    value = trace.nodes["_RETURN"]["value"]
    assert_close(value, twin(x), rtol=0, atol=0)
    assert_close(owner.read({"part.theta": theta})(x), value, rtol=0, atol=0)
    assert value.dtype == dtype


def test_gradients_reach_the_values_given():
    owner = Owner(network())
    bayesian(owner.part, Normal(0.0, 1.0))
    theta = torch.randn(30, requires_grad=True)
    owner.read({"part.theta": theta})(torch.randn(4, 3)).square().sum().backward()
    assert (theta.grad != 0).any()


def test_a_random_part_passes_keywords_on():
    class Scaled(nn.Linear):
        def forward(self, x, *, by):
            return super().forward(x) * by

    owner = Owner(Scaled(3, 2))
    bayesian(owner.part, Normal(0.0, 1.0))
    read, x = owner.read(), torch.ones(3)
    assert_close(read(x, by=3.0), 3 * read(x, by=1.0))


def test_log_variances_are_positive_and_repeat():
    plain = LogVariance((2, 3), 0.1)
    assert_close(plain(), torch.full((2, 3), 0.1), rtol=1e-6, atol=0)
    shared = LogVariance((2,), 0.1, floor=1e-3, repeats=[3, 1])
    with torch.no_grad():
        shared.log_value.copy_(torch.tensor([0.0, -100.0]))
    assert_close(shared(), torch.tensor([1.001, 1.001, 1.001, 1e-3]))
    assert shared.state_dict().keys() == {"log_value"}


def test_random_variances_are_the_values_themselves():
    owner = Owner(LogVariance((2,), 0.1, repeats=[1, 3]))
    bayesian(owner.part, LogNormal(0.0, 1.0))
    value = owner.read({"part.theta": torch.tensor([0.3, 2.0])})()
    assert_close(value, torch.tensor([0.3, 2.0, 2.0, 2.0]), rtol=1e-6, atol=0)


@pytest.mark.parametrize("random", [False, True])
def test_a_part_has_the_same_state_with_and_without_a_prior(random):
    owner = Owner(network())
    before = {k: v.clone() for k, v in owner.state_dict().items()}
    if random:
        bayesian(owner.part, Normal(0.0, 1.0))
    assert_close(dict(owner.state_dict()), before, rtol=0, atol=0)
