"""All groups as files and back, as ArviZ 0.x and as ArviZ 1.x hold them."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pyro.distributions as dist
import pytest
import xarray as xr
from named_fields import HORIZON, SCALE, named_data
from problems import tiny_data, tiny_model

from pyro_msde import Fit, History
from pyro_msde.arviz_io import to_arviz
from pyro_msde.guides import AmortizedGP
from pyro_msde.priors import bayesian
from pyro_msde.scaling import Scaling

GROUPS = [
    "posterior", "posterior_predictive", "predictions", "log_likelihood", "log_prior",
    "sample_stats", "prior", "prior_predictive", "observed_data", "constant_data",
    "predictions_constant_data", "training",
]  # fmt: skip
OPTIONS = {"num_samples": 4, "seed": 7, "times": 3, "prior": 2, "weights": True, "num_theta": 4}


def bayesian_fit():
    model = tiny_model(2)
    bayesian(model.diffusion, dist.LogNormal(-2.0, 0.5))
    history = History([50, 100], {"elbo": [1.0, 2.0]}, [100], [0.3])
    return Fit(model, AmortizedGP(model), Scaling((SCALE,), HORIZON), history)


@pytest.fixture(scope="module", params=["common times", "times of their own"])
def case(request):
    if request.param == "common times":
        test, horizon = named_data(2, 4.0 + 0.25 * np.arange(11)), 7.0
    else:
        test, horizon = tiny_data((7, 11), irregular=True), 1.0
    fit, options = bayesian_fit(), {**OPTIONS, "horizon": horizon}
    return fit, test, options, to_arviz(fit, test, **options)


def test_inference_data_comes_back_from_its_file(case, tmp_path):
    import arviz

    idata = case[-1]
    assert idata.groups() == GROUPS
    path = str(tmp_path / "forecast.nc")
    idata.to_netcdf(path)
    back = arviz.from_netcdf(path)
    assert back.groups() == idata.groups()
    for group in idata.groups():
        xr.testing.assert_identical(back[group].load(), idata[group])


def test_a_datatree_where_arviz_has_no_inference_data_comes_back_from_its_file(
    case, monkeypatch, tmp_path
):
    fit, test, options, idata = case
    monkeypatch.setitem(sys.modules, "arviz", SimpleNamespace(__version__="1.0"))
    tree = to_arviz(fit, test, **options)
    assert isinstance(tree, xr.DataTree)
    assert list(tree.children) == GROUPS
    for group in GROUPS:
        xr.testing.assert_identical(tree[group].to_dataset(), idata[group])
    tree.to_netcdf(tmp_path / "tree.nc")
    with xr.open_datatree(tmp_path / "tree.nc") as back:
        xr.testing.assert_identical(back.load(), tree)


def test_what_arviz_draws_from_has_chains_and_draws(case):
    idata = case[-1]
    for group in (*GROUPS[:1], *GROUPS[3:8]):
        for name, values in idata[group].data_vars.items():
            assert values.dims[:2] == ("chain", "draw"), (group, name)


def test_arviz_scales_the_prior_with_it(case):
    import arviz

    names = ["diffusion_sd_zeta", "diffusion_sd_eta"]
    found = arviz.psens(case[-1], component="prior", var_names=names)
    assert all(np.isfinite(found[name]).all() for name in names)
