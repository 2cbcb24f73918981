"""Posterior predictive: moments (33)–(34), mixture, variance by source, units and layouts."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from oracles.kalman import LinearSystem
from oracles.tolerance import standard_errors
from oracles.transposed_convolution import transposed_convolution
from problems import NUM_COARSE, NUM_POINTS, tiny_data, tiny_grid, tiny_model, tiny_pair
from scipy.optimize import brentq
from scipy.stats import norm
from torch import nn
from torch.testing import assert_close

from pyro_msde import Fit, Forecast, Grid, Trajectories, fit
from pyro_msde.data import Scaling
from pyro_msde.forecasts import posterior_predictive as forecasting
from pyro_msde.guides import AmortizedGP
from pyro_msde.likelihoods import FieldNormal
from pyro_msde.models.general import BoundMultiscale
from pyro_msde.priors import bayesian, fan_in_normal
from pyro_msde.priors.parts import flatten_parameters

N_ETA = 2
SCALING = Scaling((2.0,), 3.0)


class Linear(nn.Module):
    """A bare matrix, applied to the last axis, or to a whole field with `channel`."""

    def __init__(self, matrix, channel=False):
        super().__init__()
        self.matrix = nn.Parameter(torch.as_tensor(matrix))
        self.channel = channel

    def forward(self, x, t=None, covariates=None):
        out = x @ self.matrix.mT
        return out[..., None, :] if self.channel else out


class LinearEncoder(Linear):
    def forward(self, field):
        return field[..., 0, :] @ self.matrix.mT


@pytest.fixture(scope="module")
def linear():
    """A fit whose model, encoder and decoder are linear, in float64, and its matrices."""
    rng = np.random.default_rng(4)
    n = NUM_COARSE + N_ETA
    A = rng.standard_normal((n, n)) - 1.5 * np.eye(n)
    D, E = rng.standard_normal((NUM_POINTS, N_ETA)), 0.2 * rng.standard_normal((N_ETA, NUM_POINTS))
    model = tiny_model(N_ETA, drift=Linear(A), decoder=Linear(D, channel=True)).double()
    guide = AmortizedGP(model, encoder=LinearEncoder(E)).double()
    with torch.no_grad():
        for part in (model.diffusion.net, model.var_zeta.net, model.var_eta.net):
            part.log_value.add_(torch.from_numpy(rng.normal(size=part.log_value.shape)))
        guide.node_variance.log_value.copy_(torch.from_numpy(rng.normal(-3, 1, n)))
    return Fit(model, guide, SCALING), A, D, E


def numbers(net):
    return net().detach().numpy()


def test_moments_are_those_of_the_linear_sde_in_closed_form(linear):
    result, A, D, E = linear
    model, count = result.model, 4000
    kappa, sigma = model.kernel.net.weight.detach().numpy()[0], NUM_POINTS // NUM_COARSE
    y0 = tiny_data(seed=3).values[0][0].astype(np.float64)
    smooth = sum(k * np.roll(y0 / 2, len(kappa) // 2 - i) for i, k in enumerate(kappa))
    m0 = np.concatenate([smooth[::sigma], E @ (y0 / 2 - smooth)])
    v_zeta, v_eta = (numbers(p.net)[0] for p in (model.var_zeta, model.var_eta))
    T_p = [
        sigma * transposed_convolution(e[None], kappa[None, None], sigma, (NUM_POINTS,), (True,))[0]
        for e in np.eye(NUM_COARSE)
    ]
    H = np.concatenate([np.array(T_p).T, (v_zeta / (v_zeta + v_eta))[:, None] * D], 1)
    system = LinearSystem(A, np.diag(numbers(model.diffusion.net)), H, None, m0, None)
    P0 = np.diag(numbers(result.guide.node_variance))

    times = np.array([0.3, 1.1, 2.4])
    fc = result.predict(y0, times, t0=0.0, num_samples=count, max_step=0.02, seed=1)
    allowed = standard_errors(2 * 3 * NUM_POINTS)
    sigma_y = 4 * v_zeta * v_eta / (v_zeta + v_eta)
    for i, t in enumerate(times):
        phi, noise = system.transition(t / 3.0)
        mean = 2 * H @ phi @ m0
        spread = 4 * np.diag(H @ (phi @ P0 @ phi.T + noise) @ H.T)
        error = np.abs(fc.mean[i].numpy() - mean) / np.sqrt(spread / count)
        assert error.max() < allowed
        error = np.abs(fc.propagated_var[i].numpy() / spread - 1) / np.sqrt(2 / (count - 1))
        assert error.max() < allowed
        np.testing.assert_allclose(fc.reconstruction_var[i], sigma_y, rtol=1e-12)
    assert (fc.parameter_var == 0).all()
    assert torch.equal(fc.sd, fc.var.sqrt())


def synthetic(means, var):
    """Forecast whose μ_y (θ, sample, batch, time, x) and Σ_y (θ, x) are given."""
    means, var = torch.as_tensor(means), torch.as_tensor(var)
    points = means.shape[-1]
    grid = Grid(points, points)
    as_it_is = SimpleNamespace(prolong=lambda field: field)
    thetas = [
        BoundMultiscale(grid, as_it_is, None, v.new_ones(points), None, v[None], None, FieldNormal)
        for v in var
    ]
    model = SimpleNamespace(grid=grid)
    times = np.arange(means.shape[3], dtype=np.float64)
    return Forecast(times, means, True, False, model, thetas, Scaling((1.0,), 1.0))


@pytest.fixture
def mixture():
    rng = np.random.default_rng(6)
    means = rng.standard_normal((3, 5, 2, 4, 7)) + 2 * rng.standard_normal((3, 1, 1, 1, 7))
    return synthetic(means, rng.uniform(0.01, 1.0, (3, 7))), means


def mixture_cdf(fc, means, value, b, t, x):
    sd = np.array([float(theta.var_zeta[0, x]) ** 0.5 for theta in fc.theta])[:, None]
    return norm.cdf((value - means[:, :, b, t, x]) / sd).mean()


def test_the_distribution_function_is_the_mixtures(mixture):
    fc, means = mixture
    values = np.random.default_rng(1).standard_normal((2, 4, 7)) * 2
    cdf = fc.cdf(values)
    for place in np.ndindex(2, 4, 7):
        assert cdf[place].item() == pytest.approx(
            mixture_cdf(fc, means, values[place], *place), rel=1e-12, abs=1e-14
        )


@pytest.mark.parametrize("level", [0.02, 0.5, 0.95])
def test_quantiles_are_the_mixtures_and_the_inverse_of_the_distribution_function(mixture, level):
    fc, means = mixture
    quantile = fc.quantile(level)
    width = float(means.max() - means.min() + 10) * 2.0**-24  # of the last bisection
    for place in np.ndindex(2, 4, 7):
        exact = brentq(lambda v, p=place: mixture_cdf(fc, means, v, *p) - level, -30, 30)
        assert quantile[place].item() == pytest.approx(exact, abs=width)
    # density at most 1/√(2π 0.01)
    assert_close(fc.cdf(quantile), torch.full_like(quantile, level), rtol=0, atol=4 * width)


def test_draws_are_of_the_mixture():
    rng = np.random.default_rng(3)
    means = rng.standard_normal((2, 3000, 1, 1, 5)) * 0.5
    fc = synthetic(means, np.array([[0.1] * 5, [0.4] * 5]))
    ((window, draws),) = fc.chunks(seed=2)
    assert list(fc.times[window]) == [0]
    assert draws.shape == (6000, 1, 1, 5)
    error = (draws[:, 0, 0].var(0) - fc.var[0, 0]).abs() / fc.var[0, 0]
    assert error.max() < standard_errors(5) * (2 * 1.2 / 6000) ** 0.5  # kurtosis a little above 3
    assert torch.equal(next(fc.chunks(seed=2))[1], draws)
    assert not torch.equal(next(fc.chunks(seed=3))[1], draws)


@pytest.mark.parametrize("opposite", [False, True])
def test_the_split_of_the_variance_is_unbiased_where_the_answer_is_known(opposite):
    """μ = a_θ + b with Var a = τ², Var b = s²: averaged over 9000 independent points.

    Opposite pairs have Σ a = 0 and Σ a² = K τ²: of the sum of squares over K·M − 1 they are K M τ².
    Independent draws lose one of K to their mean.
    """
    K, M, tau2, s2, points = 12, 5, 1.7, 0.6, 9000
    rng = np.random.default_rng(5)
    a = tau2**0.5 * rng.standard_normal((K, 1, 1, 1, points))
    if opposite:
        a[K // 2 :] = -a[: K // 2]
    b = s2**0.5 * rng.standard_normal((K, M, 1, 1, points))
    fc = synthetic(a + b, np.full((K, points), 0.3))
    carried = tau2 * M * (K if opposite else K - 1) / (K * M - 1)
    for value, expected in ((fc.parameter_var, carried), (fc.propagated_var, s2)):
        error = abs(value.mean().item() - expected) / (value.std().item() / points**0.5)
        assert error < standard_errors(2)
    assert torch.equal(fc.var, fc.reconstruction_var + fc.propagated_var + fc.parameter_var)


@pytest.mark.parametrize("source", ["parameters", "paths"])
def test_a_single_source_of_variance_is_found(source):
    rng = np.random.default_rng(5)
    shape = (6, 1, 1, 1, 3) if source == "parameters" else (1, 6, 1, 1, 3)
    draws = rng.standard_normal(shape)
    fc = synthetic(np.broadcast_to(draws, (6, 6, 1, 1, 3)).copy(), np.full((6, 3), 0.3))
    spread = draws.reshape(6, 3)
    if source == "paths":  # the same for all θ
        assert (fc.parameter_var == 0).all()
        expected = spread.var(0) * 36 / 35
        assert_close(fc.propagated_var[0, 0], torch.from_numpy(expected))
    else:  # ΣΣ(a − ā)²/35 = 6·5/35 of the variance between θ
        expected = torch.from_numpy(spread.var(0, ddof=1) * 30 / 35)
        assert_close(fc.parameter_var[0, 0], expected)
        assert_close(fc.propagated_var[0, 0], torch.zeros(3).double(), rtol=0, atol=1e-14)


def test_the_reconstruction_variance_is_averaged_over_theta():
    fc = synthetic(np.zeros((2, 3, 1, 4, 5)), np.array([[0.1] * 5, [0.5] * 5]))
    assert_close(fc.reconstruction_var, torch.full((1, 4, 5), 0.3).double())


# chunks, layouts, units


@pytest.fixture(scope="module")
def result():
    return fit(*tiny_pair(N_ETA), tiny_data(), steps=3, length=5, stride=1, progress=False)


@pytest.fixture(scope="module")
def snapshots():
    return np.stack([v[0] for v in tiny_data(seed=3).values])


def ask(result, y0, times=(0.0, 0.1, 0.25), **options):
    return result.predict(y0, times, **{"num_samples": 6, "max_step": 0.05, **options})


def test_chunks_of_time_change_nothing(result, snapshots, monkeypatch):
    results = []
    for chunk in (2**24, 1):
        monkeypatch.setattr(forecasting, "_CHUNK", chunk)
        fc = ask(result, snapshots)
        assert len(list(fc.chunks())) == (1 if chunk > 1 else 3)
        results.append([fc.mean, fc.var, fc.parameter_var, fc.cdf(fc.mean), fc.quantile(0.3)])
    assert_close(results[0], results[1], rtol=1e-5, atol=1e-6)  # order of float32 sums


def test_one_field_is_a_batch_of_one(result, snapshots):
    one, batch = ask(result, snapshots[1]), ask(result, snapshots[1:2])
    assert one.mean.shape == (3, NUM_POINTS)
    assert batch.mean.shape == (1, 3, NUM_POINTS)
    assert one.latent.shape == (6, 3, 7)
    assert batch.latent.shape == (6, 1, 3, 7)
    for name in ("mean", "var", "sd", "reconstruction_var", "propagated_var", "parameter_var"):
        assert torch.equal(getattr(one, name), getattr(batch, name)[0])
    assert torch.equal(one.latent, batch.latent[:, 0])
    assert torch.equal(one.quantile(0.9), batch.quantile(0.9)[0])
    assert torch.equal(one.cdf(one.mean), batch.cdf(batch.mean)[0])
    assert torch.equal(next(one.chunks())[1], next(batch.chunks())[1][:, 0])
    assert repr(one) == "Forecast(3 times in [0, 0.25], 6 samples)"
    assert repr(batch) == "Forecast(1 initial fields, 3 times in [0, 0.25], 6 samples)"


def test_each_field_of_a_batch_has_its_own_forecast(snapshots):
    model, guide = tiny_pair(N_ETA)
    with torch.no_grad():  # nothing random is left
        model.diffusion.net.log_value.fill_(-60)
        guide.node_variance.log_value.fill_(-60)
    result = Fit(model, guide, SCALING)
    batch = ask(result, snapshots).mean
    assert batch.shape == (3, 3, NUM_POINTS)
    for y0, mean in zip(snapshots, batch, strict=True):
        assert_close(ask(result, y0).mean, mean, rtol=1e-4, atol=1e-4)  # noise of 1e-5


def test_the_channel_axis_is_mirrored(result, snapshots):
    plain = tiny_data()
    data = Trajectories(plain.times, [v[:, None] for v in plain.values])
    other = fit(*tiny_pair(N_ETA), data, steps=3, length=5, stride=1, progress=False)
    with_axis, without = ask(other, snapshots[:, None]), ask(result, snapshots)
    assert with_axis.mean.shape == (3, 3, 1, NUM_POINTS)
    assert ask(other, snapshots[0][None]).mean.shape == (3, 1, NUM_POINTS)
    assert torch.equal(with_axis.mean[:, :, 0], without.mean)
    assert torch.equal(with_axis.quantile(0.1)[:, :, 0], without.quantile(0.1))
    assert torch.equal(with_axis.cdf(with_axis.mean)[:, :, 0], without.cdf(without.mean))
    assert torch.equal(next(with_axis.chunks())[1][:, :, :, 0], next(without.chunks())[1])


def test_channels_have_scales_of_their_own():
    grid = tiny_grid(channels=2)
    model = tiny_model(0, grid=grid)
    y0, result = (
        torch.randn(2, NUM_POINTS),
        Fit(model, AmortizedGP(model), SCALING, has_channel=True),
    )
    one = Fit(result.model, result.guide, Scaling((1.0, 1.0), 3.0), has_channel=True)
    two = Fit(result.model, result.guide, Scaling((2.0, 0.5), 3.0), has_channel=True)
    factor = torch.tensor([2.0, 0.5])
    first, second = ask(one, y0), ask(two, y0 * factor[:, None])
    assert_close(second.mean, first.mean * factor[:, None], rtol=0, atol=0)
    assert_close(second.var, first.var * factor[:, None] ** 2, rtol=0, atol=0)
    assert_close(second.latent, first.latent * factor.repeat_interleave(NUM_COARSE), rtol=0, atol=0)


def test_a_forecast_may_begin_after_its_initial_field(result, snapshots):
    late = ask(result, snapshots, (0.1, 0.25), t0=0.0)
    full = ask(result, snapshots, (0.0, 0.1, 0.25))
    assert late.mean.shape == (3, 2, NUM_POINTS)
    assert torch.equal(late.paths, full.paths[..., 1:, :])
    assert_close(late.mean, full.mean[:, 1:], rtol=1e-5, atol=1e-6)  # rounding of the FFT
    assert torch.equal(full.mean, ask(result, snapshots, (0.0, 0.1, 0.25), t0=0.0).mean)
    single = ask(result, snapshots, 0.1, t0=0.0)
    assert single.mean.shape == (3, 1, NUM_POINTS)
    assert list(single.times) == [0.1]


def test_at_the_initial_time_the_field_is_encoded_and_decoded(result, snapshots):
    """Only the encoder's variance propagates there."""
    scale = result.scaling.channels[0]
    fc = ask(result, snapshots[0], 0.0, num_samples=300)
    model, guide = result.model, result.guide
    with torch.no_grad():
        mean, var = guide.encode(torch.from_numpy(snapshots[0][None]) / scale, model.bind({}))
    zeta = fc.latent[:, 0, :NUM_COARSE] / scale
    assert_close(zeta.mean(0), mean[:NUM_COARSE], rtol=0, atol=5 * (float(var.max()) / 300) ** 0.5)
    assert model.num_latent == fc.latent.shape[-1]


