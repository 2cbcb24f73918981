"""Refining the drift along the model's own paths, on a wave whose stability can be read off."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from problems import same, snapshot, tiny_data, tiny_pair, tiny_segments

import pyro_msde
from pyro_msde.data import Segments
from pyro_msde.guides import AmortizedGP, UnamortizedGP
from pyro_msde.inference import refine_drift
from pyro_msde.models import multiscale
from pyro_msde.priors import bayesian, fan_in_normal
from pyro_msde.runs import Recipe

NUM_COARSE, SPEED = 12, 8.0
TIMES = torch.linspace(0, 1, 101, dtype=torch.float64)


def travelling_wave():
    """cos(x − c t + phase) on a ring of 60 points, for four phases."""
    x = 2 * np.pi * np.arange(60) / 60
    waves = [np.cos(x - SPEED * TIMES.numpy()[:, None] + a) for a in (0.1, 1.7, 3.0, 4.9)]
    fields = [torch.as_tensor(w[:, None], dtype=torch.float32) for w in waves]
    return Segments([TIMES] * 4, fields, length=64, stride=1)


def unstable_model():
    """γ = linear stencil with λ_k = a + 2 b cos kθ − 2i s sin kθ: turns the wave, others grow."""
    model = multiscale(60, NUM_COARSE, n_eta=0, half_width=1, seed=0)
    theta = 2 * np.pi / NUM_COARSE
    s, a = SPEED / (2 * np.sin(theta)), 2.0
    b = -a / (2 * np.cos(theta))
    linear = torch.tensor([[b + s, a, b - s]])
    model.drift._modules["net"].set_polynomial(linear, torch.zeros(1, 3, 3))
    with torch.no_grad():
        for p in model.diffusion.parameters():
            p.fill_(np.log(1e-2))
    return model, AmortizedGP(model, seed=0)


def growth_rates(model):
    """Real parts of the eigenvalues of γ's Jacobian at the wave."""
    drift = model.drift._modules["net"]
    z = torch.cos(2 * np.pi * torch.arange(NUM_COARSE) / NUM_COARSE)[None, None]
    clock = torch.zeros(1, 1, dtype=torch.float64)
    jacobian = torch.func.jacrev(lambda z: drift(z, clock)[0, 0])(z)[:, 0, 0]
    return np.linalg.eigvals(jacobian.detach().numpy()).real


def test_a_wave_that_was_unstable_becomes_stable():
    """The guide's gain is C/2Σ = 5; what does not belong to the wave decays afterwards."""
    model, guide = unstable_model()
    before = growth_rates(model)
    assert before.max() > 4  # a + 2 b cos 6θ
    assert refine_drift(model, guide, travelling_wave(), Recipe(), steps=300)
    after = np.sort(growth_rates(model))
    assert after[-3:].max() < 0.5  # two of the wave itself, and a constant, hardly grow
    assert after[:-3].max() < -0.5


KERNEL = {"time_kernel.log_lengthscale", "time_kernel.log_noise"}


def changed_in(first, second):
    return {name for name in first if not torch.equal(first[name], second[name])}


def test_nothing_but_the_drift_is_trained_and_the_interpolation_chosen():
    model, guide = tiny_pair()
    before, held = snapshot(model), snapshot(guide)
    torch.manual_seed(0)
    assert refine_drift(model, guide, tiny_segments(), Recipe(), steps=3)
    assert changed_in(held, snapshot(guide)) <= KERNEL
    after = snapshot(model)
    assert {name.split(".")[0] for name in changed_in(before, after)} == {"drift"}


