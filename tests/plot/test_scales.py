"""Pictures of what each scale contributes to a field."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from named_fields import SCALE, TIMES, draw, image, line, named_data, untrained_fit

from pyro_msde import Trajectories, fit, plot
from pyro_msde.guides import AmortizedGP
from pyro_msde.likelihoods import product_mean
from pyro_msde.models import Multiscale, multiscale


def test_a_model_without_two_experts_has_no_scales_to_plot(monkeypatch):
    fit = untrained_fit()
    monkeypatch.setattr(fit.model, "bind", lambda sites: SimpleNamespace(operators=operators))
    operators = Multiscale.bind(fit.model).operators
    with pytest.raises(ValueError, match="fit: a Multiscale has no two scales"):
        plot.scale_separation(fit, named_data().values[0][0])


def test_scales_add_up_to_the_mean_of_the_field(case):
    fit, truth, _ = case
    y = truth.values[0][3]
    axes = plot.scale_separation(fit, y, data=truth)
    model, scaled = fit.model, torch.as_tensor(y)[None] / SCALE
    with torch.no_grad():
        theta = model.bind({})
        z, _ = fit.guide.encode(scaled, theta)
        macro, detail = theta.experts(z)
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
        plot.scale_separation(fit, truth.values[0])


def test_a_closure_leaves_the_rest_unexplained():
    fit, truth = untrained_fit(0), named_data(1)
    axes = plot.scale_separation(fit, truth.values[0][0])
    assert [x.get_label() for x in axes[1].lines] == [r"$y - T_p\zeta$"]
    assert np.array_equal(line(axes[0], "sum"), line(axes[0], r"$T_p\zeta$"))


def test_images_over_time_add_up_to_the_field(case):
    fit, truth, _ = case
    y = truth.values[0]
    axes = plot.scale_images(fit, y, TIMES, data=truth)
    assert axes.shape == (4, 1)
    whole, macro, micro, rest = (image(ax) for ax in axes[:, 0])
    assert np.array_equal(whole, y.T)
    # three roundings in float32 of numbers below 4
    assert np.allclose(macro + micro + rest, y.T, rtol=0, atol=4e-6)
    lines = plot.scale_separation(fit, y[3], data=truth)
    assert np.allclose(macro[:, 3], line(lines[0], r"$T_p\zeta$"), rtol=1e-5, atol=1e-6)
    assert np.allclose(
        micro[:, 3], line(lines[1], r"$\Sigma_y S_\eta D(\eta)$"), rtol=1e-4, atol=1e-6
    )
    for ax in axes[2:, 0]:
        low, high = ax.images[0].get_clim()
        assert low == -high  # white is zero
    assert axes[3, 0].get_xlabel() == "t (day)"
    assert axes[0, 0].get_ylabel() == "s (km)"
    bars = [ax.get_ylabel() for ax in axes[0, 0].figure.axes if ax not in axes.ravel()]
    assert bars == ["$y$ (m)", r"$T_p\zeta$ (m)", r"$\Sigma_y S_\eta D(\eta)$ (m)", "rest (m)"]
    draw(axes)


def test_images_of_two_axes_have_a_column_for_each_time(plane):
    fit, truth, _ = plane
    y, times = truth.values[0][[0, 2, 4]], truth.times[0][[0, 2, 4]]
    axes = plot.scale_images(fit, y, times, data=truth, channel=1)
    assert axes.shape == (4, 3)
    for column, field in zip(axes.T, y[:, 1], strict=True):
        whole, macro, micro, rest = (image(ax) for ax in column)
        assert np.array_equal(whole, field.T)
        assert np.allclose(macro + micro + rest, field.T, rtol=0, atol=4e-6)
    assert [ax.get_title() for ax in axes[0]] == ["t = 4 day", "t = 4.3 day", "t = 4.6 day"]
    assert axes[3, 1].get_xlabel() == "a (km)"
    assert axes[1, 0].get_ylabel() == "b (km)"
    draw(axes)


def test_images_of_a_closure_have_no_microscale():
    fit, truth = untrained_fit(0), named_data(1)
    axes = plot.scale_images(fit, truth.values[0], TIMES)
    assert axes.shape == (3, 1)
    whole, macro, rest = (image(ax) for ax in axes[:, 0])
    assert np.allclose(rest, whole - macro, rtol=0, atol=4e-6)


def test_images_want_a_time_for_each_field(case):
    fit, truth, _ = case
    with pytest.raises(ValueError, match=r"times: shape \(3,\) for 7 fields"):
        plot.scale_images(fit, truth.values[0], TIMES[:3])
    with pytest.raises(ValueError, match="axes: 1 given, but the picture has 4 panels"):
        plot.scale_images(fit, truth.values[0], TIMES, axes=np.array([None]))


def test_models_with_parameters_are_told_them():
    rng = np.random.default_rng(0)
    values = rng.standard_normal((2, 9, 30)).astype(np.float32)
    data = Trajectories(0.1 * np.arange(9), values, covariates=[1.0, 2.0])
    model = multiscale(30, 5, n_eta=2, num_covariates=1, components=4, width=7)
    trained = fit(model, AmortizedGP(model), data, steps=1, length=5, stride=1, progress=False)
    y = values[0, 0]
    for picture in (plot.scale_separation, plot.scale_operators, plot.power_spectra):
        picture(trained, y, covariates=[1.0])
        with pytest.raises(ValueError, match="covariates: the model takes 1"):
            picture(trained, y)