def test_the_seed_decides_the_forecast_and_no_global_changes(result, snapshots):
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = ask(result, snapshots, seed=3).mean
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    torch.manual_seed(8)
    np.random.seed(8)  # noqa: NPY002
    assert torch.equal(ask(result, snapshots, seed=3).mean, first)
    assert not torch.equal(ask(result, snapshots, seed=4).mean, first)


def test_results_are_detached_on_the_cpu_from_numpy_or_torch(result, snapshots):
    first = ask(result, torch.from_numpy(snapshots).requires_grad_())
    second = ask(result, snapshots.astype(np.float64))
    assert torch.equal(first.mean, second.mean)
    for value in (first.mean, first.sd, first.latent, first.quantile(0.5), first.cdf(first.mean)):
        assert not value.requires_grad
        assert value.device.type == "cpu"


def test_a_forecast_keeps_the_parameters_it_was_made_with(snapshots):
    """Fields are decoded when they are asked for, perhaps after more training."""
    pair = tiny_pair(N_ETA)
    result = Fit(*pair, SCALING)
    expected = ask(result, snapshots).mean
    fc = ask(result, snapshots)
    with torch.no_grad():
        for p in pair[0].parameters():
            p.mul_(1.5)
    assert torch.equal(fc.mean, expected)


def test_paths_are_shared_out_among_draws_of_theta(snapshots):
    model = tiny_model(N_ETA)
    bayesian(model.drift, fan_in_normal(0.1))
    result = Fit(model, AmortizedGP(model), SCALING)
    fc = ask(result, snapshots, num_samples=12, num_theta=4)
    assert fc.paths.shape == (4, 3, 3, 3, 7)
    assert fc.num_samples == 12
    assert ask(result, snapshots, num_samples=2, num_theta=4).paths.shape[:2] == (2, 1)
    assert len({float(theta.drift.macro.linear.weight[0, 0]) for theta in fc.theta}) == 4
    assert all(
        torch.equal(flatten_parameters(theta.drift), sites["drift.theta"])
        for theta, sites in zip(fc.theta, fc.sites, strict=True)
    )