def test_it_is_the_same_for_the_same_noise():
    results = []
    for _ in range(2):
        model, guide = tiny_pair()
        torch.manual_seed(5)
        refine_drift(model, guide, tiny_segments(), Recipe(), steps=3)
        results.append(snapshot(model))
    assert same(*results)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_irregular_times_covariates_and_dense_covariances(covariance):
    data = tiny_data(irregular=True)
    data = pyro_msde.Trajectories(data.times, data.values, covariates=[[0.0], [1.0], [2.0]])
    model = tiny_pair(num_covariates=1)[0]
    guide = AmortizedGP(model, covariance=covariance, seed=0)
    fit = pyro_msde.fit(
        model, guide, data, steps=2, refine=2, length=7, stride=1, jackknife=False, progress=False
    )
    assert np.isfinite(np.asarray(fit.forecast(data, num_samples=2).mean)).all()


def test_a_drift_with_a_prior_is_left_as_it_is(caplog):
    model, guide = tiny_pair()
    bayesian(model.drift, fan_in_normal(0.3))
    guide = AmortizedGP(model, seed=0)
    with caplog.at_level(logging.INFO, logger="pyro_msde"):
        assert not refine_drift(model, guide, tiny_segments(), Recipe(), steps=3)
    assert "has a prior" in caplog.text


def test_a_stop_leaves_the_weights_as_they_were():
    model, guide = tiny_pair()
    before, asked = [snapshot(model), snapshot(guide)], iter([False, False, True])
    done = refine_drift(model, guide, tiny_segments(), Recipe(), steps=5, stop=lambda: next(asked))
    assert not done
    assert same(before[0], snapshot(model))
    assert same(before[1], snapshot(guide))


def test_an_interrupt_leaves_the_weights_as_they_were():
    model, guide = tiny_pair()
    before, steps = [snapshot(model), snapshot(guide)], iter([False, False])

    def interrupted():
        for answer in steps:
            return answer
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refine_drift(model, guide, tiny_segments(), Recipe(), steps=5, stop=interrupted)
    assert same(before[0], snapshot(model))
    assert same(before[1], snapshot(guide))


def test_a_guide_with_nodes_of_its_own():
    model, data = tiny_pair()[0], tiny_data()
    fit = pyro_msde.fit(
        model,
        UnamortizedGP(model, data, seed=0),
        data,
        steps=2,
        refine=2,
        length=7,
        stride=1,
        jackknife=False,
        progress=False,
    )
    assert np.isfinite(np.asarray(fit.forecast(data, num_samples=2).mean)).all()


def test_a_loss_that_is_not_finite_leaves_the_weights_as_they_were(caplog):
    model, guide = tiny_pair()
    before = snapshot(model)
    wild = Recipe(learning_rate=1e30, clip=None)
    assert not refine_drift(model, guide, tiny_segments(), wild, steps=5)
    assert same(before, snapshot(model))
    assert "stopped being finite" in caplog.text


def quick_fit(**options):
    model, guide = tiny_pair()
    data = tiny_data()
    return pyro_msde.fit(
        model,
        guide,
        data,
        steps=4,
        length=7,
        stride=1,
        jackknife=False,
        progress=False,
        **options,
    )


def test_fit_refines_after_training():
    plain, refined = quick_fit(), quick_fit(refine=3)
    assert changed_in(snapshot(plain.guide), snapshot(refined.guide)) <= KERNEL
    assert not same(snapshot(plain.model), snapshot(refined.model))
    assert refined.training.recipe.refine == 3


def test_with_validation_the_better_of_both_is_kept():
    """A refinement whose steps are far too long is undone."""
    validation = tiny_data((12,), seed=3)
    plain = quick_fit(validation=validation, warm_start=False)

    def worse(model, *args, **kwargs):
        with torch.no_grad():
            for p in model.drift.parameters():
                p.add_(3.0)
        return True

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pyro_msde.interface.training_run.refine_drift", worse)
        refined = quick_fit(validation=validation, warm_start=False, refine=3)
    assert same(snapshot(plain.model), snapshot(refined.model))
    assert len(refined.history.validation) == len(plain.history.validation) + 1


@pytest.mark.parametrize("refine", [-1, 1.5, True])
def test_numbers_of_steps_that_are_none(refine):
    with pytest.raises(ValueError, match="refine"):
        quick_fit(refine=refine)
