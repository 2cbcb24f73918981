"""Pictures of the latent paths, of the two scales and of the kernel between them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from named_fields import HORIZON, SCALE, TIMES, draw, image, line, named_data, untrained_fit
from problems import tiny_pair

from pyro_msde import Fit, Grid, plots
from pyro_msde.experts import product_mean
from pyro_msde.grid import gaussian_kernel
from pyro_msde.guides import AmortizedGP
from pyro_msde.networks import SmoothingKernel
from pyro_msde.parts import Part
from pyro_msde.plots.style import CYCLE, DASHES
from pyro_msde.priors import bayesian
from pyro_msde.scaling import Scaling


def test_latent_paths_draw_means_and_central_ninety_percent(case):
    _, truth, fc = case
    axes = plots.latent_paths(fc, 1, data=truth, num_states=3)
    z = fc.latent[:, 1].numpy()
    drawn = {x.get_label(): np.asarray(x.get_ydata()) for x in axes[0].lines}
    assert list(drawn) == ["s = 3 km", "s = 4.2 km", "s = 6.6 km"]  # coarse points 0, 1, 3 of five
    for state, values in zip((0, 1, 3), drawn.values(), strict=True):
        assert np.array_equal(values, z[..., state].mean(0))
    assert [x.get_label() for x in axes[1].lines] == [r"$\eta_{1}$", r"$\eta_{2}$"]
    assert np.array_equal(axes[1].lines[1].get_ydata(), z[..., 6].mean(0))
    band = axes[1].collections[1].get_paths()[0].vertices[:, 1]
    low, high = np.quantile(z[..., 6], [0.05, 0.95], axis=0)
    assert np.allclose([band.min(), band.max()], [low.min(), high.max()], rtol=1e-5, atol=0)
    assert (axes[0].get_ylabel(), axes[1].get_ylabel()) == ("ζ (m)", "η")
    assert axes[1].get_xlabel() == "t (day)"
    draw(axes)


def test_latent_paths_of_a_closure_have_one_panel():
    fit, truth = untrained_fit(0), named_data(1)
    fc = fit.predict(truth.values[0][0], TIMES, num_samples=2)
    axes = plots.latent_paths(fc)
    assert len(axes) == 1
    assert [x.get_label() for x in axes[0].lines][:2] == ["x = 0", "x = 0.2"]


def test_states_are_told_apart_without_colour():
    assert len(set(DASHES)) == len(set(CYCLE)) == len(CYCLE) == len(DASHES)


def test_kernel_is_drawn_at_its_lags(case):
    fit, truth, _ = case
    ax = plots.smoothing_kernel(fit, data=truth)
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
    ax = plots.smoothing_kernel(fit)
    assert len(ax.collections) == 1


def test_kernel_of_two_axes_is_an_image():
    grid = Grid((6, 20), (3, 4))
    kernel = Part(SmoothingKernel(gaussian_kernel(grid, 1)))
    fit = SimpleNamespace(
        model=SimpleNamespace(grid=grid, kernel=kernel), guide=SimpleNamespace(read_theta=dict)
    )
    ax = plots.smoothing_kernel(fit)
    assert np.array_equal(image(ax), kernel.net.weight[0].detach().T)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("lag in x", "lag in y")
    draw(ax)


def test_scales_add_up_to_the_mean_of_the_field(case):
    fit, truth, _ = case
    y = truth.values[0][3]
    axes = plots.scale_separation(fit, y, data=truth)
    model, scaled = fit.model, torch.as_tensor(y)[None] / SCALE
    with torch.no_grad():
        theta = model.read_parameters({})
        z, _ = fit.guide.encode(scaled, {})
        macro, detail = model.expert_means(theta, z)
        mean = SCALE * product_mean(macro, detail, theta.var_zeta, theta.var_eta)[0]
        weighted = SCALE * theta.var_zeta / (theta.var_zeta + theta.var_eta) * detail
    near = {"rtol": 1e-5, "atol": 1e-6}  # float32's rounding
    assert np.array_equal(line(axes[0], "$y$"), y)
    assert np.allclose(line(axes[0], r"$T_p\zeta$"), SCALE * macro[0], **near)
    assert np.allclose(line(axes[0], "sum"), mean, **near)
    assert np.allclose(line(axes[1], r"$\Sigma_y S_\eta D(\eta)$"), weighted[0], **near)
    assert np.allclose(line(axes[1], r"$y - T_p\zeta$"), y - SCALE * macro[0].numpy(), **near)
    assert (axes[1].get_xlabel(), axes[1].get_ylabel()) == ("s (km)", "h (m)")
    draw(axes)


def test_scales_are_separated_for_one_field_at_a_time(case):
    fit, truth, _ = case
    with pytest.raises(ValueError, match="y: 7 fields"):
        plots.scale_separation(fit, truth.values[0])


def test_a_closure_leaves_the_rest_unexplained():
    fit, truth = untrained_fit(0), named_data(1)
    axes = plots.scale_separation(fit, truth.values[0][0])
    assert [x.get_label() for x in axes[1].lines] == [r"$y - T_p\zeta$"]
    assert np.array_equal(line(axes[0], "sum"), line(axes[0], r"$T_p\zeta$"))
