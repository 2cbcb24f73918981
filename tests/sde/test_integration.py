"""The integrator against closed forms: Ornstein–Uhlenbeck moments, an oscillator, pure noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from oracles.tolerance import standard_errors
from torch.testing import assert_close

from pyro_msde.sde.integration import cheaper_rule, integrate, stable_step


def tensor(x, dtype=torch.float64):
    return torch.tensor(x, dtype=dtype)


def ou_covariance(rate, diffusion, s, t):
    """Cov(z(s), z(t)) of dz = −a z dt + √c dβ from a fixed start at 0, elementwise."""
    early, late = np.minimum(s, t), np.maximum(s, t)
    decay = np.exp(-rate * (late - early)) - np.exp(-rate * (late + early))
    return diffusion / (2 * rate) * decay


RULES = ("midpoint", "runge-kutta")


@pytest.mark.parametrize("rule", RULES)
def test_ornstein_uhlenbeck_mean_and_covariance_where_rows_have_their_own_times(rule):
    """Means of each, covariances of all pairs of times; false alarms 2e-5.

    Steps of 0.02: the midpoint rule's bias, (a h)² / 6 ~ 1e-4 relatively, is a twentieth of the
    standard error of a variance, √(2 / draws) = 1e-2.
    """
    draws = 20_000
    rate, diffusion = tensor([0.5, 1.5, 0.9]), tensor([0.3, 1.2, 0.04])
    times = tensor([[0.0, 0.11, 0.5, 0.53, 1.0], [2.0, 2.3, 2.31, 2.9, 4.0]])
    start = tensor([[1.0, -2.0, 0.5], [0.3, 0.0, -1.0]])
    path = integrate(
        lambda z, t: -rate * z,
        diffusion,
        start.expand(draws, 2, 3),
        times,
        max_step=0.02,
        rule=rule,
    )
    assert path.shape == (draws, 2, 5, 3)
    assert torch.equal(path[:, :, 0], start.expand(draws, 2, 3))
    width = standard_errors(2 * 3 * (4 + 10))
    for row in range(2):
        t = (times[row] - times[row, 0]).numpy()[1:]
        for d in range(3):
            a, c = rate[d].item(), diffusion[d].item()
            cov = ou_covariance(a, c, t[:, None], t[None, :])
            z = path[:, row, 1:, d].numpy()
            mean_error = z.mean(0) - start[row, d].item() * np.exp(-a * t)
            assert (np.abs(mean_error) < width * np.sqrt(cov.diagonal() / draws)).all()
            var = np.outer(cov.diagonal(), cov.diagonal())
            error = np.abs(np.cov(z.T) - cov) / np.sqrt((var + cov**2) / draws)
            assert error.max() < width


def test_time_dependent_drift_sees_each_row_s_own_time():
    """dz = cos t dt: sin t − sin t₀, by the midpoint rule to (h³ / 24 a step, h² in all)."""
    times = tensor([[0.0, 0.4, 0.5, 1.7], [3.0, 3.1, 4.0, 4.2]])
    path = integrate(
        lambda z, t: t.cos()[..., None].expand_as(z),
        tensor([1e-30, 1e-30]),
        torch.zeros(3, 2, 2, dtype=torch.float64),
        times,
        max_step=0.01,
    )
    expected = times.sin() - times[:, :1].sin()
    assert_close(path, expected[..., None].expand(3, 2, 4, 2), rtol=0, atol=1e-2**2 * 1.7 / 24)


def test_drift_gets_the_shapes_it_is_promised():
    seen = []

    def drift(z, t):
        seen.append((z.shape, t.shape, t.dtype))
        return -z

    times = tensor([[0.0, 1.0], [0.0, 2.0], [1.0, 1.5]])
    path = integrate(drift, torch.ones(7), torch.zeros(5, 2, 3, 7), times)
    assert path.shape == (5, 2, 3, 2, 7)
    assert path.dtype == torch.float32
    assert set(seen) == {((10, 3, 1, 7), (3, 1), torch.float64)}


def test_increments_have_their_variance_in_float32_over_2000_steps():
    """With float32 times 0.6–1.8 % of it would be lost; tolerance 0.3 %, false alarms 2e-5."""
    steps, paths = 2000, 2048
    times = torch.linspace(0, 1, steps + 1, dtype=torch.float64)[None]
    var = 0.7
    path = integrate(
        lambda z, t: torch.zeros_like(z),
        tensor([var], torch.float32),
        torch.zeros(paths, 1, 1),
        times,
    )
    assert path.dtype == torch.float32
    increments = path[:, 0, :, 0].diff(dim=1).double()
    width = standard_errors(2) * math.sqrt(2 / (steps * paths))
    assert width < 0.004
    assert abs(increments.square().mean() / (var / steps) - 1) < width
    # the sum over the whole path, and increments independent of each other
    assert abs(path[:, 0, -1, 0].var() / var - 1) < standard_errors(2) * math.sqrt(2 / paths)


@pytest.mark.parametrize("rule", RULES)
def test_irregular_increments_have_their_own_variances(rule):
    draws = 40_000
    times = tensor([[0.0, 0.01, 0.5, 0.52, 1.0, 3.0], [1.0, 1.3, 1.4, 2.4, 2.5, 2.51]])
    diffusion = tensor([0.5, 2.0])
    start = torch.zeros(draws, 2, 2, dtype=torch.float64)
    path = integrate(
        lambda z, t: torch.zeros_like(z), diffusion, start, times, max_step=0.7, rule=rule
    )
    expected = times.diff(dim=1)[..., None] * diffusion
    error = path.diff(dim=2).var(0) / expected - 1
    assert error.abs().max() < standard_errors(20) * math.sqrt(2 / draws)


def oscillator_error(times, max_step, omega=3.0, rule="midpoint"):
    """Largest error of z = (cos ω t, −sin ω t) with next to no noise."""
    matrix = tensor([[0.0, omega], [-omega, 0.0]])
    path = integrate(
        lambda z, t: z @ matrix.T,
        tensor([1e-30, 1e-30]),
        tensor([[1.0, 0.0]]),
        times,
        max_step=max_step,
        rule=rule,
    )
    angle = omega * (times - times[:, :1])
    exact = torch.stack([angle.cos(), -angle.sin()], -1)
    return (path - exact).abs().max().item()


REGULAR = [0.0, 0.4, 0.8, 1.2, 1.6, 2.0]
IRREGULAR = [0.0, 0.4, 0.45, 0.5, 0.9, 0.91, 1.3, 1.4, 1.8, 1.81, 2.2]


@pytest.mark.parametrize("times", [REGULAR, IRREGULAR], ids=["regular", "irregular"])
@pytest.mark.parametrize("substeps", [(8, 16, 32, 64), (7, 14, 28, 56), (10, 20, 40, 80)])
def test_second_order_without_noise(times, substeps):
    """Halving the step divides the error by four, for irregular times with any number of substeps.

    (Sums of 1/7 or 1/10 are rounded: taken for the interval before, a step would lose an order.)
    """
    errors = [oscillator_error(tensor([times]), 0.4 / n) for n in substeps]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(orders, 2, atol=0.1)


@pytest.mark.parametrize("times", [REGULAR, IRREGULAR], ids=["regular", "irregular"])
def test_the_rule_of_runge_and_kutta_is_of_fourth_order(times):
    errors = [
        oscillator_error(tensor([times]), 0.4 / n, rule="runge-kutta") for n in (7, 14, 28, 56)
    ]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(orders, 4, atol=0.1)


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_sees_the_time_of_each_row(rule):
    """z' = t² in steps of one interval: exact to h²/12 a unit of time, and exact."""
    times = tensor([[0.0, 0.5, 0.6], [2.0, 2.1, 3.0]])
    start = torch.zeros(1, 2, 1, dtype=torch.float64)
    path = integrate(lambda z, t: (t**2)[..., None] + 0 * z, tensor([0.0]), start, times, rule=rule)
    exact = (times**3 - times[:, :1] ** 3)[None, ..., None] / 3
    assert_close(path, exact, rtol=0, atol=1e-12 if rule == "runge-kutta" else 0.1)