def test_parameters_of_trajectories_reach_the_drift(snapshots):
    model = tiny_model(N_ETA, num_covariates=3)
    result = Fit(model, AmortizedGP(model), SCALING)
    covariates = np.random.default_rng(0).standard_normal((3, 3))
    all_of_them = ask(result, snapshots, covariates=covariates).mean
    other = ask(result, snapshots, covariates=covariates[::-1].copy()).mean
    assert_close(all_of_them[1], other[1])
    assert not torch.allclose(all_of_them[0, -1], other[0, -1])
    shared = ask(result, snapshots, covariates=covariates[1]).mean
    assert_close(shared[1], all_of_them[1])


def test_long_steps_do_not_keep_paths_from_coming_back(result, snapshots):
    """Noise drives them off the region, to which they return at 500 a horizon."""
    wild = deepcopy(result)
    with torch.no_grad():
        wild.model.diffusion.net.log_value.fill_(4.0)
    short, long = (ask(wild, snapshots, max_step=step * wild.scaling.time) for step in (1e-3, 0.2))
    assert short.diverged.min() > 0.5
    assert long.latent.abs().max() < 2 * short.latent.abs().max()


# errors


@pytest.mark.parametrize(
    ("y0", "times", "options", "message"),
    [
        (np.ones(29), (0.0, 0.1), {}, r"y0: shape \(29,\); the model's fields are \(30,\)"),
        (np.ones((2, 3, 30)), (0.0, 0.1), {}, r"y0: shape \(2, 3, 30\)"),
        (np.full(30, np.nan), (0.0, 0.1), {}, "y0: holds NaN"),
        (np.full(30, np.inf), (0.0, 0.1), {}, "y0: holds NaN or infinite"),
        (np.ones(30), (0.0, 0.2, 0.1), {}, r"times: not increasing at index 2 \(t=0.1\)"),
        (np.ones(30), (0.0, 0.1, 0.1), {}, "times: not increasing at index 2"),
        (np.ones(30), (0.1, 0.2), {"t0": 0.15}, "times: begin at 0.1, before t0=0.15"),
        (np.ones(30), (), {}, r"times: shape \(0,\)"),
        (np.ones(30), (0.0, np.nan), {}, "times: .* finite"),
        (np.ones(30), (0.0, 0.1), {"num_samples": 0}, "num_samples=0: give a whole number"),
        (np.ones(30), (0.0, 0.1), {"num_samples": 2.5}, r"num_samples=2\.5: give a whole number"),
        (np.ones(30), (0.0, 0.1), {"num_theta": 0}, "num_theta=0: give a whole number"),
        (np.ones(30), (0.0, 0.1), {"seed": -1}, "seed=-1: give a whole number"),
        (np.ones(30), (0.0, 0.1), {"t0": np.nan}, "t0=nan: give the finite time"),
        (np.ones(30), (0.0, 0.1), {"max_step": 0.0}, r"max_step=0\.0: give a number above 0"),
        (np.ones(30), (0.0, 0.1), {"max_step": np.nan}, "max_step=nan: give a number above 0"),
    ],
)
def test_bad_arguments_are_named(result, y0, times, options, message):
    with pytest.raises(ValueError, match=message):
        ask(result, y0, times, **options)


