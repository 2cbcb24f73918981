"""A linear inverse model as the start of a drift, against systems whose answers are known."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from forced import END, GAIN, RATE, forced_data
from rotating_paths import APART, A, C, rotating_paths
from scipy.linalg import expm, solve_continuous_lyapunov, solve_discrete_lyapunov
from torch.testing import assert_close

import pyro_msde
from pyro_msde import Trajectories
from pyro_msde.data import Segments
from pyro_msde.guides import AmortizedGP
from pyro_msde.inference import Trainer
from pyro_msde.inference.linear_inverse import (
    Learned,
    LinearInverse,
    _built_up,
    pairs,
    stable_generator,
)
from pyro_msde.inference.linear_inverse_choice import linear_inverse_model
from pyro_msde.inference.linear_start import start_linear_path
from pyro_msde.models import multiscale
from pyro_msde.networks import ModalPath
from pyro_msde.priors import bayesian, fan_in_normal
from pyro_msde.runs import Recipe
from pyro_msde.sde import covariance

POINTS = 16


def rows():
    """(2, point) orthonormal, smooth on a ring."""
    x = 2 * np.pi * np.arange(POINTS) / POINTS
    return np.array([np.cos(x), np.sin(x)]) * (2 / POINTS) ** 0.5


def simulated(count, rng, trajectories=1):
    """Fields (trajectory, time, 1, point) of dz = A z dt + √C dβ in two modes, about a mean."""
    mean = 0.3 * np.cos(4 * np.pi * np.arange(POINTS) / POINTS)
    return (rotating_paths(count, rng, trajectories) @ rows() + mean)[:, :, None], mean


def segments(fields, **options):
    clock = torch.arange(fields.shape[1], dtype=torch.float64) * APART
    values = [torch.as_tensor(f, dtype=torch.float32) for f in fields]
    return Segments([clock] * len(fields), values, **{"length": 16, **options})


def model(**options):
    return multiscale(POINTS, POINTS, **{"modes": 5, **options})


def noise_of(fitted):
    """C (n_ζ, n_ζ) of a model without microscale states."""
    bound = fitted.bind({})
    return covariance(bound.diffusion, bound.noise_axes).detach().double().numpy()


def test_a_damped_rotation_and_its_noise_are_found():
    """Of 20 000 snapshots: rates to a few per cent, as 1/√(20 000 × .02 × 4) = .025."""
    fields, mean = simulated(20_000, np.random.default_rng(0))
    fitted = model()
    assert start_linear_path(fitted, segments(fields))
    path = fitted.drift._modules["net"].path
    assert path.started
    V = path.modes[:2].double().numpy()
    np.testing.assert_allclose(V.T @ V, rows().T @ rows(), atol=0.02)  # of S, κ lets .99 pass
    turned = V.T @ path.linear[:2, :2].detach().double().numpy() @ V
    np.testing.assert_allclose(turned, rows().T @ A @ rows(), atol=0.15)  # of entries up to .75
    np.testing.assert_allclose(path.mean.numpy(), mean, atol=0.05)
    found, wanted = noise_of(fitted), rows().T @ C @ rows()
    np.testing.assert_allclose(found, wanted, atol=0.1 * np.diag(wanted).max())
    assert np.linalg.matrix_rank(found, tol=0.02 * np.diag(wanted).max()) == 2


def test_forecasts_of_the_start_are_the_linear_models():
    """Before any training, by the matrix exponential."""
    fields, _ = simulated(4000, np.random.default_rng(1))
    data = Trajectories(np.arange(4000) * APART, fields[:, :, 0])
    fitted = multiscale.like(data, coarse=POINTS, boundary="periodic")
    options = {"steps": 0, "progress": False, "jackknife": False, "reference": None}
    fit = pyro_msde.fit(fitted, AmortizedGP(fitted), data, **options)
    path = fit.model.drift._modules["net"].path
    assert path.started
    y0, lead = data.values[0][100], 0.1
    fc = fit.without("memory", "region").predict(y0, [lead], t0=0.0, num_samples=4000)
    z0 = fit.predict(y0, [0.0], num_samples=4000).paths[..., 0, :].double().mean((0, 1))[0]
    V, m = path.modes.double(), path.mean.double()
    rest = path.rates.double()[:, None] * (torch.eye(POINTS) - V.T @ V)
    generator = (V.T @ path.linear.detach().double() @ V - rest).numpy()
    away = z0 - m
    expected = m + torch.as_tensor(expm(generator * lead / fit.scaling.time)) @ away
    found = fc.paths[..., 0, :].double().mean((0, 1))[0]
    sd = float(fc.paths.double().std(1).max()) / 4000**0.5
    assert (found - expected).abs().max() < 5 * sd + 0.01


def test_smooth_paths_are_left_to_other_starts():
    t = np.arange(400) * APART
    fields = (np.stack([np.cos(3 * t), np.sin(3 * t)], -1) @ rows())[None, :, None]
    assert not start_linear_path(model(), segments(fields))


def test_random_walks_start_at_persistence():
    """Of pairs up to 16 of 400 steps apart at 16 points a mean square has an sd of 7 % at most.

    It is a tenth too large beside: quarters of a walk have other means.
    """
    rng = np.random.default_rng(2)
    fields = 0.2 * rng.standard_normal((1, 400, 1, POINTS)).cumsum(1)
    fitted, data = model(), segments(fields)
    assert start_linear_path(fitted, data)
    path = fitted.drift._modules["net"].path
    horizon = 399 * APART
    assert float(path.rates.max()) * horizon < 15  # of 400 snapshots it keeps .96 in one
    diffusion = fitted.bind({}).diffusion.detach().double().numpy()
    assert diffusion.mean() * APART == pytest.approx(0.044, rel=0.2)


def test_white_noise_starts_at_climatology():
    fields = np.random.default_rng(7).standard_normal((1, 300, 1, POINTS))
    fitted = model()
    assert start_linear_path(fitted, segments(fields))
    path = fitted.drift._modules["net"].path
    zeta = torch.randn(5, POINTS)
    kept = torch.as_tensor(expm(-np.diag(path.rates.numpy()) * APART)).to(zeta)
    assert not path.modes.any()
    assert float(kept.diagonal().max()) < 0.1


def test_states_may_forget_at_rates_of_their_own():
    """Of a record of length T a rate of r is known to √(2 r / T), 16 % of the smaller one."""
    rng = np.random.default_rng(9)
    rates = np.where(np.arange(POINTS) < POINTS // 2, 0.5, 5.0)
    keep = np.exp(-rates * APART)
    z = rng.standard_normal((8000, POINTS))
    for i in range(1, len(z)):
        z[i] = keep * z[i - 1] + np.sqrt(1 - keep**2) * z[i]
    horizon = 8000 * APART
    found = linear_inverse_model([(np.arange(8000) / 8000, z, np.zeros((8000, 0)))], most=0)
    sd = np.sqrt(2 * rates / horizon)
    assert np.all(np.abs(found.rates / horizon - rates) < 5 * sd)
    np.testing.assert_allclose(found.diffusion() / horizon, 2 * rates, rtol=0.1)


def test_validation_data_judge_beside_quarters():
    """Where large fields stand still nothing is better than persistence."""
    rng = np.random.default_rng(3)
    fields, _ = simulated(900, rng)
    found = []
    for judge in (30 * fields[:, -1:].repeat(30, 1), simulated(200, rng, 3)[0]):
        fitted = model()
        assert start_linear_path(fitted, segments(fields), segments(judge, length=2))
        path = fitted.drift._modules["net"].path
        found.append(float(path.rates.max()))
    assert found[0] < found[1]


def test_a_snapshot_that_is_missing_changes_little():
    """Pairs about it are left out, and no lag for it."""
    fields, _ = simulated(900, np.random.default_rng(8))
    times = np.arange(900) * APART
    kept = np.delete(np.arange(900), 450)
    none = np.zeros((900, 0))  # controls
    record = [(times, fields[0, :, 0], none)], [(times[kept], fields[0, kept, 0], none[1:])]
    assert all(linear_inverse_model(r) is not None for r in record)
    for lag in (1, 2, 4):
        whole, gappy = (LinearInverse.of(Learned.of(r), lag, 2, 0.0) for r in record)
        np.testing.assert_allclose(gappy.A, whole.A, atol=0.2)  # of entries up to 6


def test_what_controls_do_is_found_and_is_no_noise():
    """Of 40 trajectories of 100 snapshots, whose controls differ; without them C is too large.

    They start elsewhere than where they stay, which the balance takes for a part of the noise.
    """
    noise = 2.0
    data = forced_data(40, seed=0, points=POINTS, noise=noise)
    unit = np.mean([u.mean() for u in data.controls])
    records = [
        (t / END, v, u - unit)
        for t, v, u in zip(data.times, data.values, data.controls, strict=True)
    ]
    found = linear_inverse_model(records, most=5)
    assert found is not None
    # all points are driven alike, so that the leading mode is their mean; times are in horizons
    push = (found.modes.T @ found.B)[:, 0] / END
    np.testing.assert_allclose(push.mean(), GAIN, rtol=0.1)
    rate = found.generator @ np.ones(POINTS) / END
    np.testing.assert_allclose(rate.mean(), -RATE, rtol=0.15)
    C = found.diffusion() / END
    np.testing.assert_allclose(C.mean(), noise**2, rtol=0.15)
    blind = linear_inverse_model([(t, v, u[:, :0]) for t, v, u in records], most=5)
    assert blind is None or blind.error(0.1, *_shifted(records, 10)) > 1.15 * found.error(
        0.1, *_shifted(records, 10, forced=True)
    )


def _shifted(records, lead, forced=False):
    """States now and later, and controls in between, of all records."""
    return pairs(records if forced else [(t, v, u[:, :0]) for t, v, u in records], lead)[:3]


def test_a_started_path_is_pushed_by_controls():
    path = ModalPath(5, 3, num_controls=2)
    zeta, u = torch.randn(2, 4, 5), torch.randn(2, 4, 2)
    assert (path(zeta, u) == 0).all()
    modes = torch.linalg.qr(torch.randn(5, 5)).Q[:2]
    forced = torch.randn(2, 2)
    path.start(modes, torch.zeros(5), torch.zeros(2, 2), torch.ones(5), forced)
    assert_close(path(zeta, u) - path(zeta, 0 * u), u @ forced.T @ modes, rtol=1e-4, atol=1e-5)


def test_it_needs_a_path_without_a_prior():
    fields, _ = simulated(600, np.random.default_rng(4))
    data = segments(fields)
    assert not start_linear_path(model(modes=0), data)
    random = model()
    bayesian(random.drift, fan_in_normal(1.0))
    assert not start_linear_path(random, data)
    twice = model()
    assert start_linear_path(twice, data)
    assert not start_linear_path(twice, data)


def test_a_generator_is_the_logarithm_where_there_is_one():
    found = stable_generator(expm(A * APART), APART)
    np.testing.assert_allclose(found, A, rtol=1e-9)


@pytest.mark.parametrize(
    ("eigenvalue", "expected"),
    [(-0.4, -3.0), (0.01, -3.0), (0.0, -3.0), (1.2, -0.1), (0.99, -0.1), (0.5, np.log(0.5))],
)
def test_eigenvalues_that_no_stable_generator_has_are_moved(eigenvalue, expected):
    found = stable_generator(np.diag([eigenvalue, 0.6]), 0.1)
    np.testing.assert_allclose(found * 0.1, np.diag([expected, np.log(0.6)]), atol=1e-12)


def test_matrices_without_eigenvectors_have_none():
    assert stable_generator(np.array([[0.5, 1.0], [0.0, 0.5]]), 0.1) is None


def test_a_large_ridge_leaves_damped_persistence_or_a_random_walk():
    fields, _ = simulated(900, np.random.default_rng(21))
    record = [(np.arange(900) / 899, fields[0, :, 0], np.zeros((900, 0)))]
    learned, tau = Learned.of(record), 1 / 899
    away = fields[0, :, 0] - fields[0, :, 0].mean(0)
    a = away @ learned.modes[:2].T
    each = (a[1:] * a[:-1]).sum(0) / np.square(a[:-1]).sum(0)
    common = (a[1:] * a[:-1]).sum() / np.square(a[:-1]).sum()
    for decay, kept in (("own", each), ("common", [common] * 2), ("none", [np.exp(-tau)] * 2)):
        law = LinearInverse.of(learned, 1, 2, 1e9, decay)
        np.testing.assert_allclose(expm(law.A * tau), np.diag(kept), atol=1e-6)


def test_variance_that_errors_build_up_is_scipys():
    rng = np.random.default_rng(22)
    M = rng.standard_normal((7, 7))
    M *= 0.99 / np.abs(np.linalg.eigvals(M)).max()
    S = rng.standard_normal((7, 7))
    np.testing.assert_allclose(_built_up(M, S @ S.T), solve_discrete_lyapunov(M, S @ S.T))


def test_noise_is_found_of_records_that_are_not_stationary():
    """400 trajectories from far outside, decaying at rate 2 with C = 9: to five per cent.

    Errors of 8000 pairs tell C to 1.6 per cent, and the rate much better than that.
    """
    rng = np.random.default_rng(23)
    step, count = 0.05, 21
    kept = np.exp(-2 * step)
    z = [20 + rng.standard_normal((400, 1))]
    for _ in range(count - 1):
        kick = rng.standard_normal((400, 1))
        z.append(kept * z[-1] + np.sqrt(9 * (1 - kept**2) / 4) * kick)
    records = [(np.arange(count) * step, x, np.zeros((count, 0))) for x in np.stack(z, 1)]
    law = LinearInverse.of(Learned(records, np.zeros(1), np.ones((1, 1))), 1, 1, 0.0)
    np.testing.assert_allclose(law.A, -2, rtol=0.02)
    np.testing.assert_allclose(law.diffusion(), 9, rtol=0.05)


def test_what_is_forgotten_does_not_turn():
    """Of a pair of eigenvalues below e⁻³ the angle is sampling alone."""
    turn = 0.01 * np.array([[np.cos(2), -np.sin(2)], [np.sin(2), np.cos(2)]])
    np.testing.assert_allclose(stable_generator(turn, 0.1), -30 * np.eye(2), atol=1e-9)
    assert stable_generator(np.full((2, 2), np.nan), 0.1) is None


def test_the_path_is_zero_until_it_is_started_and_then_linear():
    path = ModalPath(5, 3)
    zeta = torch.randn(2, 4, 5)
    assert not path.started
    assert (path(zeta) == 0).all()
    modes = torch.linalg.qr(torch.randn(5, 5)).Q[:2]
    linear, mean = torch.tensor([[-1.0, 0.5], [0.2, -2.0]]), torch.randn(5)
    rates = torch.rand(5) + 1
    path.start(modes, mean, linear, rates)
    away = zeta - mean
    rest = away - away @ modes.T @ modes
    assert_close(path(zeta), away @ modes.T @ linear.T @ modes - rates * rest, rtol=1e-4, atol=1e-5)


def test_a_fit_with_a_started_path_validates_its_start_and_loads(tmp_path):
    fields, _ = simulated(700, np.random.default_rng(5))
    data = Trajectories(np.arange(500) * APART, fields[:, :500, 0])
    held = Trajectories(np.arange(100) * APART, fields[:, 600:, 0])
    fitted = multiscale.like(data, coarse=POINTS, boundary="periodic")
    guide = AmortizedGP(fitted)
    options = {"steps": 2, "validate_every": 2, "progress": False, "checkpoint": tmp_path}
    fit = pyro_msde.fit(fitted, guide, data, validation=held, **options)
    assert fit.history.validation_steps == [0, 2]
    loaded = pyro_msde.load(tmp_path)
    y0 = held.values[0][0]
    assert_close(loaded.predict(y0, [0.1]).mean, fit.predict(y0, [0.1]).mean)


def test_noise_grows_by_what_errors_are_larger_on_other_data():
    """A record of 60 correlation times is known, one of 2 is not: its own mean is too near."""
    rng = np.random.default_rng(11)
    found = []
    for count in (4000, 40):
        fields, _ = simulated(count, rng)
        record = np.linspace(0, 1, count), fields[0, :, 0], np.zeros((count, 0))
        law = linear_inverse_model([record], most=2)
        found.append(law.optimism)
        np.testing.assert_allclose(
            law.diffusion(), law.optimism * replace(law, optimism=1.0).diffusion()
        )
    assert 1 <= found[0] < 1.05
    assert found[1] > 1.05


def test_forecasts_of_the_start_spread_as_the_record_does():
    """Late draws have the two modes' variances, S; noise spread over 16 points had an eighth.

    Of 400 correlation times S is known to 1/√200 = 7 % and of 500 draws to 6 %: 4 × 9 %.
    """
    fields, _ = simulated(4000, np.random.default_rng(12))
    data = Trajectories(np.arange(4000) * APART, fields[:, :, 0])
    fitted = multiscale.like(data, coarse=POINTS, boundary="periodic")
    options = {"steps": 0, "progress": False, "jackknife": False, "reference": None}
    fit = pyro_msde.fit(fitted, AmortizedGP(fitted), data, **options)
    forecast = fit.predict(data.values[0][0], [0.0, 2.0], num_samples=500)
    ((_, draws),) = forecast.chunks()
    modes = np.asarray(draws)[:, 1].reshape(500, POINTS) @ rows().T
    found, wanted = np.cov(modes.T), solve_continuous_lyapunov(A, -C)
    size = np.sqrt(np.outer(np.diag(wanted), np.diag(wanted)))
    assert (np.abs(found - wanted) < 0.36 * size).all()


def test_noise_that_goes_together_is_saved_and_loaded(tmp_path):
    fields, _ = simulated(700, np.random.default_rng(5))
    data = Trajectories(np.arange(700) * APART, fields[:, :, 0])
    fitted = multiscale.like(data, coarse=POINTS, boundary="periodic")
    options = {"steps": 3, "progress": False, "checkpoint": tmp_path}
    fit = pyro_msde.fit(fitted, AmortizedGP(fitted), data, **options)
    np.testing.assert_array_equal(noise_of(pyro_msde.load(tmp_path).model), noise_of(fit.model))
    idata = fit.to_arviz(data[:1])
    sd = idata.posterior["diffusion_sd_zeta"].isel(chain=0, draw=0).values
    wanted = np.sqrt(np.diag(noise_of(fit.model)) / fit.scaling.time) * fit.scaling.channels[0]
    np.testing.assert_allclose(sd, wanted * fit.diffusion_scale, rtol=1e-5)
    assert "e^-1," in idata.posterior["time_kernel_lengthscale"].attrs["long_name"]
    saved = pyro_msde.load(tmp_path)
    saved.model.noise_axes.axes.mul_(1.1)
    saved.save(tmp_path / "damaged")
    with pytest.raises(pyro_msde.SavedRunError, match="noise_axes"):
        pyro_msde.load(tmp_path / "damaged")


def test_independent_noise_is_hardly_said_to_go_together():
    """Correlations of 25 pairs are .2 by chance alone, and drawn to less than half of that."""
    rng = np.random.default_rng(13)
    record = np.linspace(0, 1, 26), rng.standard_normal((26, POINTS)), np.zeros((26, 0))
    law = linear_inverse_model([record], most=0)
    others = law.correlation()[~np.eye(POINTS, dtype=bool)]
    assert np.square(others).mean() < 0.1**2


def test_fewer_modes_and_none_at_all():
    assert model(modes=100).drift._modules["net"].path.modes.shape == (POINTS, POINTS)
    assert model(modes=0).drift._modules["net"].path is None
    assert "modes" not in model(modes=0).config
    with pytest.raises(ValueError, match="modes"):
        model(modes=-1)


class Stop(pyro_msde.Callback):
    """Asks for the end before the first step."""

    def start(self, view):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_run_that_was_stopped_before_its_first_step_validates_its_start_once(tmp_path):
    fields, _ = simulated(700, np.random.default_rng(5))
    data = Trajectories(np.arange(500) * APART, fields[:, :500, 0])
    held = Trajectories(np.arange(100) * APART, fields[:, 600:, 0])
    options = {"steps": 2, "validate_every": 2, "progress": False, "jackknife": False}

    def run(callbacks=()):
        fitted = multiscale.like(data, coarse=POINTS, boundary="periodic")
        guide, known = AmortizedGP(fitted), {"validation": held, "checkpoint": tmp_path}
        return pyro_msde.fit(fitted, guide, data, callbacks=callbacks, **known, **options)

    assert run([Stop()]).history.validation_steps == [0]
    assert run().history.validation_steps == [0, 2]


@pytest.mark.parametrize("land", [0, 6])
def test_land_is_nothing_that_was_filled_in(land):
    """Points that are never observed do not keep a drift from its start."""
    fields, _ = simulated(700, np.random.default_rng(6))
    values = fields[:, :, 0].copy()
    values[..., :land] = np.nan
    data = Trajectories(np.arange(700) * APART, values, missing="mask")
    fitted = multiscale.like(data, coarse=POINTS, boundary="periodic")
    options = {"steps": 0, "progress": False, "jackknife": False}
    fit = pyro_msde.fit(fitted, AmortizedGP(fitted), data, **options)
    assert fit.model.drift._modules["net"].path.started


@pytest.mark.parametrize(("modes", "beta"), [(5, None), (5, 3.0), (0, None)])
def test_noisy_paths_are_trained_by_the_elbo_itself(modes, beta):
    """Unless β is given; without a linear start β is the number of points, as of smooth paths."""
    fields, _ = simulated(200, np.random.default_rng(14))
    clock = torch.arange(200, dtype=torch.float64) / 199
    recipe = Recipe(length=16, stride=1, beta=beta)
    noisy = model(modes=modes)
    values = [torch.as_tensor(fields[0], dtype=torch.float32)]
    parts = noisy, AmortizedGP(noisy), Segments([clock], values, length=16), recipe
    trainer = Trainer(*parts, steps=2, seed=0, device=torch.device("cpu"))
    assert trainer.beta == (POINTS if beta is None else beta)
    trainer.warm_start()
    wanted = beta or (1.0 if modes else POINTS)
    assert trainer.beta == wanted
    length = float(parts[1].time_kernel.log_lengthscale.detach().exp())
    assert length == pytest.approx(2.0 if modes else 0.2)
    again = Trainer(*parts, steps=2, seed=0, device=torch.device("cpu"))
    again.restore(trainer.state())
    assert again.beta == wanted