@pytest.mark.parametrize("limit", [1e-5, 1e-3, 2e-3, 0.02, math.inf])
@pytest.mark.parametrize("max_step", [1e-3, 4e-3, 0.1])
def test_the_cheaper_rule_is_the_one_that_looks_less_often(max_step, limit):
    """Four looks in a step that is as long as the drift allows, or two in one a quarter as long."""
    rule, step = cheaper_rule(max_step, limit)
    looks = {
        "midpoint": 2 / min(max_step, limit),
        "runge-kutta": 4 / min(max_step, 5e-3, 4 * limit),
    }
    assert looks[rule] == pytest.approx(min(looks.values()), rel=2e-3)
    assert step * looks[rule] == pytest.approx(4 if rule == "runge-kutta" else 2)


@pytest.mark.parametrize("kind", ["decay", "wave"])
def test_the_cheaper_rule_is_stable_where_it_is_chosen(kind):
    """A fast mode beside a slow one: at four times the midpoint's step it dies down, or is even."""
    rate = 1000.0
    fast = {"decay": [[-rate, 0], [0, -rate]], "wave": [[0, rate], [-rate, 0]]}[kind]
    matrix = torch.block_diag(tensor(fast), tensor([[-1.0]]))
    start = tensor([[1.0, 0.0, 1.0]])

    def drift(z, t):
        return z @ matrix.T

    rule, step = cheaper_rule(0.1, stable_step(drift, start, tensor([0.0])))
    assert (rule, step) == ("runge-kutta", pytest.approx(2 / rate, rel=0.05))
    path = integrate(
        drift, torch.zeros(3).double(), start, tensor([[0.0, 1.0]]), max_step=step, rule=rule
    )
    assert float(path[0, -1, :2].norm()) < 1
    assert float(path[0, -1, 2]) == pytest.approx(math.exp(-1), rel=1e-9)


