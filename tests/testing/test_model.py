"""`check_model` takes the library's own models, and refuses what is no model in some way."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from problems import tiny_data, tiny_grid, tiny_model
from pyro.distributions import LogNormal

from pyro_msde.likelihoods import student
from pyro_msde.models import Multiscale, gle, multiscale, pod_sde
from pyro_msde.priors import bayesian, fan_in_normal
from pyro_msde.testing import check_model


def with_priors():
    model = tiny_model(2)
    bayesian(model.drift, fan_in_normal(1.0))
    bayesian(model.diffusion, LogNormal(-3.0, 1.0))
    return model


MODELS = {
    "closure": lambda: tiny_model(0),
    "two scales, channels, parameters": lambda: tiny_model(
        2, grid=tiny_grid(channels=2), num_covariates=3
    ),
    "priors": with_priors,
    "student": lambda: tiny_model(2, likelihood=student),
    "sensors": lambda: multiscale(adjacency=[[1], [0], [3], [2]], n_eta=1, components=2, width=5),
    "pod": lambda: pod_sde(tiny_data(), 3, width=7),
    "gle": lambda: gle(2),
}


@pytest.mark.parametrize("name", MODELS)
def test_our_models_pass(name):
    check_model(MODELS[name]())


class Bound(Multiscale):
    """Another law than the program's, where forecasts read it."""

    def bind(self, sites=None):
        bound = super().bind(sites)
        return bound if sites is None else replace(bound, **self.change(bound))


class Jittery(Bound):
    def change(self, bound):
        return {"diffusion": bound.diffusion * torch.rand(())}


class Negative(Bound):
    def change(self, bound):
        return {"diffusion": -bound.diffusion}


class Summed(Bound):
    def change(self, bound):
        drift = bound.drift
        return {"drift": lambda z, t, covariates=None: drift(z, t, covariates).sum(0)}


class Wider(Bound):
    def change(self, bound):
        return {"var_zeta": 2 * bound.var_zeta}


class Event(Bound):
    def change(self, bound):
        inner = bound.likelihood
        return {"likelihood": lambda mean, var: inner(mean, var).to_event(1)}


class Unequal(Bound):
    def change(self, bound):
        operators = bound.operators
        operators.restrict = lambda y: y[..., ::6]
        return {}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Jittery, "bind: diffusion differs"),
        (Negative, "diffusion: .*positive"),
        (Summed, "drift: "),
        (Wider, "another likelihood"),
        (Event, "without to_event"),
        (Unequal, "not the adjoint"),
    ],
)
def test_what_is_no_model_is_refused(kind, words):
    with pytest.raises(AssertionError, match=words):
        check_model(tiny_model(2, kind=kind))
    with pytest.raises(AssertionError, match="is no torch"):
        check_model(kind)
