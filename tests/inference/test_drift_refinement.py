"""Solving for the drift's last weights, on a wave whose stability can be read off."""

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
from pyro_msde.inference.drift_refinement import _Normal
from pyro_msde.models import multiscale
from pyro_msde.priors import bayesian, fan_in_normal
from pyro_msde.sde import linear_drift

NUM_COARSE, SPEED = 12, 8.0
NODE_VARIANCE = 1e-3  # where the guide starts
TIMES = torch.linspace(0, 1, 101, dtype=torch.float64)


def travelling_wave():
    """cos(x − c t + phase) on a ring of 60 points, for four phases."""
    x = 2 * np.pi * np.arange(60) / 60
    waves = [np.cos(x - SPEED * TIMES.numpy()[:, None] + a) for a in (0.1, 1.7, 3.0, 4.9)]
    fields = [torch.as_tensor(w[:, None], dtype=torch.float32) for w in waves]
    return Segments([TIMES] * 4, fields, length=64, stride=1)


def unstable_model():
    """γ = linear stencil of the whole ring with λ_k = a + 2 b cos kθ − 2i s sin kθ.

    It turns the wave, and others grow.
    """
    model = multiscale(60, NUM_COARSE, n_eta=0, half_width=5, rank=0, seed=0)
    theta = 2 * np.pi / NUM_COARSE
    s, a = SPEED / (2 * np.sin(theta)), 2.0
    b = -a / (2 * np.cos(theta))
    linear = torch.zeros(1, 11)
    linear[0, 4:7] = torch.tensor([b + s, a, b - s])
    model.drift._modules["net"].set_polynomial(linear, torch.zeros(1, 11, 11))
    with torch.no_grad():
        for p in model.diffusion.parameters():
            p.fill_(np.log(1e-2))
        for p in model.drift._modules["net"].macro.network[0].parameters():
            p.zero_()  # the linear path alone, whose answer is known
    return model, AmortizedGP(model, seed=0)


def growth_rates(model):
    """Real parts of the eigenvalues of γ, which is linear."""
    drift = model.drift._modules["net"]
    columns = drift(torch.eye(NUM_COARSE)[:, None], torch.zeros(1, 1, dtype=torch.float64))[:, 0]
    return np.linalg.eigvals(columns.detach().numpy().T).real


def test_a_drift_that_was_unstable_becomes_what_the_tube_asks_for():
    """−B beside the wave, on draws with Σ and 4 Σ and B = C/2Σ and a quarter of it.

    Their squares weigh 1 to 4: −(1 · B + 4 · B/4) / 5 = −.4 B. The wave itself, whose amplitude
    fills the drawn noise, hardly grows.
    """
    model, guide = unstable_model()
    assert growth_rates(model).max() > 4  # a + 2 b cos 6θ
    torch.manual_seed(0)
    assert refine_drift(model, guide, travelling_wave())
    gain = model.bind().diffusion[0].item() / (2 * NODE_VARIANCE)
    rates = np.sort(growth_rates(model))
    np.testing.assert_allclose(rates[-2:], 0, atol=0.05)
    # the stencil lacks one of twelve points, which parts the others
    np.testing.assert_allclose(rates[:-2].mean(), -0.4 * gain, rtol=0.05)
    assert rates[:-2].max() < -0.2 * gain


KERNEL = {"time_kernel.log_lengthscale", "time_kernel.log_noise"}


def changed_in(first, second):
    return {name for name in first if not torch.equal(first[name], second[name])}


def test_nothing_but_the_drift_is_trained_and_the_interpolation_chosen():
    model, guide = tiny_pair()
    before, held = snapshot(model), snapshot(guide)
    torch.manual_seed(0)
    assert refine_drift(model, guide, tiny_segments())
    assert changed_in(held, snapshot(guide)) <= KERNEL
    after = snapshot(model)
    assert {name.split(".")[0] for name in changed_in(before, after)} == {"drift"}


def test_it_is_the_same_for_the_same_noise():
    results = []
    for _ in range(2):
        model, guide = tiny_pair()
        torch.manual_seed(5)
        refine_drift(model, guide, tiny_segments())
        results.append(snapshot(model))
    assert same(*results)


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_irregular_times_covariates_and_dense_covariances(covariance):
    data = tiny_data(irregular=True)
    data = pyro_msde.Trajectories(data.times, data.values, covariates=[[0.0], [1.0], [2.0]])
    model = tiny_pair(num_covariates=1)[0]
    guide = AmortizedGP(model, covariance=covariance, seed=0)
    fit = pyro_msde.fit(
        model,
        guide,
        data,
        steps=2,
        refine=True,
        length=7,
        stride=1,
        jackknife=False,
        progress=False,
    )
    assert np.isfinite(np.asarray(fit.forecast(data, num_samples=2).mean)).all()


