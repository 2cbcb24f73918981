"""All groups as files and back, as ArviZ 0.x and as ArviZ 1.x hold them."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pyro.distributions as dist
import pytest
import xarray as xr
from arviz_groups import dataset, names_of, since_1
from named_fields import HORIZON, SCALE, named_data
from problems import tiny_data, tiny_model

from pyro_msde import Fit, History
from pyro_msde.data import Scaling
from pyro_msde.guides import AmortizedGP
from pyro_msde.io.arviz import to_arviz
from pyro_msde.priors import bayesian
from pyro_msde.runs import TrainingRecord

GROUPS = [
    "posterior",
    "posterior_predictive",
    "predictions",
    "log_likelihood",
    "log_prior",
    "sample_stats",
    "prior",
    "prior_predictive",
    "observed_data",
    "constant_data",
    "predictions_constant_data",
    "training",
]
OPTIONS = {"num_samples": 4, "seed": 7, "times": 3, "prior": 2, "weights": True, "num_theta": 4}


def bayesian_fit():
    model = tiny_model(2)
    bayesian(model.diffusion, dist.LogNormal(-2.0, 0.5))
    history = History([50, 100], {"elbo": [1.0, 2.0]}, [100], [0.3])
    record = TrainingRecord(history)
    return Fit(model, AmortizedGP(model), Scaling((SCALE,), HORIZON), training=record)


@pytest.fixture(scope="module", params=["common times", "times of their own"])
def case(request):
    if request.param == "common times":
        test, horizon = named_data(2, 4.0 + 0.25 * np.arange(11)), 7.0
    else:
        test, horizon = tiny_data((7, 11), irregular=True), 1.0
    fit, options = bayesian_fit(), {**OPTIONS, "horizon": horizon}
    return fit, test, options, to_arviz(fit, test, **options)


def test_it_comes_back_from_the_file_that_arviz_reads(case, tmp_path):
    import arviz

    written = case[-1]
    assert names_of(written) == GROUPS
    path = str(tmp_path / "forecast.nc")
    written.to_netcdf(path)
    back = arviz.from_netcdf(path)
    assert names_of(back) == GROUPS
    for group in GROUPS:
        xr.testing.assert_identical(dataset(back, group).load(), dataset(written, group))


def as_arviz_1(name):
    """It warns of the old name and gives the new class."""
    if name == "InferenceData":
        return xr.DataTree
    raise AttributeError(name)


@pytest.mark.parametrize("case", ["times of their own"], indirect=True)
def test_a_datatree_for_arviz_1_comes_back_from_its_file(case, monkeypatch, tmp_path):
    fit, test, options, known = case
    fake = ModuleType("arviz")
    fake.__version__, fake.__getattr__ = "1.0.0", as_arviz_1
    monkeypatch.setitem(sys.modules, "arviz", fake)
    tree = to_arviz(fit, test, **options)
    assert isinstance(tree, xr.DataTree)
    assert list(tree.children) == GROUPS
    for group in GROUPS:
        xr.testing.assert_identical(dataset(tree, group), dataset(known, group))
    tree.to_netcdf(tmp_path / "tree.nc")
    with xr.open_datatree(tmp_path / "tree.nc") as back:
        xr.testing.assert_identical(back.load(), tree)


def test_what_arviz_draws_from_has_chains_and_draws(case):
    for group in (*GROUPS[:1], *GROUPS[3:8]):
        for name, values in dataset(case[-1], group).data_vars.items():
            assert values.dims[:2] == ("chain", "draw"), (group, name)


@pytest.mark.filterwarnings("ignore:Number of tail draws")  # ArviZ 1, of our four draws
def test_arviz_scales_the_prior_with_it(case):
    import arviz

    names = ["diffusion_sd_zeta", "diffusion_sd_eta"]
    if since_1(arviz):
        found = arviz.psense(case[-1], group="prior", var_names=names)
    else:
        found = arviz.psens(case[-1], component="prior", var_names=names)
    assert all(np.isfinite(found[name]).all() for name in names)