def test_missing_parameters_are_named(snapshots):
    model = tiny_model(N_ETA, num_covariates=3)
    data = tiny_data(covariates=np.ones((3, 3)))
    result = fit(model, AmortizedGP(model), data, steps=1, length=5, stride=1, progress=False)
    with pytest.raises(ValueError, match="covariates"):
        ask(result, snapshots)


@pytest.mark.parametrize("shape", [(2,), (4,), (3, 2), (2, 3), (3, 3, 1)])
def test_parameters_of_another_shape_are_named(snapshots, shape):
    model = tiny_model(N_ETA, num_covariates=3)
    with pytest.raises(ValueError, match=r"covariates: shape .* for 3 initial fields"):
        ask(Fit(model, AmortizedGP(model), SCALING), snapshots, covariates=np.ones(shape))


def test_too_few_snapshots_to_calibrate_on_are_named(result):
    with pytest.raises(ValueError, match="validation: single snapshots"):
        result.calibrated(tiny_data((1, 1)))
    with pytest.raises(ValueError, match="num_times=0: give a whole number, at least 10"):
        result.calibrated(tiny_data((17, 17)), num_times=0)


def test_parameters_that_are_no_numbers_are_refused(snapshots):
    model = tiny_model(N_ETA, num_covariates=3)
    result = Fit(model, AmortizedGP(model), SCALING)
    with pytest.raises(ValueError, match="covariates: hold NaN or infinite"):
        ask(result, snapshots, covariates=np.array([1.0, np.nan, 2.0]))