def test_each_interval_has_as_many_steps_as_it_needs():
    steps = []

    def drift(z, t):
        steps.append(t[0, 0].item())
        return torch.zeros_like(z)

    start = torch.zeros(1, 2, dtype=torch.float64)
    integrate(drift, tensor([1.0, 1.0]), start, tensor([[0.0, 0.1, 1.0]]), max_step=0.3)
    # one step and three; the midpoint rule looks at the start and the middle of each
    expected = [0.0, 0.05, *(0.1 + 0.9 * np.arange(6) / 6)]
    np.testing.assert_allclose(np.unique(np.round(steps, 12)), expected, atol=1e-11)


def test_rows_of_different_times_take_the_steps_of_the_longest_of_their_gaps():
    seen = []

    def drift(z, t):
        seen.append(t[:, 0].numpy().copy())
        return torch.zeros_like(z)

    times = tensor([[0.0, 0.1, 1.0], [2.0, 2.6, 2.7]])
    integrate(drift, tensor([1.0]), torch.zeros(1, 2, 1).double(), times, max_step=0.3)
    expected = np.stack(
        [
            [0.0, 0.025, 0.05, 0.075, 0.1, 0.25, 0.4, 0.55, 0.7, 0.85],
            [2.0, 2.15, 2.3, 2.45, *(2.6 + np.arange(6) / 60)],
        ],
        1,
    )
    np.testing.assert_allclose(np.unique(np.round(seen, 12), axis=0), expected, atol=1e-11)


def test_steps_follow_the_span_and_too_many_are_refused_beforehand():
    def steps(times, max_step=1e-3):
        count = 0

        def drift(z, t):
            nonlocal count
            count += 1
            return -z

        integrate(drift, torch.ones(1), torch.zeros(1, 1, 1), tensor([times]), max_step=max_step)
        return count // 2  # the midpoint rule looks twice, torchsde once before

    even = steps([0.0, 0.5, 1.0])
    assert even == 1000
    for times in ([0.0, 1e-4, 2e-4, 1.0], [0.0, 1e-9, 2e-9, 1.0], [0.0, 1.0 - 1e-9, 1.0]):
        assert even <= steps(times) < even + len(times)
    with pytest.raises(ValueError, match=r"over 1e\+09 training horizons takes 999,999,999,000"):
        steps([0.0, 1e9])
    with pytest.raises(ValueError, match=r"times: .* takes inf steps"):
        steps([0.0, 1e308], 1e-3)
    with pytest.raises(ValueError, match="200,001 steps of at most 1e-05 each, and 100,000"):
        steps([0.0, 1e-9, 2.0], 1e-5)


def test_second_order_where_gaps_differ_by_six_orders_of_magnitude():
    """The mean of dz = −a (z − sin t) dt by the midpoint rule, against its closed form.

    Steps are not quite halved each time, as each gap has a whole number of them.
    """
    a, times = 4.0, tensor([[0.0, 1e-6, 0.3, 0.3 + 1e-5, 0.31, 1.7, 2.0]])

    def particular(t):
        return (a**2 * np.sin(t) - a * np.cos(t)) / (1 + a**2)

    t = times[0].numpy()
    exact = particular(t) + (1.5 - particular(0.0)) * np.exp(-a * t)
    errors = []
    for max_step in (0.02, 0.01, 0.005, 0.0025):
        path = integrate(
            lambda z, t: -a * (z - t.sin()[..., None]),
            tensor([1e-30]),
            tensor([[[1.5]]]),
            times,
            max_step=max_step,
        )
        errors.append(np.abs(path[0, 0, :, 0].numpy() - exact).max())
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 2, atol=0.1)


def test_a_generator_takes_the_place_of_torch_s_own():
    def draw(generator):
        step = stable_step(lambda z, t: -(z**3), torch.ones(2, 3), times[:, 0], generator=generator)
        start = torch.zeros(5, 2, 3)
        path = integrate(
            lambda z, t: -z, torch.ones(3), start, times, max_step=0.1, generator=generator
        )
        return path, step

    times = tensor([REGULAR, REGULAR])
    before = torch.get_rng_state()
    own, step = draw(torch.Generator().manual_seed(3))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(3)
    assert torch.equal(draw(None)[0], own)
    torch.manual_seed(3)
    assert draw(None)[1] == step


