"""Parts with methods of their own: honoured everywhere, or refused.

A part that overrides `forward` is compared with an opaque module that computes the same and that
the library cannot look into: both train and forecast alike, to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyro
import pytest
import torch
from problems import LENGTH, tiny_data, tiny_model
from torch import nn

from pyro_msde import fit
from pyro_msde.guides import AmortizedGP
from pyro_msde.inference import has_observation_variances
from pyro_msde.likelihoods import FieldNormal, WeightedFields, laplace
from pyro_msde.models import Multiscale
from pyro_msde.models.builder import multiscale

QUICK = {"length": LENGTH, "stride": 1, "num_nodes": 9, "progress": False, "steps": 2}
FACTOR = 1.25


class Opaque(nn.Module):
    """The same as a part that multiplies what it inherits; no class of the library."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *args: Any, **options: Any) -> torch.Tensor:
        return FACTOR * self.inner(*args, **options)


def overriding(net: nn.Module) -> nn.Module:
    """The network, of a subclass whose forward pass multiplies what it inherits."""
    kind = type(net)

    def forward(self: nn.Module, *args: Any, **options: Any) -> torch.Tensor:
        return FACTOR * kind.forward(self, *args, **options)

    net.__class__ = type(f"My{kind.__name__}", (kind,), {"forward": forward})
    return net