def test_parameters_for_a_model_without_are_refused(result, snapshots):
    with pytest.raises(ValueError, match="covariates: the model takes none"):
        ask(result, snapshots, covariates=np.ones((3, 1)))


class Watched(Linear):
    """Counts, in all of its copies, how often it is asked at a time."""

    asked: ClassVar[Counter] = Counter()

    def forward(self, x, t, covariates=None):
        self.asked[t.flatten()[0].item()] += 1
        return super().forward(x)


def watched_fit():
    model = tiny_model(0, drift=Watched(0.3 * np.eye(NUM_COARSE, dtype=np.float32)))
    with torch.no_grad():
        model.diffusion.net.log_value.fill_(-25.0)
    return Fit(model, AmortizedGP(model), SCALING)


def evaluations(times, **options):
    """Of the drift after t₀, where the stable step is looked for too."""
    Watched.asked.clear()
    watched_fit().predict(np.ones(NUM_POINTS, dtype=np.float32), times, num_samples=2, **options)
    return sum(n for t, n in Watched.asked.items() if t > min(Watched.asked))


@pytest.mark.parametrize(
    ("times", "options"),
    [
        ([0.0, 1e-4, 2e-4, 1.0], {}),
        ([0.0, 1e-9, 2e-9, 1.0], {}),
        ([0.9, 0.95, 1.0], {"t0": 0.0}),
        ([1e9, 1e9 + 1e-4, 1e9 + 1.0], {}),
    ],
)
def test_the_cost_of_a_forecast_follows_its_span(times, options):
    """Twice a step of a thousandth of the horizon of 3; at most one step more for each time."""
    even = evaluations([0.0, 0.5, 1.0])
    assert 2 * 333 <= even <= 2 * 336
    assert abs(evaluations(times, **options) - even) <= 2 * len(times)