def test_a_drift_with_a_prior_is_left_as_it_is(caplog):
    model, guide = tiny_pair()
    bayesian(model.drift, fan_in_normal(0.3))
    guide = AmortizedGP(model, seed=0)
    with caplog.at_level(logging.INFO, logger="pyro_msde"):
        assert not refine_drift(model, guide, tiny_segments())
    assert "has a prior" in caplog.text


def test_a_stop_leaves_the_weights_as_they_were():
    model, guide = tiny_pair()
    before, asked = [snapshot(model), snapshot(guide)], iter([False, True])
    assert not refine_drift(model, guide, tiny_segments(), stop=lambda: next(asked))
    assert same(before[0], snapshot(model))
    assert same(before[1], snapshot(guide))


def test_an_interrupt_leaves_the_weights_as_they_were():
    model, guide = tiny_pair()
    before, steps = [snapshot(model), snapshot(guide)], iter([False])

    def interrupted():
        for answer in steps:
            return answer
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refine_drift(model, guide, tiny_segments(), stop=interrupted)
    assert same(before[0], snapshot(model))
    assert same(before[1], snapshot(guide))


def test_a_guide_with_nodes_of_its_own():
    model, data = tiny_pair()[0], tiny_data()
    fit = pyro_msde.fit(
        model,
        UnamortizedGP(model, data, seed=0),
        data,
        steps=2,
        refine=True,
        length=7,
        stride=1,
        jackknife=False,
        progress=False,
    )
    assert np.isfinite(np.asarray(fit.forecast(data, num_samples=2).mean)).all()


def test_without_a_finite_solution_the_weights_are_as_they_were(caplog):
    model, guide = tiny_pair()
    before, guided = snapshot(model), snapshot(guide)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Normal, "solve", lambda self: self.right / 0)
        assert not refine_drift(model, guide, tiny_segments())
    assert same(before, snapshot(model))
    assert same(guided, snapshot(guide))
    assert "no finite solution" in caplog.text


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
    plain, refined = quick_fit(), quick_fit(refine=True)
    assert changed_in(snapshot(plain.guide), snapshot(refined.guide)) <= KERNEL
    assert not same(snapshot(plain.model), snapshot(refined.model))
    assert refined.training.recipe.refine is True


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
        refined = quick_fit(validation=validation, warm_start=False, refine=True)
    assert same(snapshot(plain.model), snapshot(refined.model))
    assert len(refined.history.validation) == len(plain.history.validation) + 1


@pytest.mark.parametrize("refine", [1, 0.0, "yes", None])
def test_flags_that_are_none(refine):
    with pytest.raises(ValueError, match="refine"):
        quick_fit(refine=refine)


def residuals(model, guide, z_noise, segments):
    """r at states of the tube, of one segment, by network."""
    bound, drift = model.bind(), model.drift._modules["net"]
    batch = segments.gather([(0, 0)])
    moments = guide.path_marginals(batch, bound).at_times
    z = moments.mean + moments.cov.sqrt() * z_noise
    missed = linear_drift(moments, z, bound.diffusion) - drift(z, batch.times)
    return drift.split(missed)


def test_last_weights_solve_least_squares():
    """Each point's own against numpy's, from the same states."""
    torch.manual_seed(3)
    features = torch.randn(40, 3, 4, dtype=torch.float64)
    missed = torch.randn(40, 3, 2, dtype=torch.float64)
    own, shared = _Normal(), _Normal()
    for part in (slice(0, 15), slice(15, 40)):
        own.add(features[part], missed[part], local=True)
        shared.add(features[part], missed[part], local=False)
    for j in range(3):
        expected = np.linalg.lstsq(features[:, j].numpy(), missed[:, j].numpy(), rcond=None)[0]
        np.testing.assert_allclose(own.solve()[j], expected, atol=1e-5)
    both = features.flatten(0, 1).numpy(), missed.flatten(0, 1).numpy()
    np.testing.assert_allclose(shared.solve(), np.linalg.lstsq(*both, rcond=None)[0], atol=1e-5)


@pytest.mark.parametrize("local", [False, True])
def test_what_is_missed_becomes_less(local):
    """On draws of the tube that the solution has not seen."""
    model = multiscale(60, NUM_COARSE, n_eta=2, local=local, seed=0)
    guide = AmortizedGP(model, seed=0)
    noise = torch.randn(1, 64, model.num_latent, generator=torch.Generator().manual_seed(1))

    @torch.no_grad()
    def size():
        missed = residuals(model, guide, noise, travelling_wave())
        return {name: float(r.square().mean().sqrt()) for name, r in missed.items()}

    before = size()
    assert refine_drift(model, guide, travelling_wave())
    after = size()
    # what is left is what the features cannot say, B times the draws' part that they do not see
    assert after["macro"] < 0.5 * before["macro"]
    assert after["micro"] < 0.7 * before["micro"]
