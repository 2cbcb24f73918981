"""Parts with methods of their own: honoured everywhere, or refused.

A part that overrides `forward` is compared with an opaque module that computes the same and that
the library cannot look into: both train and forecast alike, to the last bit.
"""

from __future__ import annotations

import runpy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from problems import LENGTH, NUM_POINTS, tiny_data, tiny_grid, tiny_model, tiny_pair
from torch import nn

from pyro_msde import Callback, SavedRunError, fit, load
from pyro_msde.guides import AmortizedGP
from pyro_msde.inference import has_observation_variances
from pyro_msde.likelihoods import FieldNormal, WeightedFields, laplace, student
from pyro_msde.models import Multiscale
from pyro_msde.models.builder import multiscale
from pyro_msde.networks import MultiscaleDrift, PolynomialMLP
from pyro_msde.runs import register_adjustment
from pyro_msde.scores import Calibration
from pyro_msde.scores.innovation_test import innovations

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


# what is saved of parts of one's own


@dataclass(frozen=True)
class Damped:
    """Beyond the last point, so many times its value."""

    factor: float
    wall = 0.5

    def ghosts(self, distance: Any, n: int) -> tuple[int, float]:
        return 0, self.factor


def heavy(mean: torch.Tensor, var: torch.Tensor) -> Any:
    return student(mean, var)


def damped(factor: float) -> Multiscale:
    return multiscale(NUM_POINTS, 5, width=7, boundary=[(Damped(factor), "neumann")])


def test_another_boundary_of_ones_own_is_no_boundary_of_the_run(tmp_path):
    model = damped(0.5)
    result = fit(model, AmortizedGP(model), tiny_data(), **QUICK)
    result.save(tmp_path)
    assert same_forecast(result, load(tmp_path, damped(0.5)))
    with pytest.raises(SavedRunError, match=r"boundary=.*factor=0\.5.* here .*factor=0\.9"):
        load(tmp_path, damped(0.9))


def test_a_likelihood_of_ones_own_is_no_other_when_it_is_loaded(tmp_path):
    model = multiscale(NUM_POINTS, 5, width=7)
    model.likelihood = heavy
    result = fit(model, AmortizedGP(model), tiny_data(), **QUICK)
    result.save(tmp_path)
    for other in (None, multiscale(NUM_POINTS, 5, width=7)):
        with pytest.raises(SavedRunError, match=r"model\.likelihood is a heavy, here missing"):
            load(tmp_path, other)
    again = multiscale(NUM_POINTS, 5, width=7)
    again.likelihood = heavy
    assert same_forecast(result, load(tmp_path, again))


def same_forecast(first: Any, second: Any) -> bool:
    """0.9 quantiles, which differ between families."""
    y0, times = tiny_data().values[0][0], np.linspace(0, 0.2, 3)
    quantiles = [f.predict(y0, times, num_samples=4).quantile(0.9) for f in (first, second)]
    return torch.equal(*quantiles)


def test_the_guide_of_the_examples_trains():
    script = Path(__file__).parent.parent / "examples" / "extending" / "guide.py"
    guide = runpy.run_path(str(script))["Interpolated"]
    model = tiny_model(0)
    result = fit(model, guide(model), tiny_data(), **QUICK)
    assert result.predict(tiny_data().values[0][0], [0.0, 0.1]).mean.isfinite().all()


def test_a_network_is_not_put_in_the_place_of_its_part():
    model = tiny_model(0)
    with pytest.raises(ValueError, match=r"model\.drift: set model\.drift\.net"):
        model.drift = nn.Linear(3, 3)


def test_adjustments_that_cannot_be_loaded_again_are_warned_of(tmp_path):
    class Louder(Calibration):
        name = "louder"

    result = fit(*tiny_pair(0), tiny_data(), **QUICK).adjusted(Louder(2.0))
    with pytest.warns(UserWarning, match="Louder is not registered under 'louder'"):
        result.save(tmp_path)
    with pytest.raises(ValueError, match="names='regoin': choose"):
        result.without("regoin")


def test_paths_of_another_shape_are_refused():
    def still(drift: Any, diffusion: Any, start: Any, times: Any, **_: Any) -> torch.Tensor:
        return start

    result = fit(*tiny_pair(0), tiny_data(), **QUICK)
    with pytest.raises(ValueError, match="solver: paths"):
        result.predict(tiny_data().values[0][0], [0.0, 0.1, 0.2], solver=still)


def test_an_unfinished_run_goes_on_under_its_own_likelihood_only(tmp_path):
    class Stop(Callback):
        def step(self, view: Any) -> None:
            if view.step == 1:
                raise RuntimeError

    def model(law: Any) -> Any:
        made = tiny_model(0)
        made.likelihood = law
        return made

    first = model(heavy)
    with pytest.raises(RuntimeError):
        fit(
            first, AmortizedGP(first), tiny_data(), checkpoint=tmp_path, callbacks=[Stop()], **QUICK
        )
    other = model(FieldNormal)
    with pytest.raises(SavedRunError, match="likelihood"):
        fit(other, AmortizedGP(other), tiny_data(), checkpoint=tmp_path, **QUICK)


def test_a_drift_that_is_cubic_in_its_last_weights_has_no_jackknife():
    """Though it is zero, hence linear in them, before training."""

    class Cubic(MultiscaleDrift):
        def forward(self, z: Any, t: Any, covariates: Any = None) -> torch.Tensor:
            value = super().forward(z, t, covariates)
            return value + 5 * value**3

    macro = PolynomialMLP([3, 7, 1], 3, reluctant=True)
    model = tiny_model(0, drift=Cubic(tiny_grid(), 0, macro, None, half_width=1))
    result = fit(model, AmortizedGP(model), tiny_data(), warm_start=False, **QUICK)
    assert result.adjustment("jackknife") is None


def test_a_program_that_scales_its_likelihood_is_refused():
    class Tempered(Multiscale):
        def forward(self, batch: Any) -> Any:
            with pyro.poutine.scale(scale=0.001):
                return super().forward(batch)

    model = tiny_model(0, kind=Tempered)
    with pytest.raises(ValueError, match=r"counts 'field' .* times"):
        fit(model, AmortizedGP(model), tiny_data(), **QUICK)


def test_the_name_of_an_adjustment_is_taken_once():
    class Other(Calibration):
        name = "calibration"

    with pytest.raises(ValueError, match="'calibration' is that of Calibration"):
        register_adjustment(Other)


def test_what_does_not_know_an_adjustment_says_so():
    class Louder(Calibration):
        name = "louder"

    result = fit(*tiny_pair(0), tiny_data(), **QUICK).adjusted(Louder(2.0))
    with pytest.raises(ValueError, match="its adjustments louder are no part"):
        innovations(result, tiny_data())
    with pytest.warns(UserWarning, match="forecasts have its adjustments louder"):
        result.to_arviz(tiny_data((11, 11)), num_samples=4, times=2)
