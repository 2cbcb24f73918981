"""Sensitivities of drifts whose derivatives are known, in the user's units."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from named_fields import HORIZON, SCALE, draw, image, plane_data, plane_fit, untrained_fit

from pyro_msde import plot
from pyro_msde.grid import Grid
from pyro_msde.networks import MLP, PolynomialMLP
from pyro_msde.plot.sensitivity import reference_derivative


def linear(coefficients: torch.Tensor, inputs: int) -> PolynomialMLP:
    """A drift (output, inputs) with these coefficients and nothing else, in scaled units."""
    outputs = len(coefficients)
    net = PolynomialMLP([inputs, 7, outputs], 3, reluctant=True)
    m = coefficients.shape[1]
    net.set_polynomial(coefficients, torch.zeros(outputs, m, m))
    return net


def test_a_linear_drift_shows_its_coefficients_in_the_users_units(case):
    _, truth, _ = case
    fit = untrained_fit()
    wanted = torch.tensor([[0.7, -1.9, 0.4]])  # per day
    fit.model.drift.net.macro = linear(HORIZON * wanted, 5)  # scaled time is in horizons
    axes = plot.drift_sensitivity(fit, truth.values[0], data=truth)
    (bars,) = axes[0, 0].containers
    points, _, (spread,) = bars
    assert np.array_equal(points.get_xdata(), [-1, 0, 1])
    assert np.allclose(points.get_ydata(), wanted[0], rtol=1e-6, atol=0)  # float32's rounding
    heights = [np.ptp(segment[:, 1]) for segment in spread.get_segments()]
    assert np.allclose(heights, 0, atol=1e-5)
    assert axes[0, 0].get_ylabel() == r"$\partial f/\partial\zeta$ (1/day)"
    assert axes[0, 0].get_xlabel() == "offset of the stencil point (coarse points)"
    draw(axes)


def test_a_plane_shows_one_channel_by_another():
    # d(second)/dt by the first: 9 places of the stencil, rows along a, columns along b
    wanted = torch.arange(9.0).reshape(3, 3) - 3
    coefficients = torch.zeros(2, 18)
    coefficients[1, :9] = wanted.flatten() * HORIZON * SCALE / 0.4  # scales of first and second
    fit, truth = plane_fit(linear(coefficients, 20)), plane_data()
    axes = plot.drift_sensitivity(fit, truth.values[0], data=truth, channel=1, source=0)
    assert axes.shape == (2, 1)
    assert np.allclose(image(axes[0, 0]), wanted.T, rtol=1e-5, atol=1e-5)  # float32's rounding
    assert np.allclose(image(axes[1, 0]), 0, atol=1e-5)
    low, high = axes[0, 0].images[0].get_clim()
    assert low == -high  # white is zero
    assert (axes[1, 0].get_xlabel(), axes[1, 0].get_ylabel()) == ("Δa (points)", "Δb (points)")
    draw(axes)
    itself = plot.drift_sensitivity(fit, truth.values[0], channel=1)
    assert np.allclose(image(itself[0, 0]), 0, atol=1e-5)


def test_the_reference_is_drawn_beside(case):
    fit, truth, _ = case
    dx = 1.2

    def advection(u):
        return -u * (np.roll(u, -1, -1) - np.roll(u, 1, -1)) / (2 * dx)

    axes = plot.drift_sensitivity(fit, truth.values[0], data=truth, reference=advection)
    learned, reference = axes[0, 0].containers
    # u_{j+1}'s coefficient is −u_j/2Δx: the mean over points of a field without mean is near zero
    assert learned.get_label() == "learned"
    assert reference.get_label() == "reference"
    left, _, right = reference[0].get_ydata()
    assert left == pytest.approx(-right, rel=1e-6)
    _, given = plt.subplots(2, 2)
    plane, data = plane_fit(), plane_data()
    drawn = plot.drift_sensitivity(plane, data.values[0], reference=lambda z: 2 * z, axes=given)
    assert (drawn == given).all()
    assert np.allclose(image(drawn[0, 1]), 2 * np.outer([0, 1, 0], [0, 1, 0]), atol=1e-8)


def test_the_reference_derivative_is_that_of_the_formula():
    grid, dx = Grid(42, 7), 0.3
    u = np.random.default_rng(5).normal(size=(4, 1, 7))

    def kdv(v):  # −u u_x − ν u_xxx, as the paper differences it
        u_x = (np.roll(v, -1, -1) - np.roll(v, 1, -1)) / (2 * dx)
        third = np.roll(v, -2, -1) - 3 * np.roll(v, -1, -1) + 3 * v - np.roll(v, 1, -1)
        return -v * u_x - 0.02 * third / dx**3

    found = reference_derivative(kdv, torch.as_tensor(u), grid, half_width=2)
    c, u_x = 0.02 / dx**3, (np.roll(u, -1, -1) - np.roll(u, 1, -1)) / (2 * dx)
    mean = [0, u.mean() / (2 * dx) + c, -u_x.mean() - 3 * c, -u.mean() / (2 * dx) + 3 * c, -c]
    # central differences of a quadratic err by rounding alone, 1e-16/1e-4
    assert np.allclose(found.mean, mean, rtol=0, atol=1e-10)
    sd = [0, u.std() / (2 * dx), u_x.std(), u.std() / (2 * dx), 0]
    assert np.allclose(found.sd, sd, rtol=0, atol=1e-9)


def test_places_beyond_a_wall_are_left_out():
    grid = Grid((12, 15), (4, 5), boundary=("dirichlet", "neumann"))
    u = np.random.default_rng(7).normal(size=(3, 1, 4, 5))
    rate = np.arange(1.0, 4)[:, None] * np.arange(1.0, 4)  # by place in the stencil

    def drift(v):  # zero beyond the first axis's walls, mirrored at the second's
        ghosts = np.pad(np.pad(v, [(0, 0), (1, 1), (0, 0)]), [(0, 0), (0, 0), (1, 1)], "edge")
        return sum(rate[i, j] * ghosts[:, i : i + 4, j : j + 5] for i in range(3) for j in range(3))

    found = reference_derivative(drift, torch.as_tensor(u), grid, half_width=1)
    assert np.allclose(found.mean, rate, rtol=0, atol=1e-9)  # rounding over the step
    assert np.allclose(found.sd, 0, rtol=0, atol=1e-9)


def test_places_beyond_a_wall_are_those_of_the_channel_that_is_changed():
    grid = Grid(12, 4, channels=2, boundary={0: "dirichlet", 1: "antisymmetric"})
    u = np.random.default_rng(7).normal(size=(3, 2, 4))

    def drift(v):  # of both channels by the second, odd beyond its walls
        ghosts = np.concatenate([-v[:, 1, :1], v[:, 1], -v[:, 1, -1:]], -1)
        rate = ghosts[:, :-2] + 2 * ghosts[:, 1:-1] + 3 * ghosts[:, 2:]
        return np.stack([rate, rate], 1)

    for channel in (0, 1):
        found = reference_derivative(
            drift,
            torch.as_tensor(u),
            grid,
            channel=channel,
            source=1,
            half_width=1,
            has_channel=True,
        )
        assert np.allclose(found.mean, [1, 2, 3], rtol=0, atol=1e-9)
        assert np.allclose(found.sd, 0, rtol=0, atol=1e-9)


def test_wrong_input_is_refused(case):
    fit, truth, _ = case
    y = truth.values[0]
    with pytest.raises(ValueError, match="source: 1, but fields have 1"):
        plot.drift_sensitivity(fit, y, source=1)
    with pytest.raises(ValueError, match="half_width: a stencil of ±3 points"):
        plot.drift_sensitivity(fit, y, half_width=3)  # 7 places, 5 points
    with pytest.raises(ValueError, match=r"reference: gave shape \(7,\)"):
        plot.drift_sensitivity(fit, y, reference=lambda u: u.mean(-1))
    with pytest.raises(ValueError, match="axes: 4 given, but the picture has 1 panels"):
        plot.drift_sensitivity(fit, y, axes=np.array([None] * 4))


def test_a_coupling_does_not_hide_what_the_stencil_does():
    """It adds to the drift what microscale states do, at each point another thing."""
    wanted = torch.arange(9.0).reshape(3, 3) - 3
    coefficients = torch.zeros(2, 18)
    coefficients[0, :9] = wanted.flatten() * HORIZON
    fit, truth = plane_fit(linear(coefficients, 20)), plane_data()
    drift = fit.model.drift.net
    drift.places, drift.coupling = torch.rand(drift.grid.num_coarse, 2), MLP([2 + 2, 7, 2])
    axes = plot.drift_sensitivity(fit, truth.values[0], data=truth)
    assert np.allclose(image(axes[0, 0]), wanted.T, rtol=1e-5, atol=1e-5)  # float32's rounding