@pytest.mark.parametrize(
    ("times", "options", "message"),
    [
        ([0.0, 1e9], {}, r"times: a path over 3\.333e\+08 training horizons takes 333,333,3"),
        ([0.0, 1.0], {"t0": -1e9}, r"times: a path over 3\.333e\+08 training horizons"),
        ([0.0, 6.1], {"max_step": 6.01e-5}, "takes 101,498 steps of at most 2e-05 each, and 100,0"),
        ([0.0, 1.0], {"num_samples": 10**9}, "num_samples: 1,000,000,000 paths .* 112 GiB"),
        ([0.0, 1.0], {"num_samples": 10**30}, "num_samples: .* fewer at a time"),
    ],
)
def test_what_would_take_too_long_or_too_much_is_refused_beforehand(times, options, message):
    Watched.asked.clear()
    y = np.ones(NUM_POINTS, dtype=np.float32)
    with pytest.raises(ValueError, match=message):
        watched_fit().predict(y, times, **{"num_samples": 2, **options})
    assert sum(Watched.asked.values()) < 100  # those that look for the stable step


def test_a_long_wait_before_the_first_time_is_integrated():
    fit = watched_fit()
    y = np.full((1, NUM_POINTS), 4.0, dtype=np.float32)
    late = fit.predict(y, [2.7, 2.8, 2.9], t0=0.0, max_step=0.05)
    z0 = fit.predict(y, [0.0]).paths[..., 0, :].mean()
    expected = z0 * torch.tensor([2.7, 2.8, 2.9]).mul(0.3 / SCALING.time).exp()
    assert_close(late.paths.mean((0, 1, 2, 4)), expected, rtol=1e-3, atol=0)


def test_large_forecasts_are_decoded_again_to_the_same_fields(result, snapshots, monkeypatch):
    kept, again = ask(result, snapshots), ask(result, snapshots)
    expected = [kept.cdf(kept.mean), kept.quantile(0.3)]
    assert kept._kept
    monkeypatch.setattr(forecasting, "_KEEP", 0)
    for _ in range(2):
        assert torch.equal(again.cdf(kept.mean), expected[0])
        assert torch.equal(again.quantile(0.3), expected[1])
    assert not again._kept


def test_levels_and_shapes_are_checked(result, snapshots):
    fc = ask(result, snapshots)
    for level in (0, 1, -0.1, 95, [0.05, 0.95], np.array(0.9), "0.9"):
        with pytest.raises(ValueError, match=r"level=.*: give one number inside \(0, 1\)"):
            fc.quantile(level)
    with pytest.raises(ValueError, match=r"values: shape \(3, 30\); the forecast is \(3, 3, 30\)"):
        fc.cdf(np.zeros((3, 30)))
