"""Gradients shortened to a multiple of their usual length."""

from __future__ import annotations

import pytest
import torch

from pyro_msde.inference.optimiser import GradientClipping


def test_an_outlying_gradient_is_shortened_to_a_multiple_of_the_usual_one():
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.zeros(n)) for n in (3, 5, 2)]
    directions = [torch.randn_like(p) for p in parameters[:2]]  # the last has no gradient
    total = torch.cat(directions).norm()
    clip = GradientClipping(3.0)

    def length_after(length):
        for p, d in zip(parameters, directions, strict=False):
            p.grad = d * (length / total)
        clip(parameters)
        gradients = [p.grad for p in parameters[:2]]
        for g, d in zip(gradients, directions, strict=True):
            torch.testing.assert_close(g * d.norm(), d * g.norm())  # its direction is kept
        return float(torch.cat(gradients).norm())

    assert length_after(2.0) == pytest.approx(2.0)  # the first is the usual one
    assert length_after(5.0) == pytest.approx(5.0)  # no outlier
    usual = 2.0 + 0.02 * (5.0 - 2.0)
    assert length_after(1000.0) == pytest.approx(3 * usual)
    usual += 0.02 * (3 * usual - usual)  # the outlier itself hardly counts
    assert float(clip.usual) == pytest.approx(usual)
    assert length_after(0.0) == 0.0
    assert parameters[2].grad is None
