"""Weak-form regression against the systems that made the data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from problems import NUM_POINTS, same, snapshot, tiny_grid, tiny_model, tiny_segments
from pyro.distributions import Normal
from scipy.integrate import solve_ivp
from torch.testing import assert_close

from pyro_msde import Trajectories, fit
from pyro_msde.data import Segments
from pyro_msde.datasets.kdv import generate
from pyro_msde.datasets.ks import KS
from pyro_msde.guides import AmortizedGP
from pyro_msde.inference import weak_form_start as warm_start
from pyro_msde.inference.trainer import Trainer
from pyro_msde.inference.weak_form_start import start_macroscale_drift, weak_form_regression
from pyro_msde.models import kdv, ks, multiscale
from pyro_msde.networks import MLP, MultiscaleDrift, PolynomialMLP
from pyro_msde.priors import bayesian

QUICK = {"length": 8, "stride": 1, "num_nodes": 9, "progress": False}

# Lorenz 1963: ds/dt = A s + sᵀ Q s, of three outputs at one point
A = np.array([[-10.0, 10.0, 0.0], [28.0, -1.0, 0.0], [0.0, 0.0, -8 / 3]])
Q = np.zeros((3, 3, 3))
Q[1, 0, 2] = Q[1, 2, 0] = -0.5
Q[2, 0, 1] = Q[2, 1, 0] = 0.5


def lorenz(times, seed):
    start = np.random.default_rng(seed).normal([0, 0, 25], 5)

    def f(_, s):
        return A @ s + np.einsum("kij,i,j->k", Q, s, s)

    return solve_ivp(f, (0, times[-1]), start, t_eval=times, rtol=1e-10, atol=1e-10).y.T


def lorenz_data(count, *, noise=0.0):
    """Irregular times, different lengths; (time, point, 3)."""
    rng = np.random.default_rng(0)
    times, states = [], []
    for k in range(count):
        t = np.cumsum(rng.uniform(5e-4, 1.5e-3, 1500 + 100 * k))
        s = lorenz(t - t[0], k)
        times.append(torch.as_tensor(t))
        states.append(torch.as_tensor(s + noise * rng.standard_normal(s.shape))[:, None])
    return times, states


@pytest.mark.parametrize("count", [1, 2, 6])
def test_recovers_a_quadratic_system(count):
    """To what shrinking by 1e-9 leaves: one trajectory determines the small coefficients badly."""
    times, states = lorenz_data(count)
    linear, quadratic = next(weak_form_regression(times, states, states, num_windows=100))
    np.testing.assert_allclose(linear, A, atol=0.05)
    np.testing.assert_allclose(quadratic, Q, atol=0.005)


def test_what_the_data_do_not_determine_decays():
    """Two outputs that oscillate, one twice the other: what they differ by is never seen."""
    t, both = torch.linspace(0, 1, 201, dtype=torch.float64), torch.tensor([1.0, 2.0]).double()
    angles = [20 * t[:, None, None] + k for k in range(6)]
    states = [a.cos() * both for a in angles]
    inputs = [torch.cat([s, a.sin()], -1) for s, a in zip(states, angles, strict=True)]
    linear, _ = next(weak_form_regression([t] * 6, states, inputs, num_windows=20))
    np.testing.assert_allclose(linear[:, :2] @ both, 0, atol=0.05)
    np.testing.assert_allclose(linear[:, 2], -20 * both, rtol=1e-3)
    rates = torch.linalg.eigvals(linear[:, :2]).real.sort().values
    np.testing.assert_allclose(rates, [-500, 0], rtol=0.01, atol=0.05)


def test_noise_is_averaged_out():
    """Noise of 0.05; finite differences of neighbours would err by 70 in ds/dt."""
    times, states = lorenz_data(6, noise=0.05)
    linear, quadratic = next(weak_form_regression(times, states, states, num_windows=100))
    np.testing.assert_allclose(linear, A, atol=1.0)
    np.testing.assert_allclose(quadratic, Q, atol=0.05)


def test_nothing_is_found_in_noise():
    """A random walk, and inputs it does not depend on. None is found with any of 20 seeds."""
    generator = torch.Generator().manual_seed(0)
    times = [torch.linspace(0, 1, 200, dtype=torch.float64) for _ in range(5)]
    noise = torch.randn(5, 200, 3, 5, generator=generator, dtype=torch.float64)
    states, inputs = list(noise[..., :1].cumsum(1)), list(noise[..., 1:])
    assert not list(weak_form_regression(times, states, inputs, num_windows=100))


def test_one_window_is_too_few_to_choose_by():
    times, states = lorenz_data(1)
    few = [times[0][:17]], [states[0][:17]]
    assert not list(weak_form_regression(*few, few[1], num_windows=20))


def advected(amplitudes, times, rng, noise=0.01):
    """(time, x): waves of u_t + .7 u_x = 0 with period 1, and noise."""
    x = np.arange(NUM_POINTS) / NUM_POINTS
    u = noise * rng.standard_normal((len(times), NUM_POINTS))
    for k, amplitude in enumerate(amplitudes, start=1):
        angle = 2 * np.pi * k * (x - 0.7 * times[:, None]) + rng.uniform(0, 2 * np.pi)
        u += amplitude * np.cos(angle)
    return u.astype(np.float32)


def resolved_data(count):
    """Both waves that five coarse points resolve."""
    rng = np.random.default_rng(0)
    times = [0.02 * np.arange(60 + k) for k in range(count)]
    return Trajectories(times, [advected(rng.normal(1, 0.2, 2), t, rng) for t in times])


def wide_model(n_eta=0, num_covariates=0):
    """The stencil is the whole coarse grid."""
    grid, inputs = tiny_grid(), 5 + num_covariates + n_eta
    micro = PolynomialMLP([5 + num_covariates + n_eta, 7, n_eta], 3) if n_eta else None
    macro = PolynomialMLP([inputs, 7, 1], inputs, reluctant=True)
    drift = MultiscaleDrift(grid, n_eta, macro, micro, half_width=2)
    return tiny_model(n_eta, drift=drift, num_covariates=num_covariates)


def narrow_model():
    """The stencil is a point and its two neighbours; the drift is zero."""
    macro = PolynomialMLP([3, 7, 1], 3, reluctant=True)
    return tiny_model(0, drift=MultiscaleDrift(tiny_grid(), 0, macro, None, half_width=1))


def built():
    torch.manual_seed(3)
    model = wide_model()
    return model, AmortizedGP(model)


def test_drift_of_a_model_starts_at_the_equation_its_data_obey():
    """u_t = −.7 u_x for each wave. Noise of 1 % a point."""
    data, model = resolved_data(5), wide_model()
    assert start_macroscale_drift(model, tiny_segments(data))
    for k in (1, 2):
        angle = 2 * torch.pi * k * torch.arange(5) / 5
        with torch.no_grad():
            drift = model.drift.net
            slope = drift.macro.linear(drift.neighbourhoods(angle.sin()[None, None]))[0, 0, :, 0]
        expected = -0.7 * 2 * torch.pi * k * angle.cos() * data.horizon
        assert_close(slope, expected, rtol=0, atol=0.02 * float(expected.abs().max()))


def test_a_drift_that_coarse_points_do_not_determine_stays_at_zero():
    """Waves above the Nyquist frequency pass for slow ones, at another speed."""
    rng = np.random.default_rng(0)
    times = [0.02 * np.arange(n) for n in (60, 61, 62, 63, 64)]
    values = [advected(rng.normal(0, 1, 8), t, rng) for t in times]
    model = narrow_model()
    before = snapshot(model)
    assert not start_macroscale_drift(model, tiny_segments(Trajectories(times, values)))
    assert same(before, snapshot(model))


class Decaying(MultiscaleDrift):
    """γ(z) = learned(z) − 3 z."""

    def forward(self, z, t, covariates=None):
        return super().forward(z, t, covariates) - 3 * z


def test_leaves_alone_what_is_trained_random_or_of_another_kind():
    segments = tiny_segments()
    trained = narrow_model()
    with torch.no_grad():
        trained.drift.net.macro.linear.weight.fill_(1.0)
    random = narrow_model()
    bayesian(random.drift, Normal(0.0, 1.0))
    smoothed = narrow_model()
    bayesian(smoothed.kernel, Normal(0.0, 1.0))
    grid = trained.grid
    other = tiny_model(0, drift=MultiscaleDrift(grid, 0, MLP([3, 7, 1]), None, half_width=1))
    beside_microscale = tiny_model(2)
    driven = narrow_model()  # by known physics: the regression would count them twice
    driven.drift.net.__class__ = Decaying
    for model in (trained, random, smoothed, other, beside_microscale, driven):
        before = snapshot(model)
        assert not start_macroscale_drift(model, segments)
        assert same(before, snapshot(model))


def test_the_fit_that_forecasts_best_is_taken(monkeypatch):
    """Wherever it comes; the one that fits increments best may be unstable."""
    none = torch.zeros(1, 3, 3, dtype=torch.float64)
    growth = 50 * torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)
    # u_t = −.7 u_x by central differences of five points, in horizons
    data = resolved_data(5)
    slope = -0.7 * data.horizon * 2.5 * torch.tensor([[-1.0, 0.0, 1.0]], dtype=torch.float64)
    monkeypatch.setattr(
        warm_start,
        "weak_form_regression",
        lambda *_, **__: [(growth, none), (0.9 * slope, none), (slope, none), (0.8 * slope, none)],
    )
    monkeypatch.setattr(warm_start, "_TOLERANCE", 0.9)  # five points make a poor scheme
    model = narrow_model()
    assert start_macroscale_drift(model, tiny_segments(data))
    assert_close(model.drift.net.macro.linear.weight.data[0, :3], slope[0].float())


def test_a_fit_that_forecasts_training_trajectories_badly_is_undone(monkeypatch):
    growth = 50 * torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64)
    found = growth, torch.zeros(1, 3, 3, dtype=torch.float64)
    monkeypatch.setattr(warm_start, "weak_form_regression", lambda *_, **__: [found] * 2)
    model = narrow_model()
    before = snapshot(model)
    assert not start_macroscale_drift(model, tiny_segments())
    assert same(before, snapshot(model))


def test_only_the_macroscale_drifts_polynomial_changes():
    model = wide_model(num_covariates=1)
    before = snapshot(model)
    covariates = torch.tensor([[0.1], [0.2], [0.3]])
    assert start_macroscale_drift(model, tiny_segments(resolved_data(3), covariates=covariates))
    changed = {k for k, v in snapshot(model).items() if not torch.equal(v, before[k])}
    paths = ("linear", "factors", "output")
    assert changed == {f"drift.net.macro.{path}.weight" for path in paths}


def test_fit_starts_there_without_annealing_and_leaves_the_random_state_alone(monkeypatch):
    annealed, step = [], Trainer.one_step

    def one_step(trainer):
        annealed.append(trainer.anneal)
        return step(trainer)

    monkeypatch.setattr(Trainer, "one_step", one_step)
    pairs = [(model, AmortizedGP(model)) for model in (wide_model(), wide_model())]
    before = torch.get_rng_state()
    for pair, wanted in zip(pairs, (True, False), strict=True):
        fit(*pair, resolved_data(2), steps=1, learning_rate=0.0, warm_start=wanted, **QUICK)
    assert [model.drift.net.macro.has_polynomial for model, _ in pairs] == [True, False]
    assert annealed == [0, 2000]
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("same_objects", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(same_objects, monkeypatch, tmp_path):
    """Also with the very model that has started and trained already."""
    data, whole, pair = resolved_data(2), built(), built()
    fit(*whole, data, steps=4, **QUICK)
    assert whole[0].drift.net.macro.has_polynomial
    step = Trainer.one_step

    def until_second(trainer):
        if trainer.step == 2:
            raise KeyboardInterrupt
        return step(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "one_step", until_second)
        assert fit(*pair, data, steps=4, checkpoint=tmp_path, **QUICK).training.interrupted
    again = pair if same_objects else built()
    result = fit(*again, data, steps=4, checkpoint=tmp_path, **QUICK)
    assert result.steps == 4
    for first, second in zip(whole, again, strict=True):
        assert same(snapshot(first), snapshot(second))


def kdv_segments(split):
    """8 trajectories of a split, seed 7."""
    u = generate(split, 8, horizon=1.0, seed=7).u.values
    scale = np.float32(np.sqrt(np.square(u).mean()))
    times = torch.arange(1001, dtype=torch.float64) / 1000
    return Segments(
        [times] * 8, [torch.as_tensor(v[:, None] / scale) for v in u], length=64, stride=4
    )


@pytest.mark.slow
def test_kdv_starts_there_where_the_coarse_grid_resolves_it():
    """What docs/method.md says of 50 coarse points on the hard split and of 5."""
    segments = kdv_segments("hard")
    assert start_macroscale_drift(kdv(0, n_coarse=50), segments)
    assert not start_macroscale_drift(kdv(0, n_coarse=5), segments)


@pytest.mark.slow
def test_a_chaotic_case_starts_there_with_a_fit_that_is_stable():
    """Kuramoto–Sivashinsky: what predicts increments best blows up."""
    u = KS.generate("published", 8, horizon=50.0, seed=7).u.values
    scale = np.float32(np.sqrt(np.square(u).mean()))
    times = torch.linspace(0, 1, 201, dtype=torch.float64)
    values = [torch.as_tensor(v[:, None] / scale) for v in u]
    model = ks(0)
    assert start_macroscale_drift(model, Segments([times] * 8, values, length=64))


def test_states_that_are_not_known_are_left_out():
    """A second point, with nonsense instead of its states for a while."""
    times, states = lorenz_data(2)
    rng = np.random.default_rng(1)
    both = [torch.cat([s, s.flip(0)], 1) for s in states]  # backwards another system holds
    usable = [torch.ones(s.shape[:2], dtype=torch.bool) for s in both]
    for s, good in zip(both, usable, strict=True):
        good[:, 1] = False
        good[700:720, 0] = False
        s[700:720, 0] += 20 * torch.as_tensor(rng.standard_normal((20, 3)))
    linear, quadratic = next(weak_form_regression(times, both, both, usable, num_windows=100))
    np.testing.assert_allclose(linear, A, atol=0.05)
    np.testing.assert_allclose(quadratic, Q, atol=0.005)


def test_only_points_that_see_what_was_not_observed_are_left_out(monkeypatch):
    """Wherever they are told to be, and whatever sign neighbours have beyond a wall."""
    found = []
    monkeypatch.setattr(
        warm_start, "weak_form_regression", lambda t, s, x, usable, **_: found.extend(usable) or []
    )
    model = multiscale(
        (32,),
        (8,),
        boundary=[("neumann", "antisymmetric")],
        half_width=1,
        located=True,
        smoothing="gaussian",
        radius=1,
    )
    values = np.random.default_rng(0).standard_normal((2, 20, 32))
    values[:, :, 8:16] = np.nan  # around the coarse points 2 and 3
    data = Trajectories(0.05 * np.arange(20), values, missing="mask")
    fit(model, AmortizedGP(model), data, steps=1, **QUICK)
    assert [set(u.all(0).nonzero().flatten().tolist()) for u in found] == [{0, 5, 6, 7}] * 2
