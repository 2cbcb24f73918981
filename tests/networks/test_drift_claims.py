"""Claims of drifts, true and false, of whatever kind their class is."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from problems import LENGTH, tiny_data, tiny_model
from pyro.distributions import Normal
from torch import Tensor, nn

from pyro_msde import fit
from pyro_msde.guides import AmortizedGP
from pyro_msde.models import multiscale
from pyro_msde.networks import MultiscaleDrift, drift_of, offers, refusal
from pyro_msde.priors import bayesian
from pyro_msde.protocols import LastLayer, PolynomialDrift, StencilDrift

ALL = (LastLayer, StencilDrift, PolynomialDrift)


class Scaled(MultiscaleDrift):
    """γ(z) = 1.25 learned(z)."""

    def forward(self, z: Tensor, t: Tensor, covariates: Tensor | None = None) -> Tensor:
        return 1.25 * super().forward(z, t, covariates)


class Driven(MultiscaleDrift):
    """γ(z) = learned(z) − 3 z, without a word of it where features are asked for."""

    def forward(self, z: Tensor, t: Tensor, covariates: Tensor | None = None) -> Tensor:
        return super().forward(z, t, covariates) - 3 * z


class DrivenAndSaid(Driven):
    """The same, and says so."""

    def offset(self, z: Tensor, t: Tensor, covariates: Tensor | None = None) -> Tensor:
        return -3 * z


class Turned(MultiscaleDrift):
    """What it says is the middle of its stencil is another point."""

    middle = (0,)


def of_kind(kind: type, n_eta: int = 0) -> Any:
    model = multiscale(32, 8, n_eta=n_eta, num_covariates=1)
    model.drift.net.__class__ = kind
    return model


@pytest.mark.parametrize("n_eta", [0, 2])
@pytest.mark.parametrize("trained", [False, True])
def test_the_drift_of_multiscale_offers_what_it_says(n_eta, trained):
    model = of_kind(MultiscaleDrift, n_eta)
    if trained:
        with torch.no_grad():
            for p in model.drift.parameters():
                p.add_(0.3 * torch.randn_like(p))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    random = torch.get_rng_state()
    assert offers(model, LastLayer)
    assert offers(model, StencilDrift)
    # a regression would undo what training has found, or take the microscale's part
    assert offers(model, PolynomialDrift) == (not trained and n_eta == 0)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("architecture", ["default", "published"])
def test_a_coupling_makes_inputs_of_f_and_has_no_last_weights_of_its_own(architecture):
    model = multiscale((32, 16), (8, 4), n_eta=2, coupling=True, architecture=architecture)
    drift = drift_of(model)
    with torch.no_grad():
        for p in drift.parameters():
            p.add_(0.1 * torch.randn_like(p))
    assert offers(model, LastLayer)
    assert drift.readout().keys() == {"macro", "micro"}
    z, t = torch.randn(3, 5, model.num_latent), torch.rand(3, 5, dtype=torch.float64)
    before = drift.features(z, t)
    with torch.no_grad():
        for p in drift.coupling.parameters():
            p.zero_()
    after = drift.features(z, t)
    assert not torch.equal(after["macro"], before["macro"])
    assert torch.equal(after["micro"], before["micro"])


@pytest.mark.parametrize(
    ("kind", "false"),
    [
        (Scaled, [LastLayer, PolynomialDrift]),
        (Driven, [LastLayer, PolynomialDrift]),
        (DrivenAndSaid, [PolynomialDrift]),
        (Turned, [StencilDrift]),
    ],
)
def test_what_a_subclass_inherits_and_makes_untrue_is_found_out(kind, false):
    """Before training too, when the last weights and hence the learned drift are zero."""
    model = of_kind(kind)
    assert [p for p in ALL if not offers(model, p)] == false


@pytest.mark.parametrize("how", ["hook", "assigned", "subclass"])
@pytest.mark.parametrize("place", ["linear", "first", "last"])
def test_layers_that_do_more_are_found_out(place, how):
    model = of_kind(MultiscaleDrift)
    macro = model.drift.net.macro
    layer = {"linear": macro.linear, "first": macro.network[0], "last": macro.network[-1]}[place]
    if how == "hook":
        layer.register_forward_hook(lambda module, given, out: out + 5.0)
    elif how == "assigned":
        layer.forward = lambda x: nn.Linear.forward(layer, x) + 5.0
    else:
        layer.__class__ = type("Louder", (nn.Linear,), {"forward": lambda s, x: 5 * F(s, x)})
    assert offers(model, LastLayer) == (place == "first")  # it is asked for its features


F = nn.Linear.forward


def test_a_network_within_that_has_no_features_is_named():
    model = tiny_model(2)
    model.drift.net.micro = nn.Linear(2 + 5, 2)
    why = refusal(model, LastLayer)
    assert why == "MultiscaleDrift: micro, a Linear, is no LinearReadout"
    assert offers(model, StencilDrift)


def test_a_prior_leaves_stencils_only():
    model = multiscale(32, 8)
    bayesian(model.drift, Normal(0.0, 1.0))
    assert [offers(model, p) for p in ALL] == [False, True, False]
    assert refusal(model, LastLayer) == "the drift has a prior"


def test_a_prior_of_the_drift_is_one_of_its_coupling_too():
    model = multiscale((32, 16), (8, 4), n_eta=2, coupling=True, architecture="published")
    sizes = {name: p.numel() for name, p in drift_of(model).named_parameters()}
    bayesian(model.drift, Normal(0.0, 1.0))
    z, t = torch.randn(3, 5, model.num_latent), torch.rand(3, 5, dtype=torch.float64)
    theta = torch.randn(sum(sizes.values()))
    of_coupling = torch.cat(
        [torch.full((n,), name.startswith("coupling")) for name, n in sizes.items()]
    )
    drawn, silent = (
        model.bind({"drift.theta": values}).drift(z, t)
        for values in (theta, theta.where(~of_coupling, 0.0))
    )
    macro = slice(0, model.grid.num_zeta)
    assert not torch.equal(silent[..., macro], drawn[..., macro])
    assert torch.equal(silent[..., macro.stop :], drawn[..., macro.stop :])


def test_fit_says_which_steps_it_leaves_out(caplog):
    quick = {"length": LENGTH, "stride": 1, "num_nodes": 9, "progress": False, "steps": 1}
    with caplog.at_level(logging.INFO, "pyro_msde"):
        model = tiny_model(2)
        fit(model, AmortizedGP(model), tiny_data(), **quick)
        assert not [r for r in caplog.records if "leaves out" in r.message]
        drift_of(model).__class__ = Scaled
        result = fit(model, AmortizedGP(model), tiny_data(), **quick)
    (message,) = (r.message for r in caplog.records if "leaves out" in r.message)
    assert message == (
        "fit leaves out the jackknife (Scaled.forward: is not offset + joined(φ W))."
    )
    assert result.adjustment("jackknife") is None
