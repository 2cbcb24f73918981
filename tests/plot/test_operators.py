"""Pictures of the kernel, and of smoothing, restriction and prolongation."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyro.distributions as dist
import pytest
import scipy.ndimage
from named_fields import HORIZON, X, draw, image, line
from problems import tiny_pair

from pyro_msde import Fit, Grid, plot
from pyro_msde.data import Scaling
from pyro_msde.grid import gaussian_kernel
from pyro_msde.guides import AmortizedGP
from pyro_msde.networks import SmoothingKernel
from pyro_msde.priors import Part, bayesian


def test_kernel_is_drawn_at_its_lags(case):
    fit, truth, _ = case
    ax = plot.smoothing_kernel(fit, data=truth)
    assert np.array_equal(ax.lines[0].get_ydata(), fit.model.kernel.net.weight[0].detach())
    lags = 0.2 * np.arange(-6, 7)  # radius 1, six points a stride
    assert np.allclose(ax.lines[0].get_xdata(), lags, rtol=0, atol=1e-12)
    assert np.allclose(line(ax, "coarse spacing"), [0, 1])  # over the whole height
    assert ax.get_xlabel() == "lag in s (km)"
    draw(ax)


def test_kernel_with_a_posterior_has_a_band():
    model, _ = tiny_pair()
    bayesian(model.kernel, dist.Normal(0.0, 1.0))
    fit = Fit(model, AmortizedGP(model), Scaling((1.0,), HORIZON))
    ax = plot.smoothing_kernel(fit)
    assert len(ax.collections) == 1


def test_kernel_of_two_axes_is_an_image():
    grid = Grid((6, 20), (3, 4))
    kernel = Part(SmoothingKernel(gaussian_kernel(grid, 1)))
    fit = SimpleNamespace(
        model=SimpleNamespace(grid=grid, kernel=kernel),
        guide=SimpleNamespace(read_theta=dict),
        metadata=None,
    )
    ax = plot.smoothing_kernel(fit)
    assert np.array_equal(image(ax), kernel.net.weight[0].detach().T)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("lag in x", "lag in y")
    draw(ax)


def test_kernel_is_drawn_against_its_start(case, plane):
    fit, truth, _ = case
    start = 0.5 * gaussian_kernel(fit.model.grid, 1)
    ax = plot.smoothing_kernel(fit, start=start, data=truth)
    assert np.array_equal(line(ax, "start"), start[0])
    assert np.array_equal(line(ax, "learned"), fit.model.kernel.net.weight[0].detach())
    fit, truth, _ = plane
    ax = plot.smoothing_kernel(fit, start=gaussian_kernel(fit.model.grid, 1), data=truth)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("lag in a (km)", "lag in b (km)")
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["learned", "start"]
    draw(ax)
    with pytest.raises(ValueError, match=r"start: shape \(1, 5\), but κ has \(2, 7, 13\)"):
        plot.smoothing_kernel(fit, start=np.ones((1, 5)))
    with pytest.raises(ValueError, match="channel: 2, but fields have 2"):
        plot.smoothing_kernel(fit, channel=2)


def test_operators_of_one_axis_are_lines_and_points(case):
    fit, truth, _ = case
    y = truth.values[1][2].astype(np.float64)
    axes = plot.scale_operators(fit, truth.values[1][2], data=truth)
    kernel = fit.model.kernel.net.weight[0].detach().numpy().astype(np.float64)
    smoothed = np.array(
        [sum(kernel[k] * y[(i + k - 6) % 30] for k in range(13)) for i in range(30)]
    )
    back = np.zeros(30)
    for j in range(5):  # T_p = σ T_rᵀ
        for k in range(13):
            back[(6 * j + k - 6) % 30] += 6 * kernel[k] * smoothed[6 * j]
    near = {"rtol": 1e-5, "atol": 1e-6}  # float32's rounding
    ax = axes[0, 0]
    assert axes.shape == (1, 1)
    assert np.array_equal(line(ax, "$y$"), truth.values[1][2])
    assert np.allclose(line(ax, "$S y$"), smoothed, **near)
    assert np.allclose(line(ax, "$T_r y$"), smoothed[::6], **near)
    assert np.allclose(line(ax, "$T_p T_r y$"), back, **near)
    points = next(x for x in ax.lines if x.get_label() == "$T_r y$")
    assert np.array_equal(points.get_xdata(), X[::6])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("s (km)", "h (m)")
    draw(ax)


def test_operators_of_two_axes_are_images_on_one_scale(plane):
    fit, truth, _ = plane
    y = truth.values[0][1]
    axes = plot.scale_operators(fit, y, data=truth, channel=1)
    # the kernel is a product; Neumann is the half-sample mirror, Dirichlet zero
    profiles = [np.exp(-0.5 * (np.arange(-r, r + 1) / r) ** 2) for r in (3, 6)]
    smoothed = y[1].astype(np.float64)
    for axis, (profile, mode) in enumerate(zip(profiles, ("reflect", "constant"), strict=True)):
        weights = profile / profile.sum()
        smoothed = scipy.ndimage.correlate1d(smoothed, weights, axis=axis, mode=mode)
    near = {"rtol": 1e-4, "atol": 1e-5}  # float32's rounding
    assert np.array_equal(image(axes[0, 0]), y[1].T)
    assert np.allclose(image(axes[0, 1]), smoothed.T, **near)
    assert np.allclose(image(axes[1, 0]), smoothed[1::3, 3::6].T, **near)
    assert image(axes[1, 1]).shape == (18, 12)
    assert len({ax.images[0].get_clim() for ax in axes.flat}) == 1
    assert [ax.get_title() for ax in axes.flat] == ["$y$", "$S y$", "$T_r y$", "$T_p T_r y$"]
    assert (axes[1, 0].get_xlabel(), axes[1, 0].get_ylabel()) == ("a (km)", "b (km)")
    draw(axes)


def test_operators_are_shown_on_one_field_at_a_time(case):
    fit, truth, _ = case
    with pytest.raises(ValueError, match="y: 7 fields"):
        plot.scale_operators(fit, truth.values[0])
    with pytest.raises(ValueError, match="axes: 2 given, but the picture has 1 panels"):
        plot.scale_operators(fit, truth.values[0][0], axes=np.array([None, None]))
