"""The contract of a drift: our own keep it, and what breaks it is named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from problems import tiny_grid, tiny_model
from torch import Tensor, nn

from pyro_msde.models import multiscale
from pyro_msde.models.pod import ModalDrift
from pyro_msde.networks import MLP, MultiscaleDrift, PolynomialMLP
from pyro_msde.testing import check_drift


@pytest.mark.parametrize("architecture", ["default", "published"])
@pytest.mark.parametrize("n_eta", [0, 2])
@pytest.mark.parametrize("coupling", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_drifts_of_ours_pass(architecture, n_eta, coupling, dtype):
    options = {"architecture": architecture, "coupling": coupling}
    model = multiscale((32, 16), (8, 4), n_eta=n_eta, num_covariates=1, **options)
    offered = check_drift(model.drift.net.to(dtype), model.num_latent, num_covariates=1)
    start = ["PolynomialDrift"] if architecture == "default" and not n_eta else []
    assert offered == ["LastLayer", "SolvableLastLayer", "StencilDrift", *start]


def test_drifts_that_offer_less_pass():
    assert check_drift(ModalDrift(PolynomialMLP([5, 7, 5], 2)), 5) == []
    model = tiny_model(2)
    model.drift.net.micro = nn.Linear(2 + 5, 2)
    assert check_drift(model.drift.net, model.num_latent) == ["StencilDrift"]


def test_a_claim_that_fails_by_a_mistake_is_no_claim_that_is_not_made():
    class Mistaken(MultiscaleDrift):
        def offset(self, z: Any, t: Any, covariates: Any = None) -> Any:
            return self.no_such_thing

    model = tiny_model(0)
    model.drift.net.__class__ = Mistaken
    with pytest.raises(AttributeError, match="no_such_thing"):
        check_drift(model.drift.net, model.num_latent)


class Wrong(nn.Module):
    """A linear drift and what is done to it."""

    def __init__(self, spoil: Any) -> None:
        super().__init__()
        self.layer, self.spoil = nn.Linear(5, 5), spoil

    def forward(self, z: Tensor, t: Tensor, covariates: Tensor | None = None) -> Tensor:
        return self.spoil(self.layer(z), t)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda x, t: x[..., :-1], r"\(2, 3, 4\).* for z"),
        (lambda x, t: x * t[..., None], "float64 .* times are float64"),
        (lambda x, t: x / 0.0, "not finite"),
        (lambda x, t: x * (x.ndim - 2), "samples lie to the left"),
        (lambda x, t: x + t[-1:, :, None].float() * len(t), "one row of times"),
        (lambda x, t: x - x.mean((-3, -2), keepdim=True), "other segments or times"),
        (lambda x, t: x.detach(), "no gradient"),
        (lambda x, t: (x - x).abs().sqrt(), "gradient is not finite"),
    ],
)
def test_what_breaks_the_contract_is_named(spoil, words):
    with pytest.raises(AssertionError, match=words):
        check_drift(Wrong(spoil), 5)


def test_a_claim_that_is_not_true_is_named():
    class Scaled(MultiscaleDrift):
        def forward(self, z: Tensor, t: Tensor, covariates: Tensor | None = None) -> Tensor:
            return 1.25 * super().forward(z, t, covariates)

    drift = Scaled(tiny_grid(), 0, MLP([3, 7, 1]), None, half_width=1)
    with pytest.raises(AssertionError, match=r"Scaled\.forward: is not offset.*LastLayer asks"):
        check_drift(drift, 5)
