"""The whole road, fit to scores, in both dtypes and on every device there is."""

import numpy as np
import pytest
import torch
from problems import tiny_data, tiny_model, tiny_pair
from pyro.distributions import LogNormal, StudentT
from pyro.infer.autoguide import AutoDelta, AutoLowRankMultivariateNormal, AutoNormal
from torch.testing import assert_close

import pyro_msde
from pyro_msde.guides import AmortizedGP, UnamortizedGP
from pyro_msde.priors import Horseshoe, bayesian, fan_in_normal


def test_fit_and_predict_keep_dtype_and_device(dtype, device):
    data = tiny_data()
    model, guide = tiny_pair(n_eta=2)
    fit = pyro_msde.fit(
        model, guide, data, steps=3, dtype=dtype, device=device, progress=False, length=4, stride=1
    )
    for tensor in (*model.state_dict().values(), *guide.state_dict().values()):
        assert tensor.dtype == dtype
        assert tensor.device.type == torch.device(device).type
    fc = fit.predict(data.values[0][0], data.times[0], num_samples=5)
    assert fc.sd.dtype == dtype
    assert fc.mean.dtype == torch.float64  # has the reference added
    assert fc.mean.device.type == "cpu"
    score = pyro_msde.nrmse(fc, data.values[0])
    assert np.isfinite(score)
    assert 0 <= pyro_msde.coverage(fc, data.values[0]) <= 1


def everything(model, prior):
    """A prior on every part, of a kind that fits."""
    bayesian(model.drift, prior)
    bayesian(model.kernel, fan_in_normal(1.0))
    for part in (model.diffusion, model.var_zeta, model.var_eta):
        bayesian(part, LogNormal(-3.0, 1.0))


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("prior", "theta"),
    [
        (fan_in_normal(1.0), AutoDelta),
        (fan_in_normal(1.0), AutoNormal),
        (StudentT(4.0), AutoLowRankMultivariateNormal),
        (Horseshoe(), AutoNormal),
    ],
)
def test_priors_of_every_kind_train_and_forecast_there(prior, theta, cuda):
    data, model = tiny_data(), tiny_model(2)
    everything(model, prior)
    fit = pyro_msde.fit(
        model,
        AmortizedGP(model, theta=theta),
        data,
        steps=3,
        device=cuda,
        progress=False,
        length=4,
        stride=1,
    )
    fc = fit.predict(data.values[0][0], data.times[0], num_samples=6, num_theta=3)
    assert np.isfinite(pyro_msde.nrmse(fc, data.values[0]))
    assert (fc.parameter_var.max() > 0) == (theta is not AutoDelta)
    # sites that the guide does not know are drawn from their priors, there as well
    assert next(iter(model.bind().drift.values.values())).device.type == cuda.type


@pytest.mark.gpu
@pytest.mark.parametrize(
    "options",
    [{"covariance": "full"}, {"covariance": "block"}, {"heteroscedastic": True}, {}],
    ids=["full", "block", "heteroscedastic", "unamortized"],
)
def test_paths_of_every_kind_train_and_forecast_there(options, cuda):
    data, model = tiny_data(), tiny_model(2)
    guide = AmortizedGP(model, **options) if options else UnamortizedGP(model, data)
    fit = pyro_msde.fit(
        model,
        guide,
        data,
        steps=3,
        device=cuda,
        dtype=torch.float64,
        progress=False,
        length=4,
        stride=1,
    )
    fit = fit.calibrated(tiny_data((19, 19)))
    asked = data.values[0][0], data.times[0]
    assert fit.predict(*asked, num_samples=8).parameter_var.max() > 0  # the jackknife's
    groups = fit.to_arviz(tiny_data((11, 11)), num_samples=8)
    if options:  # free marginals say nothing of other snapshots
        assert np.isfinite(groups["sample_stats"]["elbo"]).all()
    # random numbers differ between devices; without noise the mathematics does not
    with torch.no_grad():
        for variance in (fit.model.diffusion.net, fit.guide.node_variance):
            variance.log_value.fill_(-60.0)
            variance.floor = 0.0
    fit = fit.without("jackknife")
    there = fit.predict(*asked, num_samples=2).mean
    fit.model.cpu(), fit.guide.cpu()
    assert_close(there, fit.predict(*asked, num_samples=2).mean, rtol=1e-6, atol=1e-6)