PLACES = {
    "drift": lambda m, g: (m.drift, "net"),
    "macro": lambda m, g: (m.drift.net, "macro"),
    "micro": lambda m, g: (m.drift.net, "micro"),
    "network of macro": lambda m, g: (m.drift.net.macro, "network"),
    "kernel": lambda m, g: (m.kernel, "net"),
    "diffusion": lambda m, g: (m.diffusion, "net"),
    "decoder": lambda m, g: (m.decoder, "net"),
    "var_zeta": lambda m, g: (m.var_zeta, "net"),
    "var_eta": lambda m, g: (m.var_eta, "net"),
    "encoder": lambda m, g: (g, "encoder"),
    "node_variance": lambda m, g: (g, "node_variance"),
    "time_kernel.network": lambda m, g: (g.time_kernel, "network"),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_part_that_overrides_forward_is_trained_and_forecast_as_it_says(place):
    forecasts = []
    for change in (overriding, Opaque):
        model = tiny_model(2)
        guide = AmortizedGP(model, seed=3)
        owner, name = PLACES[place](model, guide)
        setattr(owner, name, change(getattr(owner, name)))
        result = fit(model, guide, tiny_data(), **QUICK)
        if place in ("drift", "macro", "micro", "network of macro"):
            assert result.adjustment("jackknife") is None  # it knows no last weights
        result = result.without("region")  # an opaque drift has no stencils to confine
        y0 = tiny_data().values[1][0]
        fc = result.predict(y0, [0.0, 0.1, 0.3], num_samples=4, max_step=0.03)
        forecasts.append((fc.mean, fc.sd))
    for own, opaque in zip(*forecasts, strict=True):
        torch.testing.assert_close(own, opaque, rtol=0, atol=0)


def test_known_physics_beside_a_learned_drift_is_forecast():
    """ds/dt = −3 s is all there is to know: the learned part starts at zero and is not trained."""
    model = multiscale(32, 8)
    kind = type(model.drift.net)

    def forward(self: Any, z: Any, t: Any, covariates: Any = None) -> torch.Tensor:
        return kind.forward(self, z, t, covariates) - 3.0 * z

    model.drift.net.__class__ = type("Known", (kind,), {"forward": forward})
    with torch.no_grad():
        model.diffusion.net.log_value.fill_(-16.0)
    times = np.linspace(0.0, 1.0, 41)
    wave = np.sin(2 * np.pi * np.arange(32) / 32)
    data = fields_of(times, np.array([0.8, 1.0, 1.2])[:, None, None] * wave)
    result = fit(
        model, AmortizedGP(model), data, steps=30, length=8, learning_rate=0.0, progress=False
    )
    fc = result.predict(data.values[0][0], times, num_samples=8, max_step=0.005)
    # the wave's encoding and decoding, and the noise √C = 3e-4, cost less than a hundredth
    np.testing.assert_allclose(fc.mean, data.values[0], atol=2e-2)


def fields_of(times: np.ndarray, starts: np.ndarray) -> Any:
    from pyro_msde import Trajectories

    return Trajectories(times, np.exp(-3.0 * times)[:, None] * starts)


@pytest.mark.parametrize("part", ["var_zeta", "var_eta"])
def test_a_variance_with_a_law_of_its_own_is_left_where_training_put_it(part):
    model = tiny_model(2)
    assert has_observation_variances(model)
    overriding(getattr(model, part).net)
    assert not has_observation_variances(model)


class Written(Multiscale):
    """A program of the user's own, whose likelihood is a method."""

    def forward(self, batch: Any) -> torch.Tensor:
        theta = self.bind()
        index = torch.arange(len(batch.times))
        with pyro.plate("segments", batch.num_segments, subsample=index):
            z = pyro.sample("path", self.path_law(theta, batch))
            law = WeightedFields(self.law(theta, z), 2, weight=batch.observation_weight)
            return pyro.sample("field", law, obs=batch.values)

    def law(self, theta: Any, z: Any) -> Any:
        pyro.deterministic("coarse", theta.experts(z)[0], event_dim=3)  # which is no observation
        return theta.observe(z)


class WithLaplace(Written):
    """A likelihood that only the program knows of."""

    def law(self, theta: Any, z: Any) -> Any:
        law = super().law(theta, z)
        return laplace(law.mean, law.variance)


class WithForcing(Multiscale):
    """A drift that only the program knows of."""

    def path_law(self, theta: Any, batch: Any) -> Any:
        law = super().path_law(theta, batch)
        inner = law.drift
        law.drift = lambda z, t: inner(z, t) + 1.0
        return law


class WithOffset(Written):
    """A decoder that only the program knows of."""

    def law(self, theta: Any, z: Any) -> Any:
        law = super().law(theta, z)
        return FieldNormal(law.mean + 1.0, law.variance)


@pytest.mark.parametrize(
    ("kind", "words"),
    [(WithLaplace, "likelihood"), (WithForcing, "drift"), (WithOffset, "likelihood")],
)
def test_a_program_that_is_not_made_of_the_parts_is_refused_before_training(kind, words):
    model = tiny_model(2)
    model.__class__ = kind
    before = {k: v.clone() for k, v in model.state_dict().items()}
    with pytest.raises(ValueError, match=f"model: .*({words})"):
        fit(model, AmortizedGP(model), tiny_data(), **QUICK)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_program_of_ones_own_that_says_the_same_is_trained():
    model = tiny_model(2)
    model.__class__ = Written
    own = fit(model, AmortizedGP(model, seed=3), tiny_data(), **QUICK)
    other = tiny_model(2)
    plain = fit(other, AmortizedGP(other, seed=3), tiny_data(), **QUICK)
    assert own.history.terms == plain.history.terms


def test_a_drift_that_is_random_itself_passes():
    model = tiny_model(2)
    model.drift.net.macro = nn.Sequential(nn.Dropout(0.3), model.drift.net.macro)
    result = fit(model, AmortizedGP(model), tiny_data(), **QUICK)
    assert np.isfinite(result.history.terms["elbo"]).all()


class Shifted(AmortizedGP):
    """A guide that encodes in a way of its own."""

    def encode(self, *args: Any, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
        mean, var = super().encode(*args, **options)
        return mean + 1.0, var


def test_a_guide_that_overrides_encode_is_asked_where_forecasts_start():
    model = tiny_model(2)
    plain = fit(model, AmortizedGP(model, seed=3), tiny_data(), **QUICK)
    y0 = tiny_data().values[1][0]
    start = plain.predict(y0, [0.0], num_samples=4).paths
    plain.guide.__class__ = Shifted
    shifted = plain.predict(y0, [0.0], num_samples=4).paths
    torch.testing.assert_close(shifted, start + 1.0)


@pytest.mark.parametrize("name", ["read_theta", "encode", "path_marginals"])
def test_a_guide_without_what_forecasts_need_is_refused(name):
    class Lacking(nn.Module):
        def __init__(self, guide: Any) -> None:
            super().__init__()
            for other in {"read_theta", "encode", "path_marginals"} - {name}:
                setattr(self, other, getattr(guide, other))

    model = tiny_model(2)
    with pytest.raises(ValueError, match=f"guide: Lacking has no {name}"):
        fit(model, Lacking(AmortizedGP(model)), tiny_data(), **QUICK)