def test_without_diffusion_the_generator_goes_on_as_with_it():
    times, states, paths = tensor([REGULAR, REGULAR]), [], []
    for size in (0.0, 1.0):
        generator = torch.Generator().manual_seed(3)
        start = torch.ones(5, 2, 3, dtype=torch.float64)
        diffusion = torch.full((3,), size, dtype=torch.float64)
        options = {"max_step": 0.01, "generator": generator}
        paths.append(integrate(lambda z, t: -z, diffusion, start, times, **options))
        states.append(generator.get_state())
    assert torch.equal(*states)
    exact = torch.exp(times[0, 0] - times)[None, ..., None].expand_as(paths[0])
    # the rule's error is h²/6 a unit of time, relatively
    torch.testing.assert_close(
        paths[0], exact, rtol=2e-5 * float(times[0, -1] - times[0, 0]), atol=0
    )
    assert (paths[1] - exact).abs().max() > 0.1


def test_max_step_none_is_one_step_between_times():
    times = tensor([REGULAR])
    assert oscillator_error(times, None) == pytest.approx(oscillator_error(times, 0.4), rel=1e-12)
    assert oscillator_error(times, 0.2) < 0.5 * oscillator_error(times, None)


def test_one_time_is_the_start():
    start = torch.randn(5, 2, 3)
    path = integrate(lambda z, t: -z, torch.ones(3), start, tensor([[0.0], [1.0]]))
    assert torch.equal(path, start[..., None, :])


def test_noise_follows_torch_s_seed_and_leaves_numpy_s_alone():
    def draw(seed):
        torch.manual_seed(seed)
        start = torch.zeros(5, 2, 3)
        times = tensor([REGULAR, REGULAR])
        return integrate(lambda z, t: -z, torch.ones(3), start, times, max_step=0.1)

    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first = draw(1)
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    assert torch.equal(draw(1), first)
    assert (draw(2)[:, :, 1:] != first[:, :, 1:]).all()
    # one stream after another: no two draws share their noise
    start = torch.zeros(5, 2, 3)
    once = integrate(lambda z, t: -z, torch.ones(3), start, tensor([REGULAR, REGULAR]))
    again = integrate(lambda z, t: -z, torch.ones(3), start, tensor([REGULAR, REGULAR]))
    assert (once[:, :, 1:] != again[:, :, 1:]).all()


def test_gradients_reach_drift_diffusion_and_start():
    rate = tensor([0.5, 1.0]).requires_grad_()
    diffusion = tensor([0.5, 1.0]).requires_grad_()
    start = torch.ones(1, 2, dtype=torch.float64, requires_grad=True)
    integrate(lambda z, t: -rate * z, diffusion, start, tensor([REGULAR])).sum().backward()
    for leaf in (rate, diffusion, start):
        assert (leaf.grad != 0).all()


@pytest.mark.parametrize("kind", ["damped", "wave", "nonlinear"])
def test_stable_step_is_half_over_the_spectral_radius(kind):
    torch.manual_seed(0)
    start = torch.tensor([[0.3, -0.2, 0.5], [1.5, 0.1, -0.4]], dtype=torch.float64)
    rates = torch.tensor([-70.0, -3.0, 1.0], dtype=torch.float64)
    turning = torch.tensor([[0, 40.0, 0], [-40.0, 0, 0], [0, 0, -2.0]], dtype=torch.float64)
    drifts = {
        "damped": lambda z, t: z * rates,
        "wave": lambda z, t: z @ turning.T,
        "nonlinear": lambda z, t: -10 * z**3,
    }
    radius = {"damped": 70.0, "wave": 40.0, "nonlinear": 30 * 1.5**2}[kind]
    times = torch.zeros(2, dtype=torch.float64)
    # the power method's 40 iterations, and finite differences of 1 % of the state
    assert stable_step(drifts[kind], start, times) == pytest.approx(0.5 / radius, rel=0.05)


def test_stable_step_of_a_drift_without_state_is_infinite():
    start = torch.zeros(2, 3)
    step = stable_step(lambda z, t: torch.ones_like(z), start, torch.zeros(2, dtype=torch.float64))
    assert step == float("inf")


@pytest.mark.slow
def test_very_many_steps_are_taken():
    """torchsde's tree of Brownian increments would be too deep for Python's stack."""
    start = torch.zeros(300, 1, 2)
    path = integrate(
        lambda z, t: -z, torch.ones(2), start, tensor([[0.0, 1.0]]), max_step=1 / 40_000
    )
    # stationary spread, 5 standard errors of a variance of 600 draws: false alarm below 1e-6
    expected = 0.5 * (1 - math.exp(-2.0))
    assert abs(float(path[:, 0, -1].var()) / expected - 1) < 5 * math.sqrt(2 / 600)
