"""Logarithms of fields: moments against quadrature, offsets, what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm
from torch.testing import assert_close

from pyro_msde.data import Cycle, Link, Log, Reference, Scaling, linked_scaling

RAIN = np.array([[[0.0, 1.0, 2.0], [4.0, 0.5, 0.0]]]).reshape(2, 1, 3)  # (time, channel, x)


def of(*offsets: float | None) -> Link:
    return Link(1, offsets)


def scaling_of(fields, given, reference="channel", times=None):
    times = [np.arange(len(f)) * 1.0 for f in fields] if times is None else times
    plain = Scaling.of(fields, 1.0, times=times)
    return linked_scaling(plain, given, fields, times, reference, (True,) * fields[0].shape[1])


def double(x):
    return torch.as_tensor(np.asarray(x, dtype=np.float64))


def test_there_and_back_by_channel():
    y = torch.rand(2, 5, 3, 7, dtype=torch.float64)
    link = of(0.3, None, 0.0)
    g = link.forward(y)
    assert_close(g[:, :, 0], (1 + y[:, :, 0] / 0.3).log(), rtol=1e-14, atol=1e-14)
    assert torch.equal(g[:, :, 1], y[:, :, 1])
    assert_close(g[:, :, 2], y[:, :, 2].log())
    assert_close(link.inverse(g), y, rtol=1e-13, atol=1e-14)  # rounding
    low = torch.full((3, 7), -2.0)
    assert link.inverse(low)[0].max() == 0  # what lies below zero is zero
    assert torch.equal(link.forward(-y)[..., 0, :], torch.full((2, 5, 7), -torch.inf).double())
    assert torch.equal(link.forward(-y)[..., 1, :], -y[..., 1, :])
    assert torch.equal(link.has_mass(0 * y)[0, 0].any(-1), torch.tensor([True, False, False]))


def test_the_slope_is_that_of_autograd():
    link = of(0.3, 0.0)
    y = torch.rand(4, 2, 5, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(link.forward(y).sum(), y)
    assert_close(link.log_slope(y), slope.log(), rtol=1e-12, atol=1e-12)
    gappy = y.detach().clone()
    gappy[0, 0, 0] = torch.nan
    seen = ~gappy.isnan()
    assert link.log_volume([gappy.numpy()]) == pytest.approx(-slope.log()[seen].sum().item())


@pytest.mark.parametrize("offset", [0.0, 0.2, 3.0])
@pytest.mark.parametrize(("mean", "sd"), [(0.0, 1.0), (-2.0, 0.5), (1.5, 0.05), (4.0, 0.7)])
def test_moments_are_those_of_quadrature(offset, mean, sd):
    def y(g):
        return np.exp(g) if offset == 0 else max(0.0, offset * np.expm1(g))

    around = [0.0, mean, mean + sd**2, mean + 2 * sd**2]

    def expected(function):
        low, high = mean - 12 * sd, mean + 12 * sd + 2 * sd**2
        inside = [p for p in around if low < p < high]
        value = quad(
            lambda g: function(y(g)) * norm.pdf(g, mean, sd), low, high, points=inside, limit=400
        )
        return value[0]

    first = expected(lambda v: v)
    second = expected(lambda v: (v - first) ** 2)
    found = of(offset).moments(double([[[mean]]]), double([[[sd**2]]]))
    np.testing.assert_allclose([x.item() for x in found], [first, second], rtol=2e-7)


def test_narrow_laws_keep_their_variance():
    """Far above zero it is y'(g)² s² to first order in s; squares would cancel to nothing."""
    g, s = torch.full((1, 1, 1), 9.0, dtype=torch.float64), 1e-7
    for offset in (0.0, 0.5):
        _, var = of(offset).moments(g, torch.tensor(s**2))
        exact = ((offset or 1.0) * np.exp(9.0) * s) ** 2
        assert var.item() == pytest.approx(exact, rel=1e-5)  # s, and rounding over s²


def test_the_offset_is_zero_or_among_the_small_values():
    positive = np.random.default_rng(0).lognormal(size=(40, 1, 25))
    assert scaling_of([positive], "log").link.offsets == (0.0,)
    with_zeros = np.where(positive < 0.3, 0.0, positive)
    (found,) = scaling_of([with_zeros], "log").link.offsets
    assert np.mean(with_zeros[with_zeros > 0] < found) == pytest.approx(0.05, abs=0.002)
    assert scaling_of([with_zeros], Log(0.25)).link.offsets == (0.25,)
    two = np.concatenate([with_zeros, -positive], 1)
    assert scaling_of([two], ["log", None]).link.offsets == (found, None)
    assert scaling_of([two], None).link is None


@pytest.mark.parametrize("reference", ["channel", "point", Cycle(7.0, 1), None, np.full((1, 3), 2)])
def test_scores_see_fields_and_models_their_anomalies_through_the_link(reference):
    rng = np.random.default_rng(1)
    times = [np.arange(30.0), np.arange(25.0)]
    fields = [rng.lognormal(size=(len(t), 1, 3)) for t in times]
    plain = Scaling.of(fields, 1.0, reference=Reference(np.full((1, 1, 3), 2.0)), times=times)
    scaling = linked_scaling(plain, "log", fields, times, reference, (True,))
    assert scaling.channels == plain.channels
    assert scaling.reference == plain.reference
    scaled = [scaling.to_scaled(torch.as_tensor(f), t) for f, t in zip(fields, times, strict=True)]
    together = torch.cat(scaled)
    assert together.square().mean() == pytest.approx(1.0, abs=1e-12)
    if isinstance(reference, str | Cycle):
        assert together.mean().abs() < 1e-12
    elif reference is not None:
        np.testing.assert_allclose(scaling.seen.reference.coefficients[0], np.log(2.0))
    gone = scaling.seen
    back = together * gone.channels[0]
    if gone.reference:
        back = back + gone.reference_at(np.concatenate(times), back)
    assert_close(scaling.link.inverse(back), double(np.concatenate(fields)))


def test_bad_links_and_fields_are_refused():
    with pytest.raises(ValueError, match="link='sqrt': choose 'log'"):
        scaling_of([RAIN], "sqrt")
    with pytest.raises(ValueError, match="a list of 1 of them"):
        scaling_of([RAIN], ["log", "log"])
    with pytest.raises(ValueError, match="offset"):
        Log(-1.0)
    low = RAIN.copy()
    low[1, 0, 2] = -0.25
    told = r"values: -0.25 at trajectory 1, index 1, point \(2,\), and 0 more; link='log' takes no"
    with pytest.raises(ValueError, match=told):
        scaling_of([RAIN, low], "log")
    with pytest.raises(ValueError, match=r"point \(0,\), and 1 more; .* takes no zeros"):
        scaling_of([RAIN], Log(0.0))
    scaling = Scaling.of([RAIN], 1.0, reference=Reference(np.full((1, 1, 1), -1.0)))
    with pytest.raises(ValueError, match="reference: -1 at"):
        linked_scaling(scaling, "log", [RAIN], [np.arange(2.0)], [-1.0], (True,))


def test_gaps_stay_gaps():
    gappy = RAIN.copy()
    gappy[0, 0, 0] = np.nan
    scaling = scaling_of([gappy], "log")
    scaled = scaling.to_scaled(torch.as_tensor(gappy), np.arange(2.0))
    assert torch.equal(scaled.isnan(), torch.as_tensor(np.isnan(gappy)))
