"""A fit is its own: later training, copies and pickles leave it as it is."""

from __future__ import annotations

import copy
import pickle
from functools import partial

import numpy as np
import pytest
import torch
from problems import LENGTH, same, snapshot, tiny_data, tiny_model
from pyro.distributions import LogNormal
from pyro.infer.autoguide import AutoDelta, AutoLowRankMultivariateNormal, AutoNormal
from torch import nn

import pyro_msde
from pyro_msde import Ensemble, fit
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import Multiscale
from pyro_msde.priors import Horseshoe, bayesian, fan_in_normal

pytestmark = pytest.mark.usefixtures("long_steps")

QUICK = {"length": LENGTH, "stride": 1, "num_nodes": 9, "progress": False, "steps": 3}
ask = partial(
    pyro_msde.Fit.predict,
    y0=tiny_data().values[1][0],
    times=[0.0, 0.1, 0.3],
    num_samples=4,
    max_step=0.03,
)


def test_training_a_model_again_leaves_the_first_fit_alone():
    model = tiny_model(2)
    guide = AmortizedGP(model)
    first = fit(model, guide, tiny_data(), **QUICK)
    before = ask(first).mean
    assert same(snapshot(first.model), snapshot(model))  # trained in place
    second = fit(model, guide, tiny_data(), **{**QUICK, "seed": 5})
    torch.testing.assert_close(ask(first).mean, before, rtol=0, atol=0)
    assert not torch.equal(ask(second).mean, before)


def test_going_on_from_the_model_of_a_fit_trains_a_copy(tmp_path):
    model = tiny_model(2)
    first = fit(model, AmortizedGP(model), tiny_data(), **QUICK)
    first.save(tmp_path)
    again = tiny_model(2, seed=9)
    loaded = pyro_msde.load(tmp_path, model=again, guide=AmortizedGP(again))
    for own in (first, loaded):
        before = ask(own).mean
        second = fit(own.model, own.guide, tiny_data(), **QUICK)
        assert second.model is not own.model
        assert second.guide.model is second.model
        torch.testing.assert_close(ask(own).mean, before, rtol=0, atol=0)
        assert not torch.equal(ask(second).mean, before)


def test_a_model_that_cannot_be_copied_is_shared_with_a_warning():
    class Stubborn(nn.Linear):
        def __deepcopy__(self, memo: object) -> None:
            raise RuntimeError("not me")

    model = tiny_model(2)
    model.extra = Stubborn(1, 1)
    with pytest.warns(UserWarning, match="cannot be copied.*not me"):
        result = fit(model, AmortizedGP(model), tiny_data(), **QUICK)
    assert result.model is model


def test_an_ensemble_takes_no_fit_twice():
    model = tiny_model(2)
    result = fit(model, AmortizedGP(model), tiny_data(), **QUICK)
    for fits in ([result, result], [result, copy.copy(result)]):
        with pytest.raises(ValueError, match="fits: numbers 0 and 1 have one model"):
            Ensemble(fits)
    with pytest.raises(ValueError, match=r"fits: got Fit\. Pass a list"):
        Ensemble(result)
    assert len(Ensemble([result, copy.deepcopy(result)]).fits) == 2


GUIDES = {
    "point": None,
    "AutoNormal": AutoNormal,
    "AutoDelta": AutoDelta,
    "low rank": AutoLowRankMultivariateNormal,
    "horseshoe": AutoNormal,
}


WAYS = {"deepcopy": copy.deepcopy, "pickle": lambda x: pickle.loads(pickle.dumps(x))}
# the others differ in Pyro's own classes
QUICKLY = {("point", "pickle"), ("AutoNormal", "deepcopy"), ("horseshoe", "pickle")}


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        pytest.param(kind, how, marks=[] if (kind, how) in QUICKLY else pytest.mark.slow)
        for kind in GUIDES
        for how in WAYS
    ],
)
def test_a_fit_is_copied_and_pickled_whole(kind, how):
    model = tiny_model(2)
    if kind == "horseshoe":
        bayesian(model.drift, Horseshoe())
    elif kind != "point":
        bayesian(model.drift, fan_in_normal(1.0))
        bayesian(model.diffusion, LogNormal(-3.0, 1.0))
    own = {} if GUIDES[kind] is None else {"theta": GUIDES[kind]}
    original = fit(model, AmortizedGP(model, **own), tiny_data(), **QUICK)
    before = ask(original).mean
    other = WAYS[how](original)
    torch.testing.assert_close(ask(other).mean, before, rtol=0, atol=0)
    assert other.guide.model is other.model
    # both go on to train, and neither reaches into the other
    for one in (original, other):
        trained = fit(one.model, one.guide, tiny_data(), **QUICK)
        assert np.isfinite(trained.history.terms["elbo"]).all()
        torch.testing.assert_close(ask(one).mean, before, rtol=0, atol=0)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_fitting_without_gradients_is_refused(context):
    model = tiny_model(2)
    with context(), pytest.raises(ValueError, match="fit: called where torch takes no gradients"):
        fit(model, AmortizedGP(model), tiny_data(), **QUICK)


def test_an_ensemble_is_of_one_kind_of_model_in_one_unit():
    class Lifted(Multiscale):
        def make_operators(self, kernel):
            return super().make_operators(2.0 * kernel)

    def trained(unit, kind=None):
        model = tiny_model(0)
        model.__class__ = kind or model.__class__
        return fit(model, AmortizedGP(model), tiny_data(units=unit), **QUICK)

    base = trained("K")
    with pytest.raises(ValueError, match="number 1 is of a Lifted, the first of a Multiscale"):
        Ensemble([base, trained("K", Lifted)])
    with pytest.raises(ValueError, match=r"fits\[1\]: .*degC"):
        Ensemble([base, trained("degC")])
    pooled = Ensemble([base, trained("K")])
    for wrong, name in (({"num_samples": None}, "num_samples"), ({"seed": None}, "seed")):
        with pytest.raises(ValueError, match=name):
            pooled.predict(tiny_data().values[1][0], [0.0, 0.1], **wrong)
