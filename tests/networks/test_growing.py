"""Where old numbers are in a larger network, and what is beside them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pyro_msde.networks import PolynomialMLP, grow_from
from pyro_msde.networks.growing import put


def test_old_inputs_are_where_the_gaps_leave_them():
    """Of seven columns the old five are 0, 1, 4, 5, 6; of three rows the first two."""
    old, new = torch.arange(10.0).reshape(2, 5) + 1, nn.Parameter(torch.ones(3, 7))
    put(new, old, gaps=[(2, 2)])
    assert torch.equal(new.data[:2, [0, 1, 4, 5, 6]], old)
    beside = torch.cat([new.data[:2, [2, 3]].flatten(), new.data[2]])
    assert (beside != 1).all()
    assert beside.abs().min() > 0


@pytest.mark.parametrize("start", [nn.Parameter(torch.zeros(3, 7)), torch.ones(3, 7)])
def test_what_starts_at_zero_or_is_no_parameter_is_not_drawn(start):
    before = start.detach().clone()
    put(start, torch.full((2, 5), 9.0))
    assert (start[:2, :5] == 9).all()
    assert torch.equal(start.detach()[2], before[2])
    assert torch.equal(start.detach()[:, 5:], before[:, 5:])


def test_new_weights_are_xavier_normal():
    """Variance 2 / (fan in + fan out); 5 standard errors of the sd of a normal sample."""
    torch.manual_seed(0)
    new = nn.Parameter(torch.ones(300, 200))
    put(new, torch.zeros(1, 1))
    sd = float(new.data.flatten()[1:].std())
    assert abs(sd / np.sqrt(2 / 500) - 1) < 5 / np.sqrt(2 * new.numel())


def test_a_larger_polynomial_is_the_smaller_one_where_new_inputs_are_zero():
    """Inputs (a, b | new | c), and more products, outputs as before."""
    torch.manual_seed(0)
    small = PolynomialMLP([3, 7, 2], 2).double()
    large = PolynomialMLP([5, 7, 2], 4).double()
    with torch.no_grad():
        for p in small.parameters():
            p.normal_()
    grow_from(large, small, [(2, 2)])
    x = torch.randn(11, 3, dtype=torch.float64)
    wide = torch.cat([x[:, :2], torch.zeros(11, 2), x[:, 2:]], 1)
    with torch.no_grad():
        # new products act through columns of `output` that start at zero and stay there
        assert_close(large(wide), small(x), rtol=1e-12, atol=1e-12)  # rounding


def test_a_network_that_is_new_is_drawn_anew():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 5), nn.SiLU(), nn.Linear(5, 2))
    before = [p.detach().clone() for p in net.parameters()]
    grow_from(net, None)
    changed = [not torch.equal(p, q) for p, q in zip(net.parameters(), before, strict=True)]
    assert changed == [True, False, True, False]  # biases are as they were
